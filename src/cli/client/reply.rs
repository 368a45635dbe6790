//! The contract's messages to our types: what a client hears.

use anyhow::{Context, Result, anyhow};

use super::ServerUrl;
use crate::{
    cli::{
        latency::StagesUs,
        record::{ModelRecord, NormalizationRecord, Options, Provenance, ServerRecord},
        segmenter::{Answer, Outcome},
    },
    decode::settle,
    geometry::BoxF,
    mask::{Mask, decode_coco},
    params::Thresholds,
    proto::{self, frame_reply, instance, normalization},
    segmentation::{
        AppliedNormalization, AppliedPolicy, Instance, RawInstance, RawSegmentation, Segmentation,
        StageTimes,
    },
};

pub(super) fn provenance(
    url: &ServerUrl,
    opened: &proto::SessionOpened,
    raw_masks: bool,
) -> Provenance {
    let model = opened.model.clone().unwrap_or_default();
    let settled = opened.settled.clone().unwrap_or_default();
    Provenance {
        server: Some(ServerRecord {
            url: url.to_string(),
            version: opened.server_version.clone(),
        }),
        model: ModelRecord {
            name: model.name,
            version: model.version,
            sha256: model.sha256,
            precision: model.precision,
            head: model.head,
            input: [model.input_width, model.input_height],
            classes: model.classes,
        },
        backend: opened.backend.clone(),
        device: opened.device.clone(),
        options: Options {
            thresholds: thresholds(settled.thresholds.unwrap_or_default()),
            normalization: normalization_record(settled.normalization.unwrap_or_default()),
            raw_masks,
        },
    }
}

fn thresholds(settled: proto::Thresholds) -> Thresholds {
    Thresholds {
        confidence: settled.confidence(),
        iou: settled.iou(),
        class_agnostic: settled.class_agnostic(),
        max_cells: settled.max_cells(),
        min_area_px: settled.min_area_px(),
        min_area_um2: settled.min_area_um2,
        max_area_um2: settled.max_area_um2,
        classes: settled.classes,
        class_confidence: settled.class_confidence,
    }
}

fn normalization_record(settled: proto::Normalization) -> NormalizationRecord {
    match settled.policy {
        Some(normalization::Policy::Window(window)) => NormalizationRecord {
            low: Some(window.low),
            high: Some(window.high),
            ..NormalizationRecord::new(AppliedPolicy::Window)
        },
        Some(normalization::Policy::Percentiles(percentiles)) => NormalizationRecord {
            low: Some(percentiles.low),
            high: Some(percentiles.high),
            min_span_counts: percentiles.min_span,
            ..NormalizationRecord::new(AppliedPolicy::Percentiles)
        },
        Some(normalization::Policy::FullRange(_)) | None => {
            NormalizationRecord::new(AppliedPolicy::FullRange)
        }
    }
}

pub(super) fn stages_us(timing: &proto::Timing) -> StagesUs {
    [
        timing.queued,
        timing.unpack,
        timing.copy_up,
        timing.preprocess,
        timing.infer,
        timing.decode,
        timing.copy_down,
        timing.measure,
        timing.encode,
        timing.track,
        timing.total,
    ]
}

/// An answer made with `options`.
pub(super) fn outcome(reply: proto::FrameReply, options: &Options) -> Result<Outcome> {
    let segmentation = match reply.outcome {
        Some(frame_reply::Outcome::Segmentation(segmentation)) => segmentation,
        Some(frame_reply::Outcome::Dropped(dropped)) => {
            return Ok(Outcome::Dropped(dropped.reason().as_str_name().to_owned()));
        }
        Some(frame_reply::Outcome::Failed(failed)) => return Ok(Outcome::Failed(failed.message)),
        Some(frame_reply::Outcome::Measured(_)) | None => {
            return Ok(Outcome::Failed(
                "the server's answer holds no cells".to_owned(),
            ));
        }
    };
    let pixel_size_um = reply.metadata.and_then(|metadata| metadata.pixel_size_um);
    let notices = reply
        .notices
        .into_iter()
        .map(|notice| notice.message)
        .collect();
    let summary = segmentation.summary.clone().unwrap_or_default();
    let touches_border: Vec<bool> = segmentation
        .instances
        .iter()
        .map(|cell| cell.touches_border)
        .collect();
    let raw = raw_segmentation(segmentation)?;
    let (segmentation, raw) = match options.raw_masks {
        true => (
            settle(&raw, &options.thresholds, pixel_size_um),
            Some(raw.instances),
        ),
        false => (settled(raw, touches_border, &summary), None),
    };
    Ok(Outcome::Segmented(Box::new(Answer {
        segmentation,
        raw,
        notices,
    })))
}

fn raw_segmentation(segmentation: proto::Segmentation) -> Result<RawSegmentation> {
    let (width, height) = (segmentation.width, segmentation.height);
    let instances = segmentation.instances.into_iter().map(|instance| {
        Ok(RawInstance {
            class_index: instance.class_index,
            score: instance.score,
            detected_box: instance.detected_box.map(box_f).unwrap_or_default(),
            mask: mask(instance.mask, width, height)
                .with_context(|| format!("mask of cell {} from the server", instance.label))?,
        })
    });
    Ok(RawSegmentation {
        width,
        height,
        instances: instances.collect::<Result<_>>()?,
        normalization: applied(segmentation.normalization.unwrap_or_default()),
        truncated: segmentation.truncated,
        notices: Vec::new(),
        times: StageTimes::default(),
    })
}

/// The server has made one truth about each cell already.
fn settled(
    raw: RawSegmentation,
    touches_border: Vec<bool>,
    summary: &proto::FrameSummary,
) -> Segmentation {
    let instances =
        raw.instances
            .into_iter()
            .zip(touches_border)
            .map(|(instance, touches_border)| Instance {
                class_index: instance.class_index,
                score: instance.score,
                detected_box: instance.detected_box,
                area: instance.mask.area(),
                mask: instance.mask,
                touches_border,
            });
    Segmentation {
        width: raw.width,
        height: raw.height,
        instances: instances.collect(),
        confluence: summary.confluence,
        removed_by_area: summary.removed_by_area,
        normalization: raw.normalization,
        truncated: raw.truncated,
        notices: Vec::new(),
    }
}

fn mask(mask: Option<instance::Mask>, width: u32, height: u32) -> Result<Mask> {
    match mask {
        Some(instance::Mask::Rle(rle)) => Ok(decode_coco(&rle.counts, width, height)?),
        other => Err(anyhow!("run lengths were asked for, not {other:?}")),
    }
}

fn box_f(b: proto::Box) -> BoxF {
    BoxF {
        x0: b.x0,
        y0: b.y0,
        x1: b.x1,
        y1: b.y1,
    }
}

fn applied(normalization: proto::AppliedNormalization) -> AppliedNormalization {
    use AppliedPolicy::{FullRange, LowContrast, Percentiles, Window};
    let policy = [Window, Percentiles, LowContrast]
        .into_iter()
        .find(|policy| policy.name() == normalization.policy)
        .unwrap_or(FullRange);
    AppliedNormalization {
        low: normalization.low,
        high: normalization.high,
        policy,
    }
}
