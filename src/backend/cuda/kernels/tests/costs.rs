//! What the kernels do for a frame, counted: the table in docs/performance.md.
//! `cargo nextest run --lib the_work_of_a_frame --no-capture` prints it.

use super::{
    F32, Random, model, noise, params,
    rig::{Rig, header},
};
use crate::{
    decode::Bounds,
    frame::PixelFormat,
    model::{Head, HeadShape},
    params::{MinSpan, Normalization},
};

const SHAPE: HeadShape = HeadShape {
    classes: 2,
    coefficients: 32,
    anchors: 8400,
    prototype_width: 160,
    prototype_height: 160,
};
const SIDE_IN: usize = 640;
/// Anchors that find the same cell.
const PER_CELL: usize = 6;

/// Bytes that must come from or go to memory at least once, and operations: of one kernel on one frame.
struct Cost {
    kernel: &'static str,
    bytes: u64,
    operations: u64,
}

/// Cells on a grid that fill most of the input, each found by some anchors; half of each box is the cell's.
fn outputs(n_cells: usize) -> (Vec<f32>, Vec<f32>) {
    let mut random = Random(4);
    let side = (n_cells as f32).sqrt().ceil() as usize;
    let pitch = SIDE_IN as f32 / side as f32;
    let channels = 4 + SHAPE.classes + SHAPE.coefficients;
    let mut detections = vec![0.0; channels * SHAPE.anchors];
    for cell in 0..n_cells {
        for i in 0..PER_CELL {
            let anchor = cell * PER_CELL + i;
            let centre = |at: usize| (at as f32 + 0.5) * pitch;
            let [dx, dy, score] = [(-1.0, 1.0), (-1.0, 1.0), (0.5, 0.95)]
                .map(|(low, high)| random.between(low, high));
            let row = [
                centre(cell % side) + dx,
                centre(cell / side) + dy,
                pitch * 0.96,
                pitch * 0.96,
                score,
            ];
            for (channel, value) in row.into_iter().enumerate() {
                detections[channel * SHAPE.anchors + anchor] = value;
            }
            for channel in 0..SHAPE.coefficients {
                let at = (4 + SHAPE.classes + channel) * SHAPE.anchors + anchor;
                detections[at] = random.between(-1.0, 1.0);
            }
        }
    }
    let n = SHAPE.coefficients * SHAPE.prototype_width * SHAPE.prototype_height;
    let prototypes = (0..n).map(|_| random.between(-1.0, 1.0)).collect();
    (detections, prototypes)
}

/// None: no compiler.
fn costs(format: PixelFormat, side: u32, n_cells: usize) -> Option<Vec<Cost>> {
    let model = model(Head::YoloSeg(SHAPE), (SIDE_IN as u32, SIDE_IN as u32));
    let mut rig = Rig::new(&model, &F32, &Bounds::default())?;
    let frame = noise(format, (side, side), 0, 0, &mut Random(2));
    let params = {
        let mut params = params(Normalization::Percentiles {
            low: 0.5,
            high: 99.5,
            min_span: MinSpan::Counts(0.0),
        });
        params.thresholds.max_cells = 5000;
        params
    };
    rig.before(&frame, &params);
    let (detections, prototypes) = outputs(n_cells);
    rig.detections
        .write(detections.iter().map(|v| v.to_ne_bytes()));
    rig.prototypes
        .write(prototypes.iter().map(|v| v.to_ne_bytes()));
    let answer = rig.after(&frame, &params);
    assert_eq!(answer.instances.len(), n_cells);

    let count = |at| u64::from(rig.header(at));
    let n_found = count(header::N_FOUND);
    let (n_words, n_window) = (count(header::N_WORDS), count(header::N_CELLS));
    let n_instances = n_cells as u64;
    let frame_bytes = frame.data().len() as u64;
    let n_samples = u64::from(side) * u64::from(side);
    let sample_bytes = frame_bytes / n_samples;
    let n_bins = u64::from(frame.max_value()) + 1;
    let n_pixels = (SIDE_IN * SIDE_IN) as u64;
    let (classes, anchors) = (SHAPE.classes as u64, SHAPE.anchors as u64);
    let coefficients = SHAPE.coefficients as u64;
    let n_pairs = n_found * n_found / 2;
    let cost = |kernel, bytes, operations| Cost {
        kernel,
        bytes,
        operations,
    };
    Some(vec![
        cost(
            "prepare",
            8 * 4 * n_bins + 16 * 2 * SIDE_IN as u64,
            12 * 2 * SIDE_IN as u64,
        ),
        cost("survey", frame_bytes, 6 * n_samples),
        cost("fold", 9 * 4 * n_bins, 8 * n_bins),
        cost("percentile", 4 * 4 * 16 * 4, 4 * 4 * 32),
        // Four taps a pixel, of a frame that may be smaller than that.
        cost(
            "letterbox",
            frame_bytes.min(4 * sample_bytes * n_pixels) + 3 * 4 * n_pixels,
            45 * n_pixels,
        ),
        cost(
            "score",
            4 * classes * anchors + (16 + 16) * n_found,
            2 * classes * anchors,
        ),
        cost("rank", 12 * n_found, 2 * n_found * n_found),
        cost("scatter", (12 + 16 + 32) * n_found, 10 * n_found),
        cost("overlap", 32 * n_found + n_pairs / 8, 11 * n_pairs),
        cost("nms_round, all 8", n_pairs / 8, 3 * n_pairs / 64),
        cost("nms_finish", 8, 1),
        cost(
            "select_kept",
            (32 + 64 + 12) * n_instances,
            n_found * n_found / 128 + 60 * n_instances,
        ),
        cost(
            "offsets",
            16 * n_instances,
            4 * n_instances * n_instances / 2,
        ),
        // Windows overlap: prototypes are counted once, and again from the caches.
        cost(
            "logits",
            4 * coefficients * (n_window.min(25_600) + n_instances) + 4 * n_window,
            2 * coefficients * n_window,
        ),
        cost("paint", 4 * n_window + 4 * n_words, 26 * 32 * n_words),
        cost("export_answer", (64 + 48) * n_instances, 12 * n_instances),
    ])
}

#[test]
fn the_work_of_a_frame_stays_within_what_is_documented() {
    for (format, side, n_cells, most_bytes, most_operations) in [
        (PixelFormat::Mono8, 640, 100, 10_000_000, 37_000_000),
        (PixelFormat::Mono16, 2048, 1000, 32_000_000, 430_000_000),
    ] {
        let Some(costs) = costs(format, side, n_cells) else {
            return;
        };
        let mut table = format!("{side}x{side} {format}, {n_cells} cells\n");
        for Cost {
            kernel,
            bytes,
            operations,
        } in &costs
        {
            table += &format!("| `{kernel}` | {bytes} | {operations} |\n");
        }
        let bytes: u64 = costs.iter().map(|cost| cost.bytes).sum();
        let operations: u64 = costs.iter().map(|cost| cost.operations).sum();
        table += &format!("| all | {bytes} | {operations} |\n");
        print(&table);
        assert!(bytes <= most_bytes, "{table}");
        assert!(operations <= most_operations, "{table}");
    }
}

#[expect(clippy::print_stderr, reason = "counts for docs/performance.md")]
pub(super) fn print(counts: &str) {
    eprintln!("{counts}");
}
