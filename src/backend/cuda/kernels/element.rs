//! Numbers of an engine's tensors: the meaning of the conversions in `element.cuh`, bit for bit.

/// IEEE 754 binary16 to binary32: exact. A power of two is an exact factor, for subnormals too.
pub(super) fn from_f16(half: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits((127 + 112) << 23);
    let size = u32::from(half & 0x7fff) << 13;
    let bits = match half & 0x7c00 {
        // All exponent bits set: infinite or no number.
        0x7c00 => size | 0x7f80_0000,
        _ => (f32::from_bits(size) * TWO_TO_112).to_bits(),
    };
    f32::from_bits(bits | u32::from(half & 0x8000) << 16)
}

/// Rounded to the nearest, a tie to the even one.
pub(super) fn to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let (sign, size) = ((bits >> 16 & 0x8000) as u16, bits & 0x7fff_ffff);
    if size > 0x7f80_0000 {
        return sign | 0x7e00 | (size >> 13 & 0x3ff) as u16;
    }
    // From 65,520 on the nearest is infinite; to 2^-25 it is zero.
    if size >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    if size <= 0x3300_0000 {
        return sign;
    }
    let (digits, shift) = match size < 0x3880_0000 {
        true => (size & 0x7f_ffff | 0x80_0000, 126 - (size >> 23)),
        false => (size - 0x3800_0000, 13),
    };
    let (half, rest, tie) = (
        digits >> shift,
        digits & ((1 << shift) - 1),
        1 << (shift - 1),
    );
    let up = rest > tie || (rest == tie && half & 1 == 1);
    // A carry out of the fraction raises the exponent, as it should.
    sign | (half + u32::from(up)) as u16
}

/// 0 to 1 as 0 to 255, rounded half up.
pub(super) fn to_u8(value: f32) -> u8 {
    (value * 255.0 + 0.5) as u8
}

/// In steps of `scale`, rounded half to even, clipped; what is no number is the least.
pub(super) fn to_i8(value: f32, scale: f32) -> i8 {
    let steps = value / scale;
    match steps.is_nan() {
        true => i8::MIN,
        false => steps.round_ties_even().clamp(-128.0, 127.0) as i8,
    }
}
