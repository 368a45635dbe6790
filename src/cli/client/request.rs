//! Our types to the contract's messages: what a client says.

use crate::{
    cli::choices::{Choices, NormalizationChoice},
    frame::{Frame, FrameMetadata, PixelFormat},
    proto::{self, frame, normalization},
};

pub(super) fn session_options(
    model: Option<&str>,
    window: Option<u32>,
    choices: &Choices,
) -> proto::SessionOptions {
    proto::SessionOptions {
        model: model.unwrap_or_default().to_owned(),
        window: window.unwrap_or_default(),
        outputs: Some(proto::Outputs {
            masks: proto::MaskEncoding::CocoRle.into(),
            raw_masks: Some(choices.raw_masks),
            ..Default::default()
        }),
        thresholds: Some(proto::Thresholds {
            confidence: choices.confidence,
            iou: choices.iou,
            class_agnostic: choices.class_agnostic.then_some(true),
            max_cells: choices.max_cells,
            ..Default::default()
        }),
        normalization: choices.normalization.map(|choice| proto::Normalization {
            policy: Some(policy(choice)),
        }),
        delivery: proto::Delivery::Lossless.into(),
        name: concat!("cellsegd ", env!("CARGO_PKG_VERSION")).to_owned(),
        ..Default::default()
    }
}

fn policy(choice: NormalizationChoice) -> normalization::Policy {
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
                min_span: None,
            })
        }
    }
}

pub(super) fn frame(id: u64, frame: &Frame) -> proto::Frame {
    let layout = frame.layout();
    proto::Frame {
        id,
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
        PixelFormat::Rgb8 => proto::PixelFormat::Rgb8,
        PixelFormat::Bgr8 => proto::PixelFormat::Bgr8,
        PixelFormat::Rgba8 => proto::PixelFormat::Rgba8,
        PixelFormat::Bgra8 => proto::PixelFormat::Bgra8,
    }
}

fn metadata(metadata: FrameMetadata) -> proto::FrameMetadata {
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
