//! Answers as they go.

mod cells;
mod labels;
mod measures;
mod summary;

use std::time::{Duration, Instant, SystemTime};

use super::{super::shm::Slot, Outputs, frame_failure, micros, timestamp};
use crate::{
    decode,
    frame::{Frame, FrameMetadata},
    mask::Mask,
    measure,
    proto::{self as pb, frame_reply::Outcome},
    segmentation::{Notice, NoticeCode, RawSegmentation, Segmentation, StageTimes},
    session::{Counts, DropReason},
};

pub(super) use cells::ring;
pub(in crate::server) use labels::label_image;

/// What a frame's answer says beside its outcome.
pub(in crate::server) struct Answer {
    pub(in crate::server) id: u64,
    pub(in crate::server) metadata: Option<pb::FrameMetadata>,
    pub(in crate::server) revision: u32,
    pub(in crate::server) received_at: SystemTime,
    pub(in crate::server) unpack: Duration,
    /// Where its pixels are, if that is shared memory.
    pub(in crate::server) slot: Option<Slot>,
}

impl Answer {
    /// Whether its pixels were there when they were read. To be asked after each reading; `Err`: what its reply says.
    pub(in crate::server) fn check(&self) -> Result<(), pb::Failed> {
        match &self.slot {
            None => Ok(()),
            Some(slot) => slot.check().map_err(|error| frame_failure(&error.into())),
        }
    }
}

/// A frame's cells in the forms asked for.
pub(in crate::server) struct Encoded {
    segmentation: pb::Segmentation,
    notices: Vec<pb::Notice>,
    timing: pb::Timing,
}

/// A frame's cells after everything that was asked for was made of them.
#[derive(Clone, Copy)]
pub(in crate::server) struct Analysed<'a> {
    pub(in crate::server) cells: &'a Segmentation,
    /// As decoded, where they are sent in place of the others.
    pub(in crate::server) raw: Option<&'a RawSegmentation>,
    pub(in crate::server) metadata: &'a FrameMetadata,
    pub(in crate::server) times: Times,
}

/// Where the time went before a frame's cells are encoded.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server) struct Times {
    pub(in crate::server) lane: StageTimes,
    pub(in crate::server) tiles: u32,
    pub(in crate::server) measure: Duration,
    pub(in crate::server) track: Duration,
}

/// A frame's cells in the forms asked for.
pub(in crate::server) fn encode(frame: &Analysed<'_>, outputs: &Outputs) -> Encoded {
    let encoding = Instant::now();
    let Analysed {
        cells,
        raw,
        metadata,
        times,
    } = *frame;
    let as_decoded = raw.map(decode::as_decoded);
    let instances = as_decoded.as_ref().unwrap_or(&cells.instances);
    let units = measures::Units::of(metadata);
    let told = |(cell, label)| cells::told(label, cell, outputs.masks, cells, &units);
    let segmentation = pb::Segmentation {
        width: cells.width,
        height: cells.height,
        instances: instances.iter().zip(1..).map(told).collect(),
        label_image: outputs
            .label_image
            .then(|| labels::image(instances, cells, outputs)),
        summary: Some(summary::told(instances, cells, metadata.pixel_size_um)),
        normalization: Some(pb::AppliedNormalization {
            low: cells.normalization.low,
            high: cells.normalization.high,
            policy: cells.normalization.policy.name().to_owned(),
        }),
        truncated: cells.truncated,
    };
    let timing = pb::Timing {
        copy_up: micros(times.lane.copy_up),
        preprocess: micros(times.lane.preprocess),
        infer: micros(times.lane.infer),
        decode: micros(times.lane.decode),
        copy_down: micros(times.lane.copy_down),
        measure: micros(times.measure),
        track: micros(times.track),
        encode: micros(encoding.elapsed()),
        tiles: times.tiles,
        ..Default::default()
    };
    Encoded {
        segmentation,
        notices: cells.notices.iter().map(notice).collect(),
        timing,
    }
}

/// The cells of an earlier frame, `on`, measured in `frame`.
pub(in crate::server) fn measured(
    on: u64,
    cells: &Segmentation,
    frame: &Frame,
    background: bool,
) -> pb::Measured {
    let masks: Vec<&Mask> = cells.instances.iter().map(|cell| &cell.mask).collect();
    let intensities = measure::intensities(frame, &masks, background);
    let instances = cells.instances.iter().zip(1..).zip(intensities);
    let instances = instances.map(|((cell, label), channels)| pb::MeasuredInstance {
        label,
        track_id: cell.track.map(|track| track.id),
        intensity: channels.iter().map(measures::intensity).collect(),
    });
    pb::Measured {
        measured_on: on,
        instances: instances.collect(),
    }
}

/// A frame that was measured in the cells of another.
pub(in crate::server) fn answered_measured(
    answer: Answer,
    measured: pb::Measured,
    measure: Duration,
) -> pb::FrameReply {
    let timing = pb::Timing {
        unpack: micros(answer.unpack),
        measure: micros(measure),
        ..Default::default()
    };
    pb::FrameReply {
        timing: Some(timing),
        ..reply(answer, Outcome::Measured(measured))
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

fn notice(notice: &Notice) -> pb::Notice {
    use pb::notice::Code;
    let code = match notice.code {
        NoticeCode::NoPixelSize => Code::NoPixelSize,
        NoticeCode::ScaleFarFromTrained => Code::ScaleFarFromTrained,
        NoticeCode::LowContrast => Code::LowContrast,
        NoticeCode::Saturated => Code::Saturated,
        NoticeCode::Truncated => Code::Truncated,
        NoticeCode::BitsClipped => Code::BitsClipped,
        NoticeCode::NoTime => Code::NoTime,
        NoticeCode::OutOfOrder => Code::OutOfOrder,
        NoticeCode::ZNotTracked => Code::ZNotTracked,
    };
    pb::Notice {
        code: code.into(),
        message: notice.message.clone(),
    }
}
