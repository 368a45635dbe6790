//! Our types to the contract's messages: what a client says.

use std::fs;

use anyhow::{Context, Result};

use super::analysis;
use crate::{
    cli::{
        choices::{Area, Choices, NormalizationChoice},
        segmenter::Wishes,
    },
    frame::{Frame, FrameMetadata, PixelFormat},
    params::{BorderRule, MinSpan, Normalization, Thresholds, TilingMode},
    pool::Priority,
    proto::{self, frame, normalization, tiling::Mode},
};

pub(super) fn session_options(
    model: Option<&str>,
    window: Option<u32>,
    wishes: &Wishes,
) -> Result<proto::SessionOptions> {
    let choices = &wishes.choices;
    Ok(proto::SessionOptions {
        model: model.unwrap_or_default().to_owned(),
        window: window.unwrap_or(wishes.session.window),
        priority: priority(wishes.session.priority).into(),
        outputs: Some(proto::Outputs {
            masks: proto::MaskEncoding::CocoRle.into(),
            raw_masks: Some(choices.raw_masks),
            ..Default::default()
        }),
        thresholds: Some(match &choices.as_recorded {
            Some(recorded) => recorded_thresholds(&recorded.0),
            None => thresholds(choices),
        }),
        normalization: normalization(choices)?,
        tiling: tiling(choices),
        delivery: proto::Delivery::Lossless.into(),
        name: match wishes.session.name.as_str() {
            "" => concat!("cellsegd ", env!("CARGO_PKG_VERSION")).to_owned(),
            name => name.to_owned(),
        },
        region: analysis::region(&wishes.analysis),
        measurements: analysis::measurements(&wishes.analysis),
        tracking: analysis::tracking(wishes),
        growth: analysis::growth(&wishes.analysis),
        flat_field: flat_field(wishes)?,
        ..Default::default()
    })
}

fn thresholds(choices: &Choices) -> proto::Thresholds {
    let (min_area_px, min_area_um2) = choices.min_areas();
    let of_file = &choices.of_file;
    proto::Thresholds {
        confidence: choices.confidence,
        iou: choices.iou,
        class_agnostic: match choices.class_agnostic {
            true => Some(true),
            false => of_file.class_agnostic,
        },
        max_cells: choices.max_cells,
        min_area_px,
        min_area_um2,
        max_area_um2: match choices.max_area {
            Some(Area::Um2(um2)) => Some(um2),
            _ => None,
        },
        border: choices.border.map_or(0, border),
        classes: of_file.classes.clone(),
        class_confidence: of_file.class_confidence.clone(),
    }
}

fn priority(priority: Option<Priority>) -> proto::Priority {
    match priority {
        None => proto::Priority::Unspecified,
        Some(Priority::Background) => proto::Priority::Background,
        Some(Priority::Normal) => proto::Priority::Normal,
        Some(Priority::Urgent) => proto::Priority::Urgent,
    }
}

fn recorded_thresholds(thresholds: &Thresholds) -> proto::Thresholds {
    let thresholds = thresholds.clone();
    proto::Thresholds {
        confidence: Some(thresholds.confidence),
        iou: Some(thresholds.iou),
        class_agnostic: Some(thresholds.class_agnostic),
        max_cells: Some(thresholds.max_cells),
        min_area_px: Some(thresholds.min_area_px),
        min_area_um2: thresholds.min_area_um2,
        max_area_um2: thresholds.max_area_um2,
        border: border(thresholds.border),
        classes: thresholds.classes,
        class_confidence: thresholds.class_confidence,
    }
}

fn border(rule: BorderRule) -> i32 {
    match rule {
        BorderRule::Keep => proto::BorderRule::Keep,
        BorderRule::Drop => proto::BorderRule::Drop,
        BorderRule::Unbiased => proto::BorderRule::Unbiased,
    }
    .into()
}

/// Smoothing alone is refused: the contract has it within percentiles only, and those of the model are the server's to know.
fn normalization(choices: &Choices) -> Result<Option<proto::Normalization>> {
    let policy = match (&choices.as_recorded, choices.normalization) {
        (Some(recorded), _) => Some(recorded_policy(&recorded.1)),
        (None, choice) => choice.map(|choice| policy(choice, choices.of_file.min_span)),
    };
    let policy = match (policy, choices.smoothing) {
        (policy, None | Some(0.0)) => policy,
        (Some(normalization::Policy::Percentiles(percentiles)), smoothing) => Some(
            normalization::Policy::Percentiles(normalization::Percentiles {
                smoothing,
                ..percentiles
            }),
        ),
        _ => anyhow::bail!(
            "--smoothing is of percentiles: with --server name them, as --normalization percentile:0.5,99.5"
        ),
    };
    Ok(policy.map(|policy| proto::Normalization {
        policy: Some(policy),
    }))
}

fn policy(choice: NormalizationChoice, min_span: Option<f64>) -> normalization::Policy {
    match choice {
        NormalizationChoice::Full => normalization::Policy::FullRange(normalization::FullRange {}),
        NormalizationChoice::Window { low, high } => {
            normalization::Policy::Window(normalization::Window { low, high })
        }
        NormalizationChoice::Percentile { low, high } => {
            normalization::Policy::Percentiles(normalization::Percentiles {
                low,
                high,
                smoothing: None,
                min_span,
            })
        }
    }
}

/// A least span that is a fraction of the full range is the model's own: the contract has counts only.
fn recorded_policy(recorded: &Normalization) -> normalization::Policy {
    match *recorded {
        Normalization::FullRange => policy(NormalizationChoice::Full, None),
        Normalization::Window { low, high } => {
            policy(NormalizationChoice::Window { low, high }, None)
        }
        Normalization::Percentiles {
            low,
            high,
            min_span,
        } => normalization::Policy::Percentiles(normalization::Percentiles {
            low,
            high,
            smoothing: None,
            min_span: match min_span {
                MinSpan::Counts(counts) => Some(counts),
                MinSpan::OfFullRange(_) => None,
            },
        }),
    }
}

fn tiling(choices: &Choices) -> Option<proto::Tiling> {
    let mode = choices.tiling.map(|mode| match mode {
        TilingMode::Auto => Mode::Auto,
        TilingMode::Off => Mode::Off,
        TilingMode::On => Mode::On,
    });
    let tiling = proto::Tiling {
        mode: mode.unwrap_or_default().into(),
        overlap: choices.overlap,
        target_um_per_px: choices.target_um,
    };
    (tiling != proto::Tiling::default()).then_some(tiling)
}

/// The image files as they are: the server decodes them.
fn flat_field(wishes: &Wishes) -> Result<Option<proto::FlatField>> {
    use proto::flat_field::{Dark, Flat};
    let image = |path: &std::path::PathBuf| -> Result<proto::EncodedImage> {
        let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(proto::EncodedImage {
            data: data.into(),
            page: 0,
        })
    };
    let Some(flat) = &wishes.flat else {
        return Ok(None);
    };
    let dark = wishes.dark.as_ref().map(image).transpose()?;
    Ok(Some(proto::FlatField {
        flat: Some(Flat::FlatEncoded(image(flat)?)),
        dark: dark.map(Dark::DarkEncoded),
    }))
}

pub(super) fn frame(id: u64, measure_on: Option<u64>, frame: &Frame) -> proto::Frame {
    let layout = frame.layout();
    proto::Frame {
        id,
        measure_on,
        pixels: Some(frame::Pixels::Raw(proto::RawPixels {
            format: pixel_format(layout.format).into(),
            width: layout.width,
            height: layout.height,
            row_stride: layout.row_stride,
            data: frame.data().clone(),
            significant_bits: layout.significant_bits,
            ..Default::default()
        })),
        metadata: Some(metadata(frame.metadata().clone())),
        ..Default::default()
    }
}

fn pixel_format(format: PixelFormat) -> proto::PixelFormat {
    match format {
        PixelFormat::Mono8 => proto::PixelFormat::Mono8,
        PixelFormat::Mono10 => proto::PixelFormat::Mono10,
        PixelFormat::Mono12 => proto::PixelFormat::Mono12,
        PixelFormat::Mono14 => proto::PixelFormat::Mono14,
        PixelFormat::Mono16 => proto::PixelFormat::Mono16,
        PixelFormat::Mono10p => proto::PixelFormat::Mono10p,
        PixelFormat::Mono12p => proto::PixelFormat::Mono12p,
        PixelFormat::Mono10Packed => proto::PixelFormat::Mono10packed,
        PixelFormat::Mono12Packed => proto::PixelFormat::Mono12packed,
        PixelFormat::Rgb16 => proto::PixelFormat::Rgb16,
        PixelFormat::Rgb8 => proto::PixelFormat::Rgb8,
        PixelFormat::Bgr8 => proto::PixelFormat::Bgr8,
        PixelFormat::Rgba8 => proto::PixelFormat::Rgba8,
        PixelFormat::Bgra8 => proto::PixelFormat::Bgra8,
    }
}

pub(super) fn metadata(metadata: FrameMetadata) -> proto::FrameMetadata {
    proto::FrameMetadata {
        index: metadata.index,
        channel: metadata.channel,
        position: metadata.position,
        camera: metadata.camera,
        plate: metadata.plate,
        well: metadata.well,
        field: metadata.field,
        exposure_ms: metadata.exposure_ms,
        x_um: metadata.x_um,
        y_um: metadata.y_um,
        z_um: metadata.z_um,
        pixel_size_um: metadata.pixel_size_um,
        binning: metadata.binning,
        roi_x: metadata.roi_x,
        roi_y: metadata.roi_y,
        pixel_to_stage: metadata.pixel_to_stage.map(Vec::from).unwrap_or_default(),
        captured_at: metadata.captured_at.map(Into::into),
        elapsed_ms: metadata.elapsed_ms,
        properties: metadata.properties,
    }
}
