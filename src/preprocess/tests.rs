use bytes::Bytes;

use super::*;
use crate::{
    frame::{FrameLimits, FrameMetadata, Layout, PixelFormat},
    geometry::Letterbox,
    params::MinSpan,
    segmentation::NoticeCode,
};

fn frame(format: PixelFormat, width: u32, significant_bits: u32, data: Vec<u8>) -> Frame {
    let height = data.len() / format.row_bytes(width);
    let layout = Layout {
        format,
        width,
        height: height as u32,
        row_stride: 0,
        significant_bits,
    };
    let limits = FrameLimits::default();
    Frame::new(layout, Bytes::from(data), FrameMetadata::default(), &limits).unwrap()
}

fn mono16(width: u32, significant_bits: u32, samples: &[u16]) -> Frame {
    let data = samples.iter().flat_map(|v| v.to_le_bytes()).collect();
    frame(PixelFormat::Mono16, width, significant_bits, data)
}

fn percentiles(low: f64, high: f64, min_span: f64) -> Normalization {
    Normalization::Percentiles {
        low,
        high,
        min_span: MinSpan::Counts(min_span),
    }
}

fn codes(notices: &[Notice]) -> Vec<NoticeCode> {
    notices.iter().map(|notice| notice.code).collect()
}

fn applied(frame: &Frame, normalization: Normalization) -> (f64, f64) {
    let Shown {
        applied: window, ..
    } = window(frame, &normalization, &mut Scratch::default());
    (window.low, window.high)
}

fn full_range(frame: &Frame) -> AppliedNormalization {
    window(frame, &Normalization::FullRange, &mut Scratch::default()).applied
}

fn input(frame: &Frame, window: &AppliedNormalization, size: (u32, u32)) -> Vec<f32> {
    let geometry = Letterbox::new((frame.width(), frame.height()), size);
    let mut input = vec![f32::NAN; 3 * (size.0 * size.1) as usize];
    letterbox(
        frame,
        window,
        &geometry,
        &mut input,
        &mut Scratch::default(),
    );
    input
}

#[test]
fn percentiles_are_those_of_numpy() {
    // numpy.percentile((numpy.arange(1000) * 7919 % 65521).astype("u2"), q), numpy 2.
    let samples: Vec<u16> = (0..1000_u32).map(|i| (i * 7919 % 65521) as u16).collect();
    let frame = mono16(40, 0, &samples);
    for (low, high, expected) in NUMPY {
        assert_eq!(applied(&frame, percentiles(low, high, 0.0)), expected);
    }
}

const NUMPY: [(f64, f64, (f64, f64)); 5] = [
    (0.5, 99.5, (391.785, 65215.215)),
    (0.0, 100.0, (0.0, 65462.0)),
    (12.34, 33.3, (8092.2132, 21801.033999999996)),
    (99.0, 99.9, (64808.02, 65419.043000000005)),
    (2.0, 98.0, (1308.82, 64154.04)),
];

#[test]
fn percentiles_leave_out_padding_and_alpha() {
    let rgba = [[10, 20, 30, 255], [40, 50, 60, 255]].concat();
    let rgba = frame(PixelFormat::Rgba8, 2, 0, rgba);
    assert_eq!(applied(&rgba, percentiles(0.0, 100.0, 0.0)), (10.0, 60.0));

    let layout = Layout {
        format: PixelFormat::Mono8,
        width: 2,
        height: 2,
        row_stride: 3,
        significant_bits: 0,
    };
    let data = Bytes::from_static(&[5, 6, 200, 7, 8, 200]);
    let padded = Frame::new(
        layout,
        data,
        FrameMetadata::default(),
        &FrameLimits::default(),
    );
    assert_eq!(
        applied(&padded.unwrap(), percentiles(0.0, 100.0, 0.0)),
        (5.0, 8.0)
    );
}

#[test]
fn a_scratch_serves_frames_of_any_size_and_range() {
    let mut scratch = Scratch::default();
    for samples in [
        [9_u16, 60_000, 7, 8],
        [500, 501, 502, 503],
        [0, 65_535, 3, 4],
    ] {
        let frame = mono16(2, 0, &samples);
        let Shown {
            applied: window, ..
        } = window(&frame, &percentiles(0.0, 100.0, 0.0), &mut scratch);
        let (least, most) = (samples.iter().min(), samples.iter().max());
        assert_eq!(Some(window.low), least.map(|&v| f64::from(v)));
        assert_eq!(Some(window.high), most.map(|&v| f64::from(v)));
    }
}

#[test]
fn a_narrow_span_is_not_stretched() {
    let frame = mono16(2, 12, &[100, 101, 102, 103]);
    for normalization in [
        percentiles(0.0, 100.0, 3.5),
        Normalization::Percentiles {
            low: 0.0,
            high: 100.0,
            min_span: MinSpan::OfFullRange(0.001),
        },
    ] {
        let Shown {
            applied: window,
            notices,
            ..
        } = window(&frame, &normalization, &mut Scratch::default());
        assert_eq!(window.policy, AppliedPolicy::LowContrast);
        assert_eq!((window.low, window.high), (101.5 - 2047.5, 101.5 + 2047.5));
        assert_eq!(codes(&notices), [NoticeCode::LowContrast]);
        assert!(notices[0].message.contains("at 100 and 103 counts"));
    }
    assert_eq!(
        applied(&frame, percentiles(0.0, 100.0, 3.0)),
        (100.0, 103.0)
    );
}

#[test]
fn a_flat_frame_is_finite_whatever_the_policy() {
    let frame = mono16(4, 0, &[700; 16]);
    let flat = AppliedNormalization {
        low: 700.0,
        high: 700.0,
        policy: AppliedPolicy::Window,
    };
    for window in [
        window(
            &frame,
            &percentiles(0.5, 99.5, 0.0),
            &mut Scratch::default(),
        )
        .applied,
        flat,
        AppliedNormalization {
            low: -1e300,
            high: 1e300,
            ..flat
        },
    ] {
        let input = input(&frame, &window, (32, 32));
        assert!(input.iter().all(|v| (0.0..=1.0).contains(v)), "{window:?}");
    }
}

#[test]
fn samples_above_the_significant_bits_are_clipped_and_noted() {
    let frame = mono16(4, 12, &[0, 4095, 4096, 65_535]);
    let everything = percentiles(0.0, 100.0, 0.0);
    for normalization in [Normalization::FullRange, everything] {
        let Shown {
            applied: window,
            notices,
            ..
        } = window(&frame, &normalization, &mut Scratch::default());
        assert_eq!((window.low, window.high), (0.0, 4095.0));
        assert_eq!(
            codes(&notices),
            [NoticeCode::BitsClipped, NoticeCode::Saturated]
        );
        assert!(
            notices[0]
                .message
                .starts_with("2 of 4 samples are above 4095")
        );
        assert!(notices[1].message.starts_with("3 of 4 samples (75.0 %)"));
    }
}

#[test]
fn saturation_is_noted_past_one_percent() {
    let mut samples = vec![9_u16; 200];
    for (n_at_most, noted) in [(2, false), (3, true)] {
        samples[..n_at_most].fill(65_535);
        let normalization = Normalization::Window {
            low: 0.0,
            high: 10.0,
        };
        let frame = mono16(20, 0, &samples);
        let Shown { notices, .. } = window(&frame, &normalization, &mut Scratch::default());
        assert_eq!(!notices.is_empty(), noted);
    }
}

#[test]
fn an_input_of_the_frames_size_holds_the_normalised_counts() {
    let samples: Vec<u16> = (0..1024).map(|i| i * 64).collect();
    let frame = mono16(32, 0, &samples);
    let window = AppliedNormalization {
        low: 6400.0,
        high: 32_000.0,
        policy: AppliedPolicy::Window,
    };
    let input = input(&frame, &window, (32, 32));
    for (i, &sample) in samples.iter().enumerate() {
        let expected = ((f32::from(sample) - 6400.0) / 25_600.0).clamp(0.0, 1.0);
        assert!((input[i] - expected).abs() < 1e-6);
        assert_eq!([input[i], input[i]], [input[1024 + i], input[2048 + i]]);
    }
}

#[test]
fn every_format_gives_its_channels_in_order() {
    use PixelFormat::*;
    let cases: [(PixelFormat, &[u8], [f32; 3]); 7] = [
        (Mono8, &[51], [0.2; 3]),
        (Mono12, &[0xff, 0x0f], [1.0; 3]),
        (Rgb8, &[51, 102, 153], [0.2, 0.4, 0.6]),
        (Bgr8, &[153, 102, 51], [0.2, 0.4, 0.6]),
        (Rgba8, &[51, 102, 153, 9], [0.2, 0.4, 0.6]),
        (Bgra8, &[153, 102, 51, 9], [0.2, 0.4, 0.6]),
        (
            Rgb16,
            &[0x33, 0x33, 0x66, 0x66, 0x99, 0x99],
            [0.2, 0.4, 0.6],
        ),
    ];
    for (format, pixel, expected) in cases {
        let frame = frame(format, 3, 0, pixel.repeat(9));
        let input = input(&frame, &full_range(&frame), (32, 32));
        for (plane, expected) in input.chunks(1024).zip(expected) {
            let worst = plane
                .iter()
                .map(|v| (v - expected).abs())
                .fold(0.0, f32::max);
            assert!(worst < 1e-6, "{format}: {worst}");
        }
    }
}

#[test]
fn what_the_frame_does_not_cover_is_grey() {
    let frame = mono16(8, 0, &[65_535; 32]);
    let input = input(&frame, &full_range(&frame), (32, 32));
    for (i, &value) in input.iter().enumerate() {
        let y = i % 1024 / 32;
        let expected = if (8..24).contains(&y) { 1.0 } else { FILL };
        assert_eq!(value, expected, "row {y}");
    }
}

#[test]
fn a_scale_far_from_the_trained_one_is_noted() {
    let geometry = Letterbox::new((1280, 1280), (640, 640));
    for (pixel_size_um, text) in [
        (
            1.0,
            Some(
                "a pixel covers 2.000 um; it was trained at 0.87 um: cells look 2.3 times too small",
            ),
        ),
        (0.2, Some("cells look 2.2 times too large")),
        (0.4, None),
        (0.0, None),
        (f64::NAN, None),
    ] {
        let notice = scale_notice(pixel_size_um, &geometry, 0.87);
        assert_eq!(notice.is_some(), text.is_some(), "{pixel_size_um}");
        if let (Some(notice), Some(text)) = (notice, text) {
            assert!(notice.message.contains(text), "{}", notice.message);
        }
    }
}

/// Written by `tests/data/make_letterbox.py`, which has the same frame.
#[test]
fn the_input_is_that_of_opencv() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/letterbox");
    let window = AppliedNormalization {
        low: 1500.25,
        high: 61_000.5,
        policy: AppliedPolicy::Window,
    };
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(!files.is_empty());
    for file in files {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let numbers: Vec<u32> = name.split(['x', '_']).map(|n| n.parse().unwrap()).collect();
        let (width, height) = (u64::from(numbers[0]), u64::from(numbers[1]));
        let samples: Vec<u16> = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x * x * 31 + y * y * 17 + x * y * 7) as u16))
            .collect();
        let frame = mono16(numbers[0], 0, &samples);
        let input = input(&frame, &window, (numbers[2], numbers[3]));
        let bytes = std::fs::read(&path).unwrap();
        let expected = bytes.as_chunks().0.iter().map(|&v| f32::from_le_bytes(v));
        let worst = input.iter().zip(expected).map(|(a, b)| (a - b).abs());
        let worst = worst.fold(0.0, f32::max);
        assert!(worst < 1e-5, "{name}: differs by {worst}");
    }
}

#[test]
fn packed_pixels_become_what_the_same_counts_in_16_bits_become() {
    use PixelFormat::*;
    // 13 x 8 pixels: rows of odd widths, which end within a group.
    let (width, height) = (13, 8);
    for (packed, unpacked) in [
        (Mono10p, Mono10),
        (Mono12p, Mono12),
        (Mono10Packed, Mono10),
        (Mono12Packed, Mono12),
    ] {
        let n_bytes = packed.row_bytes(width) * height;
        let bytes = (0..n_bytes).map(|i| (i * i * 31 + i * 7) as u8).collect();
        let packed = frame(packed, width, 0, bytes);
        let mut samples = Vec::new();
        let data = (0..height as u32).flat_map(|y| {
            let row = packed.samples(y, &mut samples).iter();
            row.flat_map(|sample| sample.to_le_bytes())
                .collect::<Vec<u8>>()
        });
        let unpacked = frame(unpacked, width, 0, data.collect());
        let [a, b] = [&packed, &unpacked].map(|frame| {
            let shown = window(frame, &percentiles(1.0, 99.0, 0.0), &mut Scratch::default());
            (
                shown.applied,
                shown.own_span,
                input(frame, &shown.applied, (32, 64)),
            )
        });
        assert_eq!(a, b, "{}", packed.format());
        assert!(a.1.is_some());
    }
}
