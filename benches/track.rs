//! Identities of one frame's cells, on one thread: in a usual frame, and in one after the stage jumped.
//!
//! Round cells on a jittered grid, nearly touching, of which each moves a little; 12 px radius, as nuclei are.

use std::hint::black_box;

use cellsegd::{
    geometry::BoxF, mask::Mask, params::Tracking, segmentation::Instance, track::Tracker,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const RADIUS: f64 = 12.0;
const PITCH: f64 = 26.0;

/// Cells of a square frame with this many columns, all moved by `jump` and each by up to 3 pixels.
fn cells(columns: usize, n_cells: usize, jump: f64, random: &mut Random) -> Vec<Instance> {
    let place =
        |i: usize, random: &mut Random| 200.0 + i as f64 * PITCH + jump + 6.0 * random.next() - 3.0;
    (0..n_cells)
        .map(|i| disc(place(i % columns, random), place(i / columns, random)))
        .collect()
}

fn disc(x: f64, y: f64) -> Instance {
    let side = 2 * RADIUS as u32 + 2;
    let (left, top) = ((x - RADIUS) as u32, (y - RADIUS) as u32);
    let mut mask = Mask::empty(left, top, side, side);
    for row in 0..side {
        for column in 0..side {
            let (dx, dy) = (
                f64::from(left + column) + 0.5 - x,
                f64::from(top + row) + 0.5 - y,
            );
            if dx * dx + dy * dy <= RADIUS * RADIUS {
                mask.set(column, row);
            }
        }
    }
    Instance {
        class_index: 0,
        score: 0.9,
        detected_box: BoxF {
            x0: 0.0,
            y0: 0.0,
            x1: 1.0,
            y1: 1.0,
        },
        area: mask.area(),
        mask: mask.trim(),
        touches_border: false,
        measures: None,
        track: None,
    }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    /// 0..1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn track(criterion: &mut Criterion) {
    for (n_cells, columns) in [(300, 18), (5000, 71)] {
        let side = (columns as f64 * PITCH) as u32 + 600;
        let size = (side, side);
        let mut group = criterion.benchmark_group(format!("{n_cells} cells"));
        for (name, jump) in [("usual", 1.0), ("after a jump", 120.0)] {
            let mut random = Random(7);
            let first = cells(columns, n_cells, 0.0, &mut random);
            let second = cells(columns, n_cells, jump, &mut random);
            group.bench_function(name, |bench| {
                bench.iter_batched(
                    || {
                        let mut tracker = Tracker::new(Tracking::default());
                        tracker.follow(size, None, &mut first.clone());
                        (tracker, second.clone())
                    },
                    |(mut tracker, mut cells)| {
                        tracker.follow(size, None, black_box(&mut cells));
                        (tracker, cells)
                    },
                    BatchSize::SmallInput,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, track);
criterion_main!(benches);
