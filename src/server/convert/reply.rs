//! Answers as they go.

use std::{
    io::Write,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use super::{Outputs, micros, timestamp};
use crate::{
    decode,
    geometry::BoxF,
    mask::{self, LabelImage, Mask},
    params::Thresholds,
    proto::{self as pb, frame_reply::Outcome},
    segmentation::{Instance, Notice, NoticeCode, RawSegmentation, Segmentation},
    session::{Counts, DropReason},
};

/// A label image over this is compressed unless the client says otherwise: stock clients refuse replies over 4 MiB.
const COMPRESS_OVER: usize = 1 << 20;

/// What a frame's answer says beside its outcome.
pub(in crate::server) struct Answer {
    pub(in crate::server) id: u64,
    pub(in crate::server) metadata: Option<pb::FrameMetadata>,
    pub(in crate::server) revision: u32,
    pub(in crate::server) received_at: SystemTime,
    pub(in crate::server) unpack: Duration,
}

/// A frame's cells in the forms asked for.
pub(in crate::server) struct Encoded {
    segmentation: pb::Segmentation,
    notices: Vec<pb::Notice>,
    timing: pb::Timing,
}

/// One truth about each cell, in the forms asked for.
pub(in crate::server) fn encode(
    raw: &RawSegmentation,
    thresholds: &Thresholds,
    outputs: &Outputs,
    pixel_size_um: Option<f64>,
) -> Encoded {
    let settling = Instant::now();
    let settled = decode::settle(raw, thresholds, pixel_size_um);
    let encoding = Instant::now();
    let as_decoded = outputs.raw_masks.then(|| decode::as_decoded(raw));
    let instances = as_decoded.as_ref().unwrap_or(&settled.instances);
    let segmentation = pb::Segmentation {
        width: settled.width,
        height: settled.height,
        instances: instances
            .iter()
            .enumerate()
            .map(|(index, cell)| instance(index, cell, outputs.masks, &settled))
            .collect(),
        label_image: outputs
            .label_image
            .then(|| label_image(instances, &settled, outputs.label_compression)),
        summary: Some(summary(instances, &settled, pixel_size_um)),
        normalization: Some(pb::AppliedNormalization {
            low: settled.normalization.low,
            high: settled.normalization.high,
            policy: settled.normalization.policy.name().to_owned(),
        }),
        truncated: settled.truncated,
    };
    let times = &raw.times;
    let timing = pb::Timing {
        copy_up: micros(times.copy_up),
        preprocess: micros(times.preprocess),
        infer: micros(times.infer),
        decode: micros(times.decode),
        copy_down: micros(times.copy_down),
        measure: micros(encoding - settling),
        encode: micros(encoding.elapsed()),
        tiles: 1,
        ..Default::default()
    };
    Encoded {
        segmentation,
        notices: settled.notices.iter().map(notice).collect(),
        timing,
    }
}

/// A frame with its cells.
pub(in crate::server) fn segmented(
    answer: Answer,
    encoded: Encoded,
    queued: Duration,
) -> pb::FrameReply {
    let Encoded {
        segmentation,
        notices,
        timing,
    } = encoded;
    let timing = pb::Timing {
        queued: micros(queued),
        unpack: micros(answer.unpack),
        ..timing
    };
    pb::FrameReply {
        timing: Some(timing),
        notices,
        ..reply(answer, Outcome::Segmentation(segmentation))
    }
}

/// A frame that failed.
pub(in crate::server) fn failed(answer: Answer, failed: pb::Failed) -> pb::FrameReply {
    let timing = pb::Timing {
        unpack: micros(answer.unpack),
        ..Default::default()
    };
    pb::FrameReply {
        timing: Some(timing),
        ..reply(answer, Outcome::Failed(failed))
    }
}

/// A frame that was dropped.
pub(in crate::server) fn dropped(id: u64, reason: DropReason) -> pb::FrameReply {
    use pb::dropped::Reason;
    let reason = match reason {
        DropReason::NewerFrame => Reason::NewerFrame,
        DropReason::Deadline => Reason::Deadline,
        DropReason::Cancelled => Reason::Cancelled,
        DropReason::Draining => Reason::Draining,
    };
    let outcome = Outcome::Dropped(pb::Dropped {
        reason: reason.into(),
    });
    pb::FrameReply {
        id,
        outcome: Some(outcome),
        ..Default::default()
    }
}

/// Settings changed.
pub(in crate::server) fn changed(
    revision: u32,
    settled: pb::SessionOptions,
    opened: &pb::SessionOpened,
    why: &str,
) -> pb::SessionChanged {
    pb::SessionChanged {
        revision,
        settled: Some(settled),
        model: opened.model.clone(),
        backend: opened.backend.clone(),
        device: opened.device.clone(),
        why: why.to_owned(),
    }
}

/// Every frame accounted for.
pub(in crate::server) fn closed(counts: Counts) -> pb::SessionClosed {
    let Counts {
        segmented,
        dropped,
        failed,
    } = counts;
    pb::SessionClosed {
        frames: segmented + dropped + failed,
        segmented,
        dropped,
        failed,
    }
}

fn reply(answer: Answer, outcome: Outcome) -> pb::FrameReply {
    pb::FrameReply {
        id: answer.id,
        outcome: Some(outcome),
        metadata: answer.metadata,
        timing: None,
        revision: answer.revision,
        received_at: Some(timestamp(answer.received_at)),
        notices: Vec::new(),
    }
}

fn instance(
    index: usize,
    cell: &Instance,
    encoding: pb::MaskEncoding,
    frame: &Segmentation,
) -> pb::Instance {
    use pb::{MaskEncoding, instance::Mask as Form};
    let mask = &cell.mask;
    let form = match encoding {
        MaskEncoding::None => None,
        MaskEncoding::Bits => Some(Form::Bits(bits(mask))),
        MaskEncoding::CocoRle | MaskEncoding::Unspecified => {
            let counts = mask::encode_coco(mask, frame.width, frame.height);
            Some(Form::Rle(pb::CocoRle {
                counts: counts.into(),
            }))
        }
        MaskEncoding::Rings => {
            let rings = mask::rings(mask)
                .into_iter()
                .map(|ring| self::ring(&ring))
                .collect();
            Some(Form::Rings(pb::Rings { rings }))
        }
    };
    let (x, y) = (mask.x(), mask.y());
    let tight = [x, y, x + mask.width(), y + mask.height()].map(|edge| edge as f32);
    pb::Instance {
        label: index as u32 + 1,
        class_index: cell.class_index,
        score: cell.score,
        r#box: Some(pb::Box {
            x0: tight[0],
            y0: tight[1],
            x1: tight[2],
            y1: tight[3],
        }),
        detected_box: Some(box_of(&cell.detected_box)),
        touches_border: cell.touches_border,
        measures: None,
        track: None,
        mask: form,
    }
}

fn box_of(b: &BoxF) -> pb::Box {
    pb::Box {
        x0: b.x0,
        y0: b.y0,
        x1: b.x1,
        y1: b.y1,
    }
}

fn bits(mask: &Mask) -> pb::BitMask {
    let bits: Vec<u8> = mask
        .words()
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    pb::BitMask {
        x: mask.x(),
        y: mask.y(),
        width: mask.width(),
        height: mask.height(),
        row_bytes: mask.row_words() as u32 * 4,
        bits: bits.into(),
    }
}

fn ring(ring: &mask::Ring) -> pb::Ring {
    let (mut x, mut y) = (0, 0);
    let xy_delta = ring.corners.iter().flat_map(|&(next_x, next_y)| {
        let delta = [next_x - x, next_y - y];
        (x, y) = (next_x, next_y);
        delta
    });
    pb::Ring {
        xy_delta: xy_delta.collect(),
        hole: ring.hole,
    }
}

fn label_image(
    instances: &[Instance],
    frame: &Segmentation,
    compression: Option<pb::Compression>,
) -> pb::LabelImage {
    let masks = instances.iter().map(|cell| &cell.mask);
    let (bytes_per_pixel, data): (u32, Vec<u8>) =
        match mask::label_image(masks, frame.width, frame.height) {
            LabelImage::U16(labels) => (
                2,
                labels
                    .iter()
                    .flat_map(|label| label.to_le_bytes())
                    .collect(),
            ),
            LabelImage::U32(labels) => (
                4,
                labels
                    .iter()
                    .flat_map(|label| label.to_le_bytes())
                    .collect(),
            ),
        };
    let compression = compression.unwrap_or(match data.len() > COMPRESS_OVER {
        true => pb::Compression::Zlib,
        false => pb::Compression::None,
    });
    pb::LabelImage {
        data: compress(data, compression),
        bytes_per_pixel,
        compression: compression.into(),
    }
}

fn compress(data: Vec<u8>, compression: pb::Compression) -> Bytes {
    let compressed = match compression {
        pb::Compression::Unspecified | pb::Compression::None => Ok(data),
        pb::Compression::Zlib => {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&data).and_then(|()| encoder.finish())
        }
        pb::Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder
                .write_all(&data)
                .and_then(|()| encoder.finish().map_err(Into::into))
        }
    };
    compressed.expect("writing to memory does not fail").into()
}

fn summary(
    instances: &[Instance],
    frame: &Segmentation,
    pixel_size_um: Option<f64>,
) -> pb::FrameSummary {
    let count = instances.len() as u32;
    let mut count_by_class = std::collections::BTreeMap::new();
    instances
        .iter()
        .for_each(|cell| *count_by_class.entry(cell.class_index).or_default() += 1);
    let area_px = f64::from(frame.width) * f64::from(frame.height);
    pb::FrameSummary {
        count,
        confluence: frame.confluence,
        density_per_mm2: pixel_size_um.map(|um| f64::from(count) / (area_px * um * um * 1e-6)),
        count_by_class,
        removed_by_area: frame.removed_by_area,
        removed_at_border: 0,
    }
}

fn notice(notice: &Notice) -> pb::Notice {
    use pb::notice::Code;
    let code = match notice.code {
        NoticeCode::NoPixelSize => Code::NoPixelSize,
        NoticeCode::ScaleFarFromTrained => Code::ScaleFarFromTrained,
        NoticeCode::LowContrast => Code::LowContrast,
        NoticeCode::Saturated => Code::Saturated,
        NoticeCode::Truncated => Code::Truncated,
        NoticeCode::BitsClipped => Code::BitsClipped,
    };
    pb::Notice {
        code: code.into(),
        message: notice.message.clone(),
    }
}
