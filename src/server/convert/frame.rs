//! Frames as they come.

use std::time::{Duration, SystemTime};

use prost::Message;

use super::{
    super::shm::Slot,
    Refusal,
    pixels::{Pixels, Slots},
};
use crate::{
    analysis::{AnalysisError, NotKept},
    backend::LaneError,
    frame::{Frame, FrameError, FrameLimits, FrameMetadata, PIXEL_SIZES_UM, SeriesKey},
    proto::{self as pb, failed::Code},
};

/// Most bytes of a frame's metadata: they are echoed with its answer.
const MAX_METADATA: usize = 64 << 10;

/// A frame as it came, its metadata understood.
pub(in crate::server) struct Incoming {
    metadata: FrameMetadata,
    pub(in crate::server) deadline: Option<Duration>,
    pub(in crate::server) thresholds: Option<pb::Thresholds>,
    /// It is measured in the cells of that earlier frame, and not segmented.
    pub(in crate::server) measure_on: Option<u64>,
    pixels: Pixels,
    /// Where they are, if that is shared memory.
    slot: Option<Slot>,
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
    slots: Slots<'_>,
    limits: &FrameLimits,
) -> Result<Incoming, pb::Failed> {
    let deadline = frame.deadline.map(|deadline| {
        Duration::try_from(deadline).map_err(|_| {
            invalid(format!(
                "deadline {deadline}: must not be before the frame's arrival"
            ))
        })
    });
    let mut slot = None;
    let pixels = match frame.pixels {
        Some(pb::frame::Pixels::Raw(raw)) => {
            Pixels::raw(raw).map_err(|error| frame_failure(&error))?
        }
        Some(pb::frame::Pixels::Encoded(image)) => Pixels::encoded(image),
        Some(pb::frame::Pixels::Shared(shared)) => {
            let (pixels, of) =
                Pixels::shared(shared, slots, limits).map_err(|error| frame_failure(&error))?;
            slot = Some(of);
            pixels
        }
        None => {
            return Err(invalid(
                "a frame without pixels; send raw, encoded or shared".to_owned(),
            ));
        }
    };
    Ok(Incoming {
        metadata: metadata_of(metadata)?,
        deadline: deadline.transpose()?,
        thresholds: frame.thresholds,
        measure_on: frame.measure_on,
        pixels: pixels.flipped(frame.flip_horizontal, frame.flip_vertical),
        slot,
    })
}

impl Incoming {
    /// Whether making the frame is work for the work pool: a file to decode, much to unpack.
    pub(in crate::server) fn takes_long(&self) -> bool {
        self.pixels.take_long()
    }

    /// Where its pixels are, if that is shared memory.
    pub(in crate::server) fn slot(&self) -> Option<&Slot> {
        self.slot.as_ref()
    }

    /// The frame, checked: decoded, unpacked, turned round.
    pub(in crate::server) fn into_frame(self, limits: &FrameLimits) -> Result<Frame, pb::Failed> {
        let frame = self.pixels.into_frame(self.metadata, limits);
        frame.map_err(|error| frame_failure(&error))
    }
}

/// What a frame's reply says of options that would end a stream if a session asked for them.
pub(in crate::server) fn failure_of(refusal: &Refusal) -> pb::Failed {
    invalid(refusal.to_string())
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

/// What a frame's reply says where an analysis that was asked for cannot be made of it.
pub(in crate::server) fn not_analysed(error: &AnalysisError) -> pb::Failed {
    invalid(error.to_string())
}

/// What a frame's reply says where the cells that it would be measured in, those of the frame `on`, are not to be had.
pub(in crate::server) fn not_kept(on: u64, why: &NotKept) -> pb::Failed {
    invalid(match why {
        NotKept::Unknown { most, known, .. } => {
            let known: Vec<String> = known.iter().map(u64::to_string).collect();
            format!(
                "measure_on {on}: no such frame among the last {most} that were segmented before this one ({}); it was dropped, failed, answered with raw_masks, or is too long ago",
                known.join(", ")
            )
        }
        NotKept::OtherSize { size, kept } => format!(
            "measure_on {on}: that frame has {}x{} pixels, this one {}x{}: they must be of the same size",
            kept.0, kept.1, size.0, size.1
        ),
    })
}

/// The series of a frame that failed, where that much of it was understood.
pub(in crate::server) fn series(metadata: Option<&pb::FrameMetadata>) -> Option<SeriesKey> {
    let metadata = metadata_of(metadata?).ok()?;
    Some(metadata.series())
}

/// What a frame's reply says where it is not what it has to be.
pub(in crate::server) fn frame_failure(error: &FrameError) -> pb::Failed {
    let code = match error {
        FrameError::Invalid(_) => Code::InvalidFrame,
        FrameError::TooLarge(_) => Code::TooLarge,
        FrameError::Unsupported(_) => Code::Unsupported,
    };
    failure(code, error.to_string(), false)
}

/// What a frame's reply says where it cannot be meant.
pub(in crate::server) fn invalid(message: String) -> pb::Failed {
    failure(Code::InvalidFrame, message, false)
}

fn failure(code: Code, message: String, retryable: bool) -> pb::Failed {
    pb::Failed {
        code: code.into(),
        message,
        retryable,
    }
}

pub(in crate::server) fn metadata_of(
    metadata: &pb::FrameMetadata,
) -> Result<FrameMetadata, pb::Failed> {
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
        && !PIXEL_SIZES_UM.contains(&size)
    {
        let (least, most) = (PIXEL_SIZES_UM.start(), PIXEL_SIZES_UM.end());
        return Err(invalid(format!(
            "metadata.pixel_size_um {size}: must be {least} to {most}; leave it out if it is not known"
        )));
    }
    let numbers = [
        ("exposure_ms", metadata.exposure_ms),
        ("x_um", metadata.x_um),
        ("y_um", metadata.y_um),
        ("z_um", metadata.z_um),
        ("elapsed_ms", metadata.elapsed_ms),
    ];
    let affine = metadata.pixel_to_stage.iter();
    let affine = affine.map(|&number| ("pixel_to_stage", Some(number)));
    for (field, number) in numbers.into_iter().chain(affine) {
        if let Some(number) = number
            && !number.is_finite()
        {
            return Err(invalid(format!(
                "metadata.{field} {number}: must be a finite number; leave it out if it is not known"
            )));
        }
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
