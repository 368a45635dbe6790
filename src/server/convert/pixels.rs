//! Pixels as they come: packed, compressed, mirrored, in a file.

use bytes::Bytes;

use super::super::{
    Peer,
    shm::{RegionError, Regions, Slot},
};
use crate::{
    frame::{
        Compression, Frame, FrameError, FrameLimits, FrameMetadata, Layout, PixelFormat,
        decode_image, decompress,
    },
    proto as pb,
};

/// Whose regions a frame may lie in.
#[derive(Clone, Copy)]
pub(in crate::server) struct Slots<'a> {
    pub(in crate::server) regions: &'a Regions,
    pub(in crate::server) peer: &'a Peer,
}

/// Raw pixels of at most so many bytes are turned round where they are: about 100 microseconds.
const AT_ONCE: usize = 256 << 10;

/// The pixels of a frame or of an image of the settings, not looked at yet.
pub(in crate::server) struct Pixels {
    source: Source,
    flip_horizontal: bool,
    flip_vertical: bool,
}

enum Source {
    Raw {
        layout: Layout,
        data: Bytes,
        big_endian: bool,
        compression: Option<Compression>,
    },
    Encoded {
        file: Bytes,
        page: u32,
    },
}

impl Pixels {
    /// As the camera delivers them. Errors: a format or compression that does not exist.
    pub(in crate::server) fn raw(raw: pb::RawPixels) -> Result<Pixels, FrameError> {
        let source = Source::Raw {
            layout: described(&raw)?,
            data: raw.data,
            big_endian: raw.big_endian,
            compression: compression(raw.compression)?,
        };
        Ok(Pixels::from(source))
    }

    /// In shared memory: raw pixels, where they are. Errors: as of [`Pixels::raw`]; no such region or no such part of it; a slot with
    /// bytes of its own, or compressed.
    pub(in crate::server) fn shared(
        shared: pb::SharedSlot,
        slots: Slots<'_>,
        limits: &FrameLimits,
    ) -> Result<(Pixels, Slot), FrameError> {
        let pb::SharedSlot {
            region,
            offset,
            layout,
        } = shared;
        let layout = layout.ok_or_else(|| {
            FrameError::Invalid("shared without a layout: say format, width and height".to_owned())
        })?;
        if !layout.data.is_empty() {
            return Err(FrameError::Invalid(format!(
                "shared.layout has {} bytes of data: the pixels are in the region; send them there or here",
                layout.data.len()
            )));
        }
        if compression(layout.compression)?.is_some() {
            return Err(FrameError::Unsupported(
                "shared.layout.compression: pixels in shared memory are not compressed".to_owned(),
            ));
        }
        let bytes = described(&layout)?.bytes(limits)?;
        // No more than limits.max_frame_bytes, which a message can have.
        let slot = slots
            .regions
            .slot(slots.peer, &region, offset, bytes as usize)?;
        let data = slot.bytes();
        Ok((Pixels::raw(pb::RawPixels { data, ..layout })?, slot))
    }

    /// An image file.
    pub(in crate::server) fn encoded(image: pb::EncodedImage) -> Pixels {
        Pixels::from(Source::Encoded {
            file: image.data,
            page: image.page,
        })
    }

    /// To be mirrored.
    pub(in crate::server) fn flipped(self, horizontal: bool, vertical: bool) -> Pixels {
        Pixels {
            flip_horizontal: horizontal,
            flip_vertical: vertical,
            ..self
        }
    }

    /// Whether [`Pixels::into_frame`] is work for the work pool.
    pub(in crate::server) fn take_long(&self) -> bool {
        let flips = self.flip_horizontal || self.flip_vertical;
        match &self.source {
            Source::Encoded { .. } => true,
            Source::Raw {
                data,
                big_endian,
                compression,
                ..
            } => compression.is_some() || ((flips || *big_endian) && data.len() > AT_ONCE),
        }
    }

    /// The frame, checked. Errors: what [`Frame::new`], [`decode_image`], [`decompress`] and [`Frame::from_big_endian`] refuse.
    pub(in crate::server) fn into_frame(
        self,
        metadata: FrameMetadata,
        limits: &FrameLimits,
    ) -> Result<Frame, FrameError> {
        let frame = match self.source {
            Source::Raw {
                layout,
                data,
                big_endian,
                compression,
            } => {
                let data = match compression {
                    Some(compression) => decompress(compression, &data, &layout, limits)?,
                    None => data,
                };
                let frame = Frame::new(layout, data, metadata, limits)?;
                match big_endian {
                    true => frame.from_big_endian()?,
                    false => frame,
                }
            }
            Source::Encoded { file, page } => {
                let (layout, data) = decode_image(&file, page, limits)?;
                Frame::new(layout, data, metadata, limits)?
            }
        };
        Ok(frame.flipped(self.flip_horizontal, self.flip_vertical))
    }
}

impl From<Source> for Pixels {
    fn from(source: Source) -> Pixels {
        Pixels {
            source,
            flip_horizontal: false,
            flip_vertical: false,
        }
    }
}

/// What is said of raw pixels.
fn described(raw: &pb::RawPixels) -> Result<Layout, FrameError> {
    Ok(Layout {
        format: pixel_format(raw.format)?,
        width: raw.width,
        height: raw.height,
        row_stride: raw.row_stride,
        significant_bits: raw.significant_bits,
    })
}

/// As a frame's reply says it.
impl From<RegionError> for FrameError {
    fn from(error: RegionError) -> FrameError {
        let text = error.to_string();
        match error {
            RegionError::Denied(_) => FrameError::Unsupported(text),
            _ => FrameError::Invalid(text),
        }
    }
}

fn compression(value: i32) -> Result<Option<Compression>, FrameError> {
    match pb::Compression::try_from(value) {
        Ok(pb::Compression::Unspecified | pb::Compression::None) => Ok(None),
        Ok(pb::Compression::Zlib) => Ok(Some(Compression::Zlib)),
        Ok(pb::Compression::Lz4) => Ok(Some(Compression::Lz4)),
        Err(_) => Err(FrameError::Invalid(format!(
            "compression {value}: no such value in this version's contract"
        ))),
    }
}

fn pixel_format(value: i32) -> Result<PixelFormat, FrameError> {
    use pb::PixelFormat as Pb;
    let format = Pb::try_from(value).unwrap_or(Pb::Unspecified);
    Ok(match format {
        Pb::Mono8 => PixelFormat::Mono8,
        Pb::Mono10 => PixelFormat::Mono10,
        Pb::Mono12 => PixelFormat::Mono12,
        Pb::Mono14 => PixelFormat::Mono14,
        Pb::Mono16 => PixelFormat::Mono16,
        Pb::Mono10p => PixelFormat::Mono10p,
        Pb::Mono12p => PixelFormat::Mono12p,
        Pb::Mono10packed => PixelFormat::Mono10Packed,
        Pb::Mono12packed => PixelFormat::Mono12Packed,
        Pb::Rgb8 => PixelFormat::Rgb8,
        Pb::Bgr8 => PixelFormat::Bgr8,
        Pb::Rgba8 => PixelFormat::Rgba8,
        Pb::Bgra8 => PixelFormat::Bgra8,
        Pb::Rgb16 => PixelFormat::Rgb16,
        Pb::Unspecified => {
            let understood = PixelFormat::ALL.map(PixelFormat::name).join(", ");
            return Err(FrameError::Invalid(format!(
                "unknown pixel format {value}; understood are {understood}"
            )));
        }
    })
}
