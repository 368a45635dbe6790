//! The contract's messages to our types: what a client hears.

use anyhow::{Context, Result, anyhow};

use super::{ServerUrl, analysis, measures};
use crate::{
    cli::{
        latency::StagesUs,
        record::{
            FlatFieldRecord, ModelRecord, NormalizationRecord, Options, Provenance, ServerRecord,
        },
        segmenter::{Answer, Outcome},
    },
    decode::settle,
    geometry::BoxF,
    mask::{Mask, decode_coco},
    params::{BorderRule, Normalization, Params, Thresholds, Tiling, TilingMode},
    proto::{self, frame_reply, instance, normalization, tiling::Mode},
    segmentation::{
        AppliedNormalization, AppliedPolicy, Instance, RawInstance, RawSegmentation, Segmentation,
        StageTimes,
    },
};

pub(super) fn provenance(
    url: &ServerUrl,
    opened: &proto::SessionOpened,
    flat_field: Option<FlatFieldRecord>,
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
        options: options(settled, flat_field),
    }
}

fn options(settled: proto::SessionOptions, flat_field: Option<FlatFieldRecord>) -> Options {
    let analysis = analysis::settled(&settled);
    let raw_masks = settled.outputs.is_some_and(|outputs| outputs.raw_masks());
    let normalization = settled.normalization.unwrap_or_default();
    let params = Params {
        tiling: tiling(settled.tiling.unwrap_or_default()),
        smoothing: match &normalization.policy {
            Some(normalization::Policy::Percentiles(percentiles)) => percentiles.smoothing(),
            _ => 0.0,
        },
        // Said below as the server says it: its least span is in counts or the model's own.
        ..Params::new(
            thresholds(settled.thresholds.unwrap_or_default()),
            Normalization::FullRange,
        )
    };
    Options {
        normalization: normalization_record(normalization),
        ..Options::new(&params, &analysis, flat_field, raw_masks)
    }
}

fn tiling(settled: proto::Tiling) -> Tiling {
    let default = Tiling::default();
    Tiling {
        mode: match settled.mode() {
            Mode::Unspecified => default.mode,
            Mode::Auto => TilingMode::Auto,
            Mode::Off => TilingMode::Off,
            Mode::On => TilingMode::On,
        },
        overlap: settled.overlap.unwrap_or(default.overlap),
        target_um_per_px: settled.target_um_per_px,
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
        border: match settled.border() {
            proto::BorderRule::Unspecified | proto::BorderRule::Keep => BorderRule::Keep,
            proto::BorderRule::Drop => BorderRule::Drop,
            proto::BorderRule::Unbiased => BorderRule::Unbiased,
        },
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
        // A server states the window that a reference image gave.
        Some(normalization::Policy::FullRange(_) | normalization::Policy::Reference(_)) | None => {
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
    let mut segmentation = match reply.outcome {
        Some(frame_reply::Outcome::Segmentation(segmentation)) => segmentation,
        Some(frame_reply::Outcome::Dropped(dropped)) => {
            return Ok(Outcome::Dropped(dropped.reason().as_str_name().to_owned()));
        }
        Some(frame_reply::Outcome::Failed(failed)) => return Ok(Outcome::Failed(failed.message)),
        Some(frame_reply::Outcome::Measured(measured)) => {
            let cells = measured.instances.into_iter();
            let of_cell = |cell: proto::MeasuredInstance| measures::intensities(cell.intensity);
            return Ok(Outcome::Measured(cells.map(of_cell).collect()));
        }
        None => {
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
    let tiles = reply.timing.map_or(1, |timing| timing.tiles.max(1));
    let said: Vec<Said> = segmentation.instances.iter_mut().map(Said::take).collect();
    let raw = raw_segmentation(segmentation)?;
    let (segmentation, raw) = match options.raw_masks {
        true => (
            settle(&raw, &options.thresholds, pixel_size_um),
            Some(raw.instances),
        ),
        false => (settled(raw, said, &summary), None),
    };
    Ok(Outcome::Segmented(Box::new(Answer {
        segmentation,
        raw,
        notices,
        tiles,
    })))
}

/// What the server says of a cell beside its mask.
struct Said {
    touches_border: bool,
    measures: Option<proto::Measures>,
    track: Option<proto::Track>,
}

impl Said {
    fn take(cell: &mut proto::Instance) -> Said {
        Said {
            touches_border: cell.touches_border,
            measures: cell.measures.take(),
            track: cell.track.take(),
        }
    }
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
        own_span: None,
        tiles: 1,
    })
}

/// The server has made one truth about each cell already.
fn settled(raw: RawSegmentation, said: Vec<Said>, summary: &proto::FrameSummary) -> Segmentation {
    let instances = raw.instances.into_iter().zip(said);
    let instances = instances.map(|(instance, said)| Instance {
        class_index: instance.class_index,
        score: instance.score,
        detected_box: instance.detected_box,
        area: instance.mask.area(),
        mask: instance.mask,
        touches_border: said.touches_border,
        measures: said.measures.map(measures::measures),
        track: said.track.map(analysis::track),
    });
    Segmentation {
        width: raw.width,
        height: raw.height,
        instances: instances.collect(),
        confluence: summary.confluence,
        analysed_px: summary.analysed_px,
        removed_at_border: summary.removed_at_border,
        neighbourhood: measures::neighbourhood(summary),
        drift_px: summary.drift.map(|drift| (drift.x_px, drift.y_px)),
        growth: summary.growth.map(measures::growth),
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
