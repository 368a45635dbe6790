//! Pixel formats, named as PFNC and GigE Vision name them.

use std::fmt;

/// How a pixel is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// One byte.
    Mono8,
    /// Little-endian 16-bit container, 10 bits used.
    Mono10,
    /// Little-endian 16-bit container, 12 bits used.
    Mono12,
    /// Little-endian 16-bit container, 14 bits used.
    Mono14,
    /// Little-endian 16 bits.
    Mono16,
    /// Three bytes.
    Rgb8,
    /// Three bytes, blue first.
    Bgr8,
    /// Four bytes; alpha is ignored.
    Rgba8,
    /// Four bytes, blue first; alpha is ignored.
    Bgra8,
}

impl PixelFormat {
    /// Every format understood.
    pub const ALL: [PixelFormat; 9] = {
        use PixelFormat::*;
        [
            Mono8, Mono10, Mono12, Mono14, Mono16, Rgb8, Bgr8, Rgba8, Bgra8,
        ]
    };

    /// Bytes of one pixel.
    pub fn bytes_per_pixel(self) -> usize {
        use PixelFormat::*;
        match self {
            Mono8 => 1,
            Mono10 | Mono12 | Mono14 | Mono16 => 2,
            Rgb8 | Bgr8 => 3,
            Rgba8 | Bgra8 => 4,
        }
    }

    /// Bits of one sample that can carry light.
    pub fn bits(self) -> u32 {
        use PixelFormat::*;
        match self {
            Mono8 | Rgb8 | Bgr8 | Rgba8 | Bgra8 => 8,
            Mono10 => 10,
            Mono12 => 12,
            Mono14 => 14,
            Mono16 => 16,
        }
    }

    /// The name in PFNC and in the contract.
    pub fn name(self) -> &'static str {
        use PixelFormat::*;
        match self {
            Mono8 => "Mono8",
            Mono10 => "Mono10",
            Mono12 => "Mono12",
            Mono14 => "Mono14",
            Mono16 => "Mono16",
            Rgb8 => "RGB8",
            Bgr8 => "BGR8",
            Rgba8 => "RGBA8",
            Bgra8 => "BGRA8",
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
