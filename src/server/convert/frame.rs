//! Frames as they come.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message;

use super::Refusal;
use crate::{
    backend::LaneError,
    frame::{Frame, FrameError, FrameLimits, FrameMetadata, Layout, PixelFormat},
    proto::{self as pb, failed::Code},
};

/// Most bytes of a frame's metadata: they are echoed with its answer.
const MAX_METADATA: usize = 64 << 10;

/// A frame as it came, its metadata understood.
pub(in crate::server) struct Incoming {
    metadata: FrameMetadata,
    pub(in crate::server) deadline: Option<Duration>,
    pub(in crate::server) thresholds: Option<pb::Thresholds>,
    pixels: Pixels,
}

/// Pixels as they came.
enum Pixels {
    Raw(Layout, Bytes),
    Encoded { file: Bytes, page: u32 },
}

/// The metadata to echo; not what is too large to be.
pub(in crate::server) fn echo(
    metadata: Option<pb::FrameMetadata>,
) -> Result<pb::FrameMetadata, pb::Failed> {
    let metadata = metadata.unwrap_or_default();
    match metadata.encoded_len() {
        bytes if bytes > MAX_METADATA => Err(invalid(format!(
            "metadata has {bytes} bytes: at most {MAX_METADATA}"
        ))),
        _ => Ok(metadata),
    }
}

/// Understands a frame's message, whose metadata was taken out to be echoed. `Err`: what its reply says.
pub(in crate::server) fn frame(
    frame: pb::Frame,
    metadata: &pb::FrameMetadata,
) -> Result<Incoming, pb::Failed> {
    if frame.measure_on.is_some() {
        return Err(unsupported("measure_on is not implemented in this version"));
    }
    let deadline = frame.deadline.map(|deadline| {
        Duration::try_from(deadline).map_err(|_| {
            invalid(format!(
                "deadline {deadline}: must not be before the frame's arrival"
            ))
        })
    });
    let pixels = match frame.pixels {
        Some(pb::frame::Pixels::Raw(raw)) => {
            let layout = layout(&raw)?;
            Pixels::Raw(layout, raw.data)
        }
        Some(pb::frame::Pixels::Encoded(image)) => Pixels::Encoded {
            file: image.data,
            page: image.page,
        },
        Some(pb::frame::Pixels::Shared(_)) => {
            return Err(unsupported(
                "frames in shared memory are not implemented in this version; send raw or encoded",
            ));
        }
        None => {
            return Err(invalid(
                "a frame without pixels; send raw or encoded".to_owned(),
            ));
        }
    };
    Ok(Incoming {
        metadata: metadata_of(metadata)?,
        deadline: deadline.transpose()?,
        thresholds: frame.thresholds,
        pixels,
    })
}

impl Incoming {
    /// Whether the pixels are an image file, which takes milliseconds to decode.
    pub(in crate::server) fn is_encoded(&self) -> bool {
        matches!(self.pixels, Pixels::Encoded { .. })
    }

    /// The frame, checked; encoded pixels are decoded.
    pub(in crate::server) fn into_frame(self, limits: &FrameLimits) -> Result<Frame, pb::Failed> {
        let pixels = match self.pixels {
            Pixels::Raw(layout, data) => Ok((layout, data)),
            Pixels::Encoded { file, page } => crate::frame::decode_image(&file, page, limits),
        };
        pixels
            .and_then(|(layout, data)| Frame::new(layout, data, self.metadata, limits))
            .map_err(|error| frame_failure(&error))
    }
}

/// What a frame's reply says of options that would end a stream if a session asked for them.
pub(in crate::server) fn failure_of(refusal: &Refusal) -> pb::Failed {
    match refusal {
        Refusal::Unimplemented(_) => unsupported(refusal.to_string()),
        Refusal::Invalid(_) | Refusal::NotFound(_) => invalid(refusal.to_string()),
    }
}

/// What a frame's reply says if another frame of its id has not been answered yet.
pub(in crate::server) fn duplicate_id(id: u64) -> pb::Failed {
    invalid(format!(
        "id {id}: a frame of this id is still in flight; ids must tell frames in flight apart"
    ))
}

/// What a frame's reply says of a defect of ours.
pub(in crate::server) fn defect(doing: &str) -> pb::Failed {
    failure(
        Code::Internal,
        format!("a defect of the daemon while {doing}; its log says more"),
        false,
    )
}

/// What a frame's reply says of a lane's error.
pub(in crate::server) fn lane_failure(error: &LaneError) -> pb::Failed {
    let (code, retryable) = match error {
        LaneError::Frame(_) => (Code::Internal, false),
        LaneError::Lane(_) => (Code::LaneLost, true),
        LaneError::Device(_) => (Code::DeviceLost, true),
    };
    failure(code, error.to_string(), retryable)
}

fn frame_failure(error: &FrameError) -> pb::Failed {
    let code = match error {
        FrameError::Invalid(_) => Code::InvalidFrame,
        FrameError::TooLarge(_) => Code::TooLarge,
        FrameError::Unsupported(_) => Code::Unsupported,
    };
    failure(code, error.to_string(), false)
}

fn invalid(message: String) -> pb::Failed {
    failure(Code::InvalidFrame, message, false)
}

fn unsupported(message: impl Into<String>) -> pb::Failed {
    failure(Code::Unsupported, message.into(), false)
}

fn failure(code: Code, message: String, retryable: bool) -> pb::Failed {
    pb::Failed {
        code: code.into(),
        message,
        retryable,
    }
}

fn layout(raw: &pb::RawPixels) -> Result<Layout, pb::Failed> {
    if raw.big_endian {
        return Err(unsupported(
            "big_endian pixels are not implemented in this version; send little-endian",
        ));
    }
    match pb::Compression::try_from(raw.compression) {
        Ok(pb::Compression::Unspecified | pb::Compression::None) => {}
        Ok(compression) => {
            let name = compression.as_str_name();
            return Err(unsupported(format!(
                "raw pixels with {name} are not implemented in this version; send them as they are"
            )));
        }
        Err(_) => {
            return Err(invalid(format!(
                "compression {}: no such value",
                raw.compression
            )));
        }
    }
    Ok(Layout {
        format: pixel_format(raw.format)?,
        width: raw.width,
        height: raw.height,
        row_stride: raw.row_stride,
        significant_bits: raw.significant_bits,
    })
}

fn pixel_format(value: i32) -> Result<PixelFormat, pb::Failed> {
    use pb::PixelFormat as Pb;
    let format = Pb::try_from(value).unwrap_or(Pb::Unspecified);
    match format {
        Pb::Mono8 => Ok(PixelFormat::Mono8),
        Pb::Mono10 => Ok(PixelFormat::Mono10),
        Pb::Mono12 => Ok(PixelFormat::Mono12),
        Pb::Mono14 => Ok(PixelFormat::Mono14),
        Pb::Mono16 => Ok(PixelFormat::Mono16),
        Pb::Rgb8 => Ok(PixelFormat::Rgb8),
        Pb::Bgr8 => Ok(PixelFormat::Bgr8),
        Pb::Rgba8 => Ok(PixelFormat::Rgba8),
        Pb::Bgra8 => Ok(PixelFormat::Bgra8),
        Pb::Mono10p | Pb::Mono12p | Pb::Mono10packed | Pb::Mono12packed | Pb::Rgb16 => {
            Err(unsupported(format!(
                "pixel format {} is not implemented in this version; understood are {}",
                format.as_str_name(),
                understood()
            )))
        }
        Pb::Unspecified => Err(invalid(format!(
            "unknown pixel format {value}; understood are {}",
            understood()
        ))),
    }
}

fn understood() -> String {
    PixelFormat::ALL.map(PixelFormat::name).join(", ")
}

fn metadata_of(metadata: &pb::FrameMetadata) -> Result<FrameMetadata, pb::Failed> {
    let pixel_to_stage = match metadata.pixel_to_stage.len() {
        0 => None,
        6 => metadata.pixel_to_stage.as_slice().try_into().ok(),
        got => {
            return Err(invalid(format!(
                "metadata.pixel_to_stage has {got} numbers: an affine has 6"
            )));
        }
    };
    if let Some(size) = metadata.pixel_size_um
        && !(size.is_finite() && size > 0.0)
    {
        return Err(invalid(format!(
            "metadata.pixel_size_um {size}: must be above 0; leave it out if it is not known"
        )));
    }
    let captured_at = metadata.captured_at.map(|time| {
        SystemTime::try_from(time)
            .map_err(|_| invalid(format!("metadata.captured_at {time}: out of range")))
    });
    Ok(FrameMetadata {
        index: metadata.index.clone(),
        channel: metadata.channel.clone(),
        position: metadata.position.clone(),
        camera: metadata.camera.clone(),
        plate: metadata.plate.clone(),
        well: metadata.well.clone(),
        field: metadata.field,
        exposure_ms: metadata.exposure_ms,
        x_um: metadata.x_um,
        y_um: metadata.y_um,
        z_um: metadata.z_um,
        pixel_size_um: metadata.pixel_size_um,
        binning: metadata.binning,
        roi_x: metadata.roi_x,
        roi_y: metadata.roi_y,
        pixel_to_stage,
        captured_at: captured_at.transpose()?,
        elapsed_ms: metadata.elapsed_ms,
        properties: metadata.properties.clone(),
    })
}
