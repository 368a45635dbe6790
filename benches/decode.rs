//! Outputs of a network to masks: decoding, settling and run lengths, on one thread.
//!
//! The outputs are made here: round cells on a jittered grid, each detected by a cluster of anchors, with masks that the
//! prototypes and coefficients really give. No model is needed.

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use cellsegd::{
    decode::{Bounds, Decoded, Outputs, Scratch, decode, settle},
    geometry::Letterbox,
    mask::encode_coco,
    model::{Head, HeadShape},
    params::Thresholds,
    segmentation::{
        AppliedNormalization, AppliedPolicy, RawSegmentation, Segmentation, StageTimes,
    },
};
use criterion::{Criterion, criterion_group, criterion_main};

const SHAPE: HeadShape = HeadShape {
    classes: 2,
    coefficients: 32,
    anchors: 8400,
    prototype_width: 160,
    prototype_height: 160,
};

/// A network's outputs with `n_cells` cells on a 640 x 640 input, cells nearly touching.
struct Scene {
    detections: Vec<f32>,
    prototypes: Vec<f32>,
}

impl Scene {
    fn new(n_cells: usize) -> Self {
        let mut random = Random(1);
        let side = (n_cells as f32).sqrt().ceil() as usize;
        let pitch = 640.0 / side as f32;
        let radius = pitch * 0.48;

        // Every prototype but the last holds one in 31 cells as a smooth bump; the last lowers all, so that bumps have an edge.
        // Coefficients pick a cell's own prototype; the box keeps out the others that live in it.
        let n_bumps = SHAPE.coefficients - 1;
        let plane = SHAPE.prototype_width * SHAPE.prototype_height;
        let mut prototypes = vec![0.0; SHAPE.coefficients * plane];
        prototypes[n_bumps * plane..].fill(-1.0);
        let mut detections = vec![0.0; (4 + SHAPE.classes + SHAPE.coefficients) * SHAPE.anchors];
        let per_cell = (SHAPE.anchors / n_cells).min(6);
        for cell in 0..n_cells {
            let centre = |i: usize, jitter: f32| (i as f32 + 0.5 + jitter * 0.1) * pitch;
            let (cx, cy) = (
                centre(cell % side, random.next()),
                centre(cell / side, random.next()),
            );
            let bump = &mut prototypes[cell % n_bumps * plane..][..plane];
            for (i, value) in bump.iter_mut().enumerate() {
                let (x, y) = (i % SHAPE.prototype_width, i / SHAPE.prototype_width);
                let (dx, dy) = (x as f32 * 4.0 + 2.0 - cx, y as f32 * 4.0 + 2.0 - cy);
                let wobble = 1.0 + 0.2 * (3.0 * dy.atan2(dx)).sin();
                *value += 2.0 / (1.0 + (dx * dx + dy * dy) * wobble / (radius * radius));
            }
            for copy in 0..per_cell {
                let anchor = (cell * per_cell + copy) * 7919 % SHAPE.anchors;
                let mut put =
                    |row: usize, value: f32| detections[row * SHAPE.anchors + anchor] = value;
                put(0, cx + random.next());
                put(1, cy + random.next());
                put(2, 2.1 * radius + random.next());
                put(3, 2.1 * radius + random.next());
                put(4 + cell % SHAPE.classes, 0.6 + 0.35 * random.next().abs());
                put(4 + SHAPE.classes + cell % n_bumps, 1.0);
                put(4 + SHAPE.classes + n_bumps, 1.0);
            }
        }
        Scene {
            detections,
            prototypes,
        }
    }

    fn decode(&self, side: u32, scratch: &mut Scratch) -> Decoded {
        let outputs = Outputs {
            detections: &self.detections,
            prototypes: &self.prototypes,
        };
        let letterbox = Letterbox::new((side, side), (640, 640));
        decode(
            &Head::YoloSeg(SHAPE),
            outputs,
            &letterbox,
            &thresholds(),
            &Bounds::default(),
            scratch,
        )
    }
}

fn thresholds() -> Thresholds {
    Thresholds {
        confidence: 0.35,
        iou: 0.5,
        class_agnostic: true,
        max_cells: 5000,
        min_area_px: 0,
        min_area_um2: None,
        max_area_um2: None,
        classes: Vec::new(),
        class_confidence: BTreeMap::new(),
        border: Default::default(),
    }
}

fn settled(decoded: Decoded, side: u32) -> Segmentation {
    let raw = RawSegmentation {
        width: side,
        height: side,
        instances: decoded.instances,
        normalization: AppliedNormalization {
            low: 0.0,
            high: 65535.0,
            policy: AppliedPolicy::FullRange,
        },
        truncated: decoded.truncated,
        notices: Vec::new(),
        times: StageTimes::default(),
        own_span: None,
        tiles: 1,
    };
    settle(&raw, &thresholds(), None)
}

fn encoded(segmentation: &Segmentation) -> usize {
    let encode = |mask| encode_coco(mask, segmentation.width, segmentation.height).len();
    segmentation
        .instances
        .iter()
        .map(|cell| encode(&cell.mask))
        .sum()
}

/// Numbers in -1..1, the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn benches(criterion: &mut Criterion) {
    for (n_cells, side) in [(105, 640), (300, 2048), (1000, 2048)] {
        let scene = Scene::new(n_cells);
        let mut scratch = Scratch::default();
        let decoded = scene.decode(side, &mut scratch);
        assert_eq!(
            decoded.instances.len(),
            n_cells,
            "the scene is what it says"
        );
        let cells = settled(decoded.clone(), side);
        assert_eq!(cells.instances.len(), n_cells, "the scene is what it says");

        let mut group = criterion.benchmark_group(format!("{n_cells} cells, {side}x{side}"));
        group.measurement_time(Duration::from_secs(3));
        group.bench_function("decode", |b| b.iter(|| scene.decode(side, &mut scratch)));
        group.bench_function("settle", |b| b.iter(|| settled(decoded.clone(), side)));
        group.bench_function("run lengths", |b| b.iter(|| encoded(black_box(&cells))));
        group.bench_function("all", |b| {
            b.iter(|| encoded(&settled(scene.decode(side, &mut scratch), side)));
        });
    }
}

criterion_group!(decoding, benches);
criterion_main!(decoding);
