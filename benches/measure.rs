//! Measurements of 1,000 cells on 2048 x 2048, 16 bit, on one thread: `cargo bench --bench measure`.

use std::{f64::consts::TAU, hint::black_box, time::Duration};

use bytes::Bytes;
use cellsegd::{
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    geometry::BoxF,
    mask::Mask,
    measure::measure,
    params::{Distance, Measurements},
    segmentation::Instance,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const SIDE: u32 = 2048;

/// Lobed cells of about 40 x 40 pixels and 1,250 of area, on a jittered grid: some 30 % confluent.
fn cells(n_cells: u32) -> Vec<Instance> {
    let per_row = f64::from(n_cells).sqrt().ceil();
    let pitch = f64::from(SIDE) / per_row;
    let mut random = random();
    let cell = |i: u32| {
        let (column, row) = (f64::from(i) % per_row, (f64::from(i) / per_row).floor());
        let mut jitter = || f64::from(random() >> 24) / 256.0 * 0.2 * pitch;
        let (cx, cy) = (
            (column + 0.4) * pitch + jitter(),
            (row + 0.4) * pitch + jitter(),
        );
        let turn = jitter();
        let radius = |angle: f64| 0.31 * pitch * (1.0 + 0.15 * (3.0 * angle + turn).sin());
        let reach = (0.37 * pitch).ceil();
        let (x0, y0) = ((cx - reach).max(0.0) as u32, (cy - reach).max(0.0) as u32);
        let size = 2 * reach as u32;
        let mut mask = Mask::empty(x0, y0, size.min(SIDE - x0), size.min(SIDE - y0));
        for y in 0..mask.height() {
            for x in 0..mask.width() {
                let (dx, dy) = (f64::from(x0 + x) + 0.5 - cx, f64::from(y0 + y) + 0.5 - cy);
                if dx.hypot(dy) < radius((dy.atan2(dx) + TAU) % TAU) {
                    mask.set(x, y);
                }
            }
        }
        let mask = mask.largest_piece();
        Instance {
            class_index: 0,
            score: 0.9,
            detected_box: BoxF::default(),
            area: mask.area(),
            touches_border: false,
            mask,
            measures: None,
            track: None,
        }
    };
    (0..n_cells).map(cell).collect()
}

fn frame(format: PixelFormat) -> Frame {
    let mut random = random();
    let n_bytes = format.row_bytes(SIDE) * SIDE as usize;
    let data: Vec<u8> = (0..n_bytes).map(|_| (random() >> 24) as u8).collect();
    let layout = Layout {
        format,
        width: SIDE,
        height: SIDE,
        row_stride: 0,
        significant_bits: 0,
    };
    Frame::new(
        layout,
        Bytes::from(data),
        FrameMetadata::default(),
        &FrameLimits::default(),
    )
    .expect("the bytes fit the layout")
}

fn random() -> impl FnMut() -> u32 {
    let mut state = 1_u32;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state
    }
}

fn measurements(criterion: &mut Criterion) {
    let none = Measurements::default();
    let all = Measurements {
        neighbour_radius: Some(Distance::Px(100.0)),
        ..Measurements::ALL
    };
    let mono16 = frame(PixelFormat::Mono16);
    let mut group = criterion.benchmark_group("2048x2048 Mono16");
    group
        .measurement_time(Duration::from_secs(3))
        .sample_size(30);
    for (name, n_cells, wishes) in [
        (
            "shape",
            1000,
            Measurements {
                shape: true,
                ..none
            },
        ),
        ("hull", 1000, Measurements { hull: true, ..none }),
        (
            "intensity",
            1000,
            Measurements {
                intensity: true,
                ..none
            },
        ),
        (
            "background",
            1000,
            Measurements {
                background: true,
                ..none
            },
        ),
        (
            "neighbours",
            1000,
            Measurements {
                neighbours: true,
                neighbour_radius: all.neighbour_radius,
                ..none
            },
        ),
        ("all", 1000, all),
        ("all", 5000, all),
    ] {
        let cells = cells(n_cells);
        group.bench_function(format!("{name}, {n_cells} cells"), |bench| {
            bench.iter_batched_ref(
                || cells.clone(),
                |cells| measure(Some(black_box(&mono16)), cells, &wishes, None),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, measurements);
criterion_main!(benches);
