//! Frame to network input: `cargo bench --bench preprocess`.

use std::hint::black_box;

use bytes::Bytes;
use cellsegd::{
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    geometry::Letterbox,
    params::{MinSpan, Normalization},
    preprocess::{Scratch, Shown, letterbox, window},
};
use criterion::{Criterion, criterion_group, criterion_main};

/// A dim frame with noise, as a camera gives it: 16-bit samples from about 4,000 to 20,000.
fn frame(format: PixelFormat, width: u32, height: u32) -> Frame {
    let n_bytes = height as usize * format.row_bytes(width);
    let mut seed = 1_u32;
    let data: Vec<u8> = (0..n_bytes)
        .map(|i| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let random = (seed >> 24) as u8;
            let high_byte = format.sample_bytes() == Some(2) && i % 2 == 1;
            if high_byte { 16 + random / 4 } else { random }
        })
        .collect();
    let layout = Layout {
        format,
        width,
        height,
        row_stride: 0,
        significant_bits: 0,
    };
    let limits = FrameLimits::default();
    Frame::new(layout, Bytes::from(data), FrameMetadata::default(), &limits)
        .expect("the bytes fit the layout")
}

fn preprocess(criterion: &mut Criterion) {
    let percentiles = Normalization::Percentiles {
        low: 0.5,
        high: 99.5,
        min_span: MinSpan::Counts(0.0),
    };
    let mut scratch = Scratch::default();
    let mut input = vec![0.0; 3 * 640 * 640];
    for (format, width, height) in [
        (PixelFormat::Mono16, 2048, 2048),
        (PixelFormat::Mono8, 2048, 2048),
        (PixelFormat::Mono8, 640, 640),
        (PixelFormat::Rgb8, 1024, 1024),
    ] {
        let frame = frame(format, width, height);
        let name = format!("{width}x{height} {format}");
        let mut group = criterion.benchmark_group(name);
        for (name, normalization) in [
            ("window: full range", Normalization::FullRange),
            ("window: percentiles", percentiles),
        ] {
            group.bench_function(name, |bench| {
                bench.iter(|| window(black_box(&frame), &normalization, &mut scratch));
            });
        }
        let Shown { applied, .. } = window(&frame, &percentiles, &mut scratch);
        let geometry = Letterbox::new((width, height), (640, 640));
        group.bench_function("letterbox to 640x640", |bench| {
            bench.iter(|| {
                letterbox(
                    black_box(&frame),
                    &applied,
                    &geometry,
                    &mut input,
                    &mut scratch,
                )
            });
        });
        group.finish();
    }
}

criterion_group!(benches, preprocess);
criterion_main!(benches);
