//! Raw pixels that were compressed for a slow link.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::bufread::ZlibDecoder;
use lz4_flex::frame::FrameDecoder;

use super::{FrameError, FrameLimits, Layout};

/// How raw pixels are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1950.
    Zlib,
    /// LZ4 frame format.
    Lz4,
}

/// Unpacks the pixels of a frame of `layout`: at most one byte more than it can have, whatever the data say of themselves.
///
/// Errors: the layout is over `limits` or cannot be meant; the data are damaged, cut off, followed by something else, or unpack
/// to more bytes than the layout has. Fewer are for [`Frame::new`](super::Frame::new) to refuse.
pub fn decompress(
    compression: Compression,
    data: &Bytes,
    layout: &Layout,
    limits: &FrameLimits,
) -> Result<Bytes, FrameError> {
    let (layout, need) = layout.settled(limits)?;
    let most = layout.most_bytes().min(limits.max_frame_bytes);
    let name = compression.name();
    // No more at once than these data can become: zlib packs at most 1,032 times.
    let room = need.min(1032 * data.len() as u64);
    let mut pixels = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
    let mut packed = Watched {
        left: data,
        ran_out: false,
    };
    let read = match compression {
        Compression::Zlib => {
            let mut decoder = ZlibDecoder::new(&data[..]);
            let read = (&mut decoder).take(most + 1).read_to_end(&mut pixels);
            packed.left = decoder.into_inner();
            read
        }
        Compression::Lz4 => FrameDecoder::new(&mut packed)
            .take(most + 1)
            .read_to_end(&mut pixels),
    };
    let damaged = |what: String| FrameError::Invalid(format!("{name}: {what}"));
    read.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(format!("cut off after {} bytes", data.len())),
        _ => damaged(format!("damaged: {error}")),
    })?;
    if pixels.len() as u64 > most {
        return Err(damaged(format!(
            "unpacks to more than {most} bytes: {} needs {need}",
            layout.describe()
        )));
    }
    if packed.ran_out {
        return Err(damaged(format!("cut off after {} bytes", data.len())));
    }
    if !packed.left.is_empty() {
        return Err(damaged(format!(
            "{} bytes after its end: send one stream",
            packed.left.len()
        )));
    }
    Ok(Bytes::from(pixels))
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Compression::Zlib => "zlib",
            Compression::Lz4 => "LZ4",
        }
    }
}

/// Knows whether more was wanted than there is: the LZ4 decoder takes a missing end for one.
struct Watched<'a> {
    left: &'a [u8],
    ran_out: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.ran_out |= self.left.is_empty() && !buf.is_empty();
        self.left.read(buf)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::ZlibEncoder;
    use lz4_flex::frame::FrameEncoder;

    use super::*;
    use crate::frame::PixelFormat;

    const LAYOUT: Layout = Layout {
        format: PixelFormat::Mono12p,
        width: 101,
        height: 64,
        row_stride: 0,
        significant_bits: 0,
    };
    const NEED: usize = 152 * 64;

    fn pixels(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i % 251) as u8).collect()
    }

    fn packed(compression: Compression, pixels: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(pixels).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Lz4 => {
                let mut encoder = FrameEncoder::new(Vec::new());
                encoder.write_all(pixels).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    fn unpacked(compression: Compression, data: Vec<u8>) -> Result<Bytes, String> {
        let limits = FrameLimits::default();
        decompress(compression, &Bytes::from(data), &LAYOUT, &limits).map_err(|e| e.to_string())
    }

    const BOTH: [Compression; 2] = [Compression::Zlib, Compression::Lz4];

    #[test]
    fn what_was_packed_comes_out() {
        for compression in BOTH {
            let packed = packed(compression, &pixels(NEED));
            assert_eq!(unpacked(compression, packed).unwrap(), pixels(NEED));
        }
    }

    #[test]
    fn a_bomb_is_given_up_after_one_byte_too_many() {
        for compression in BOTH {
            let bomb = packed(compression, &vec![0; 200 << 20]);
            let error = unpacked(compression, bomb).unwrap_err();
            let text =
                "unpacks to more than 9728 bytes: 101x64 Mono12p with row_stride 152 needs 9728";
            assert!(error.ends_with(text), "{error}");
        }
    }

    #[test]
    fn cut_off_anywhere_it_is_refused_or_too_short() {
        for compression in BOTH {
            let whole = packed(compression, &pixels(NEED));
            for keep in 0..whole.len() {
                match unpacked(compression, whole[..keep].to_vec()) {
                    Ok(_) => panic!("{compression:?} cut to {keep} of {} bytes", whole.len()),
                    Err(error) => assert!(
                        error.contains("cut off") || error.contains("damaged"),
                        "{error}"
                    ),
                }
            }
        }
    }

    #[test]
    fn what_follows_and_what_is_no_stream_is_named() {
        for compression in BOTH {
            let mut more = packed(compression, &pixels(NEED));
            more.extend(b"more");
            let error = unpacked(compression, more).unwrap_err();
            assert!(
                error.ends_with("4 bytes after its end: send one stream"),
                "{error}"
            );
            let error = unpacked(compression, b"no stream of that kind".to_vec()).unwrap_err();
            assert!(error.contains("damaged: "), "{error}");
        }
    }

    #[test]
    fn a_layout_over_the_limits_is_refused_before_anything_is_unpacked() {
        let layout = Layout {
            width: 60_000,
            ..LAYOUT
        };
        let data = Bytes::from(packed(Compression::Zlib, &pixels(NEED)));
        let error = decompress(Compression::Zlib, &data, &layout, &FrameLimits::default());
        assert!(matches!(error, Err(FrameError::TooLarge(_))), "{error:?}");
    }
}
