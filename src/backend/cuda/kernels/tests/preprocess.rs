use std::mem::offset_of;

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    super::{
        element::{to_f16, to_i8, to_u8},
        layout::FrameParams,
    },
    F32, Random, model, noise, params,
    rig::{ORDERS, Rig},
    small_head, stored,
};
use crate::{
    decode::Bounds,
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    geometry::Letterbox,
    model::{ModelSpec, Stored},
    params::{MinSpan, Normalization, Params, Span},
    preprocess::{Scratch, Shown, letterbox, window},
};

/// No masks are made here.
const SMALL: Bounds = Bounds {
    max_candidates: 64,
    max_mask_words: 64,
    max_window_cells: 64,
};

/// What the CPU gives an engine.
fn expected(frame: &Frame, params: &Params, model: &ModelSpec) -> Vec<f32> {
    let size = (model.input_width, model.input_height);
    let geometry = Letterbox::new((frame.width(), frame.height()), size);
    let mut scratch = Scratch::default();
    let Shown {
        applied: window, ..
    } = window(frame, &params.normalization, &mut scratch).by(params.smoothed);
    let mut input = vec![f32::NAN; 3 * (size.0 * size.1) as usize];
    letterbox(frame, &window, &geometry, &mut input, &mut scratch);
    input
}

/// The window's two ends on the CPU and as the kernels left them with the frame's parameters, as bits.
fn windows(frame: &Frame, params: &Params, rig: &Rig) -> [[u64; 2]; 2] {
    let Shown {
        applied: window, ..
    } = window(frame, &params.normalization, &mut Scratch::default()).by(params.smoothed);
    let expected = [window.low, window.high].map(f64::to_bits);
    let upload = rig.upload.bytes();
    let got = [offset_of!(FrameParams, low), offset_of!(FrameParams, high)]
        .map(|at| u64::from_ne_bytes(*upload[at..].first_chunk().unwrap()));
    [expected, got]
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn any_normalization() -> impl Strategy<Value = Normalization> {
    let span = prop_oneof![
        (0.0..300.0).prop_map(MinSpan::Counts),
        (0.0..0.1).prop_map(MinSpan::OfFullRange)
    ];
    prop_oneof![
        Just(Normalization::FullRange),
        (-500.0..60_000.0, 0.001..9000.0).prop_map(|(low, width)| Normalization::Window {
            low,
            high: low + width
        }),
        (0.0..50.0, 50.1..=100.0, span).prop_map(|(low, high, min_span)| {
            Normalization::Percentiles {
                low,
                high,
                min_span,
            }
        }),
        Just(Normalization::Percentiles {
            low: 0.0,
            high: 100.0,
            min_span: MinSpan::Counts(0.0)
        }),
        // Past what f32 holds.
        prop::sample::select(vec![(-1e300, 1e300), (7.0, 7.0 + 1e-14)])
            .prop_map(|(low, high)| Normalization::Window { low, high }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_engine_s_input_is_the_cpu_s_bit_for_bit(
        format in prop::sample::select(PixelFormat::ALL.to_vec()),
        width in 1u32..90,
        height in 1u32..90,
        padding in 0u32..9,
        fewer_bits in 0u32..4,
        input in prop::sample::select(vec![(32, 32), (64, 32), (32, 96)]),
        normalization in any_normalization(),
        smoothed in prop::option::of((-10.0..900.0, 0.001..9000.0)),
        order in prop::sample::select(ORDERS.to_vec()),
        seed in 1u64..1 << 40,
    ) {
        let model = model(small_head(), input);
        let Some(mut rig) = Rig::new(&model, &F32, &SMALL) else { return Ok(()) };
        rig.order = order;
        let frame = noise(format, (width, height), padding, format.bits() - fewer_bits, &mut Random(seed));
        let params = Params {
            smoothed: smoothed.map(|(low, width)| Span { low, high: low + width }),
            ..params(normalization)
        };
        rig.before(&frame, &params);
        let got: Vec<f32> = rig.input.bytes().as_chunks().0.iter().map(|&v| f32::from_ne_bytes(v)).collect();
        prop_assert_eq!(bits(&got), bits(&expected(&frame, &params, &model)));
        let [expected, got] = windows(&frame, &params, &rig);
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn an_engine_gets_the_type_it_asks_for() {
    let model = model(small_head(), (64, 32));
    let percentiles = Normalization::Percentiles {
        low: 1.0,
        high: 99.0,
        min_span: MinSpan::Counts(0.0),
    };
    let frame = noise(PixelFormat::Mono12, (33, 45), 1, 0, &mut Random(7));
    let expected = expected(&frame, &params(percentiles), &model);
    let scale = 1.0 / 127.0;
    for (input, expected) in [
        (
            Stored::F16,
            expected
                .iter()
                .flat_map(|&v| to_f16(v).to_ne_bytes())
                .collect::<Vec<u8>>(),
        ),
        (Stored::U8, expected.iter().map(|&v| to_u8(v)).collect()),
        (
            Stored::I8 { scale },
            expected.iter().map(|&v| to_i8(v, scale) as u8).collect(),
        ),
    ] {
        let storage = stored(input, Stored::F32);
        let Some(mut rig) = Rig::new(&model, &storage, &SMALL) else {
            return;
        };
        rig.before(&frame, &params(percentiles));
        assert!(rig.input.bytes() == expected, "{input:?}");
    }
}

#[test]
fn a_lane_takes_frames_of_any_size_one_after_the_other() {
    let model = model(small_head(), (64, 64));
    let Some(mut rig) = Rig::new(&model, &F32, &SMALL) else {
        return;
    };
    let mut random = Random(3);
    for (size, normalization) in [
        ((500, 300), Normalization::FullRange),
        (
            (2, 3),
            Normalization::Percentiles {
                low: 0.0,
                high: 100.0,
                min_span: MinSpan::Counts(0.0),
            },
        ),
        (
            (64, 64),
            Normalization::Percentiles {
                low: 5.0,
                high: 95.0,
                min_span: MinSpan::OfFullRange(0.5),
            },
        ),
    ] {
        for format in PixelFormat::ALL {
            let frame = noise(format, size, 0, 0, &mut random);
            rig.before(&frame, &params(normalization));
            let values = rig.input.bytes().as_chunks().0;
            let got: Vec<f32> = values.iter().map(|&v| f32::from_ne_bytes(v)).collect();
            let expected = expected(&frame, &params(normalization), &model);
            assert!(bits(&got) == bits(&expected), "{format} {size:?}");
        }
    }
}

#[test]
fn a_span_as_narrow_as_the_least_is_stretched_and_a_narrower_one_is_not() {
    let model = model(small_head(), (32, 32));
    let Some(mut rig) = Rig::new(&model, &F32, &SMALL) else {
        return;
    };
    let layout = Layout {
        format: PixelFormat::Mono16,
        width: 2,
        height: 2,
        row_stride: 0,
        significant_bits: 12,
    };
    for (samples, span) in [
        ([100_u16, 101, 102, 103], 3.0),
        ([100, 101, 102, 103], 3.5),
        ([100, 100, 100, 100], 0.0),
        ([0, 0, 0, 4095], 0.0),
        ([5000, 5000, 5000, 5000], 0.0),
    ] {
        let data: Vec<u8> = samples.into_iter().flat_map(u16::to_le_bytes).collect();
        let limits = FrameLimits::default();
        let frame = Frame::new(layout, Bytes::from(data), FrameMetadata::default(), &limits);
        let frame = frame.unwrap();
        let normalization = Normalization::Percentiles {
            low: 0.0,
            high: 100.0,
            min_span: MinSpan::Counts(span),
        };
        rig.before(&frame, &params(normalization));
        let [expected, got] = windows(&frame, &params(normalization), &rig);
        assert_eq!(got, expected, "{samples:?} {span}");
    }
}

#[test]
fn percentiles_are_right_to_the_last_bit() {
    let model = model(small_head(), (32, 32));
    let Some(mut rig) = Rig::new(&model, &F32, &SMALL) else {
        return;
    };
    let mut random = Random(17);
    // Few samples: far from one to the next, so that rounding shows.
    let frame = noise(PixelFormat::Mono16, (2, 3), 1, 0, &mut random);
    for _ in 0..100 {
        let [low, high] = [0.0, 50.0].map(|from| from + f64::from(random.between(0.0, 50.0)));
        let normalization = Normalization::Percentiles {
            low,
            high,
            min_span: MinSpan::Counts(0.0),
        };
        rig.before(&frame, &params(normalization));
        let [expected, got] = windows(&frame, &params(normalization), &rig);
        assert_eq!(got, expected, "{low} {high}");
    }
}
