use super::{
    super::element::{from_f16, to_f16, to_i8, to_u8},
    rig::kernels,
};

/// What a binary16 is worth, by its definition.
fn worth(half: u16) -> f64 {
    let (exponent, fraction) = (i32::from(half >> 10 & 31), f64::from(half & 0x3ff));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if half & 0x8000 == 0 { size } else { -size }
}

#[test]
fn every_half_has_its_value() {
    let device = kernels().map(|kernels| {
        kernels.function::<unsafe extern "C" fn(u16) -> f32>("cellsegd_host_from_f16")
    });
    for half in 0..=u16::MAX {
        let ours = from_f16(half);
        let expected = worth(half);
        assert!(
            f64::from(ours) == expected || ours.is_nan() && expected.is_nan(),
            "{half:#x}: {ours}"
        );
        assert_eq!(ours.is_sign_negative(), half & 0x8000 != 0, "{half:#x}");
        if let Some(device) = device {
            // SAFETY: a function of a number.
            let theirs = unsafe { device(half) };
            assert_eq!(theirs.to_bits(), ours.to_bits(), "{half:#x}");
        }
    }
}

#[test]
fn every_float_goes_to_the_nearest_half_and_ties_to_the_even_one() {
    let device = kernels().map(|kernels| {
        kernels.function::<unsafe extern "C" fn(f32) -> u16>("cellsegd_host_to_f16")
    });
    let check = |value: f32, expected: u16| {
        assert_eq!(to_f16(value), expected, "{value:e}");
        if let Some(device) = device {
            // SAFETY: a function of a number.
            let theirs = unsafe { device(value) };
            assert_eq!(theirs, expected, "{value:e} on the device");
        }
    };
    // Between two neighbours: a tie, and the floats beside it. The next after the largest is infinite, as far as rounding goes.
    for half in 0..0x7c00_u16 {
        for sign in [0, 0x8000] {
            let half = half | sign;
            let next = half + 1;
            let above = match half & 0x7fff {
                0x7bff => worth(half).signum() * 65_536.0,
                _ => worth(next),
            };
            check(worth(half) as f32, half);
            let tie = ((worth(half) + above) / 2.0) as f32;
            check(tie, if half & 1 == 0 { half } else { next });
            check(f32::from_bits(tie.to_bits() - 1), half);
            check(f32::from_bits(tie.to_bits() + 1), next);
        }
    }
    check(f32::INFINITY, 0x7c00);
    check(f32::NEG_INFINITY, 0xfc00);
    check(f32::MAX, 0x7c00);
    check(f32::from_bits(1), 0);
    assert!(from_f16(to_f16(f32::NAN)).is_nan());
    // A quiet one whose upper bits are zero must not become infinite.
    check(f32::from_bits(0x7f80_0001), 0x7e00);
}

#[test]
fn bytes_are_rounded_and_clipped_as_promised() {
    for (value, expected) in [
        (0.0, 0),
        (0.4999 / 255.0, 0),
        (0.5 / 255.0, 1),
        (114.0 / 255.0, 114),
        (254.4 / 255.0, 254),
        (1.0, 255),
    ] {
        assert_eq!(to_u8(value), expected, "{value}");
    }
    let steps = [
        (0.0, 0),
        (0.5, 0),
        (1.5, 2),
        (2.5, 2),
        (2.6, 3),
        (-0.5, 0),
        (-1.5, -2),
        (-2.4, -2),
        (126.5, 126),
        (126.6, 127),
        (500.0, 127),
        (-127.5, -128),
        (-128.5, -128),
        (-500.0, -128),
        (f32::INFINITY, 127),
        (f32::NAN, -128),
    ];
    for (value, expected) in steps {
        assert_eq!(to_i8(value * 0.25, 0.25), expected, "{value}");
    }
    let Some(kernels) = kernels() else { return };
    let device_u8: unsafe extern "C" fn(f32) -> u8 = kernels.function("cellsegd_host_to_u8");
    let device_i8: unsafe extern "C" fn(f32, f32) -> i8 = kernels.function("cellsegd_host_to_i8");
    for i in 0..=100_000 {
        let value = i as f32 / 100_000.0;
        // SAFETY: a function of a number.
        assert_eq!(unsafe { device_u8(value) }, to_u8(value), "{value}");
    }
    for (value, _) in steps {
        // SAFETY: a function of two numbers.
        let theirs = unsafe { device_i8(value * 0.25, 0.25) };
        assert_eq!(theirs, to_i8(value * 0.25, 0.25), "{value}");
    }
}
