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
    /// PFNC: 10 bits without gaps, least significant first; rows begin at whole bytes.
    Mono10p,
    /// PFNC: 12 bits without gaps, least significant first; rows begin at whole bytes.
    Mono12p,
    /// GigE Vision: two pixels in three bytes, the middle one holds the lowest 2 bits of both; rows begin at whole bytes.
    Mono10Packed,
    /// GigE Vision: two pixels in three bytes, the middle one holds the lowest 4 bits of both; rows begin at whole bytes.
    Mono12Packed,
    /// Three bytes.
    Rgb8,
    /// Three bytes, blue first.
    Bgr8,
    /// Four bytes; alpha is ignored.
    Rgba8,
    /// Four bytes, blue first; alpha is ignored.
    Bgra8,
    /// Three times little-endian 16 bits.
    Rgb16,
}

impl PixelFormat {
    /// Every format understood.
    pub const ALL: [PixelFormat; 14] = {
        use PixelFormat::*;
        [
            Mono8,
            Mono10,
            Mono12,
            Mono14,
            Mono16,
            Mono10p,
            Mono12p,
            Mono10Packed,
            Mono12Packed,
            Rgb8,
            Bgr8,
            Rgba8,
            Bgra8,
            Rgb16,
        ]
    };

    /// Bits of one pixel; not whole bytes where pixels are packed.
    pub fn bits_per_pixel(self) -> usize {
        use PixelFormat::*;
        match self {
            Mono8 => 8,
            Mono10 | Mono12 | Mono14 | Mono16 => 16,
            Mono10p => 10,
            Mono12p | Mono10Packed | Mono12Packed => 12,
            Rgb8 | Bgr8 => 24,
            Rgba8 | Bgra8 => 32,
            Rgb16 => 48,
        }
    }

    /// Bytes of a row of `width` pixels, without padding.
    pub fn row_bytes(self, width: u32) -> usize {
        (width as usize * self.bits_per_pixel()).div_ceil(8)
    }

    /// Bits of one sample that can carry light.
    pub fn bits(self) -> u32 {
        use PixelFormat::*;
        match self {
            Mono8 | Rgb8 | Bgr8 | Rgba8 | Bgra8 => 8,
            Mono10 | Mono10p | Mono10Packed => 10,
            Mono12 | Mono12p | Mono12Packed => 12,
            Mono14 => 14,
            Mono16 | Rgb16 => 16,
        }
    }

    /// Colour samples of a pixel: 1 for grey, 3 for colour; alpha is none.
    pub fn channels(self) -> usize {
        use PixelFormat::*;
        match self {
            Mono8 | Mono10 | Mono12 | Mono14 | Mono16 => 1,
            Mono10p | Mono12p | Mono10Packed | Mono12Packed => 1,
            Rgb8 | Bgr8 | Rgba8 | Bgra8 | Rgb16 => 3,
        }
    }

    /// The format of the same bits whose samples are whole bytes or whole 16 bits, red first, without alpha.
    pub fn unpacked(self) -> PixelFormat {
        use PixelFormat::*;
        match self {
            Mono10p | Mono10Packed => Mono10,
            Mono12p | Mono12Packed => Mono12,
            Rgb8 | Bgr8 | Rgba8 | Bgra8 => Rgb8,
            Mono8 | Mono10 | Mono12 | Mono14 | Mono16 | Rgb16 => self,
        }
    }

    /// Whether neighbouring pixels share bytes.
    pub fn is_packed(self) -> bool {
        !self.bits_per_pixel().is_multiple_of(8)
    }

    /// Bytes of a sample: 1 or 2; none where pixels are packed.
    pub fn sample_bytes(self) -> Option<usize> {
        match (self.is_packed(), self.bits()) {
            (true, _) => None,
            (false, 8) => Some(1),
            (false, _) => Some(2),
        }
    }

    /// The number that PFNC (or GigE Vision, for its packed formats) gives it.
    pub fn pfnc(self) -> u32 {
        use PixelFormat::*;
        match self {
            Mono8 => 0x0108_0001,
            Mono10 => 0x0110_0003,
            Mono12 => 0x0110_0005,
            Mono14 => 0x0110_0025,
            Mono16 => 0x0110_0007,
            Mono10p => 0x010A_0046,
            Mono12p => 0x010C_0047,
            Mono10Packed => 0x010C_0004,
            Mono12Packed => 0x010C_0006,
            Rgb8 => 0x0218_0014,
            Bgr8 => 0x0218_0015,
            Rgba8 => 0x0220_0016,
            Bgra8 => 0x0220_0017,
            Rgb16 => 0x0230_0033,
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
            Mono10p => "Mono10p",
            Mono12p => "Mono12p",
            Mono10Packed => "Mono10Packed",
            Mono12Packed => "Mono12Packed",
            Rgb8 => "RGB8",
            Bgr8 => "BGR8",
            Rgba8 => "RGBA8",
            Bgra8 => "BGRA8",
            Rgb16 => "RGB16",
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pfnc_s_numbers_say_the_bits_of_a_pixel_and_whether_it_has_colour() {
        for format in PixelFormat::ALL {
            let code = format.pfnc();
            assert_eq!(
                code >> 16 & 0xff,
                format.bits_per_pixel() as u32,
                "{format}"
            );
            let colour = if format.channels() == 3 { 2 } else { 1 };
            assert_eq!(code >> 24, colour, "{format}");
        }
    }
}
