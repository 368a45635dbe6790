//! Candidates and mask coefficients of both YOLO-seg heads.

use super::Candidate;
use crate::{
    geometry::BoxF,
    model::{Head, HeadShape},
};

/// Adds every detection whose score is above its class's `confidence` and whose box is finite and not empty. NaN never passes.
pub(super) fn candidates(
    head: &Head,
    detections: &[f32],
    confidence: &[f32],
    found: &mut Vec<Candidate>,
) {
    match head {
        Head::YoloSeg(shape) => dense(shape, detections, confidence, found),
        Head::YoloSegEndToEnd(shape) => end_to_end(shape, detections, confidence, found),
    }
}

/// The mask coefficients of one detection.
pub(super) fn coefficients(
    head: &Head,
    detections: &[f32],
    anchor: usize,
    coefficients: &mut Vec<f32>,
) {
    let n = head.shape().coefficients;
    coefficients.clear();
    match head {
        Head::YoloSeg(shape) => {
            let first = (4 + shape.classes) * shape.anchors + anchor;
            coefficients.extend(detections[first..].iter().step_by(shape.anchors).take(n));
        }
        Head::YoloSegEndToEnd(_) => {
            coefficients.extend(&detections[anchor * (6 + n) + 6..][..n]);
        }
    }
}

/// Anchors looked at together: their best scores stay in registers and the first-level cache.
const BLOCK: usize = 64;

/// The best class of each anchor, the lowest index on a tie, then whether it passes.
fn dense(shape: &HeadShape, detections: &[f32], confidence: &[f32], found: &mut Vec<Candidate>) {
    let n = shape.anchors;
    debug_assert_eq!(
        detections.len(),
        (4 + shape.classes + shape.coefficients) * n
    );
    let (boxes, rest) = detections.split_at(4 * n);
    let scores = &rest[..shape.classes * n];
    for start in (0..n).step_by(BLOCK) {
        let mut best = [f32::NEG_INFINITY; BLOCK];
        let mut best_class = [0; BLOCK];
        for (class, row) in (0u32..).zip(scores.chunks_exact(n)) {
            let block = best.iter_mut().zip(&mut best_class).zip(&row[start..]);
            for ((best, best_class), &score) in block {
                let better = score > *best;
                *best = if better { score } else { *best };
                *best_class = if better { class } else { *best_class };
            }
        }
        for (anchor, (score, class)) in (start..n).zip(best.into_iter().zip(best_class)) {
            if score > confidence[class as usize] {
                let [cx, cy, w, h] = [0, 1, 2, 3].map(|i| boxes[i * n + anchor]);
                let (w_half, h_half) = (w * 0.5, h * 0.5);
                let box_in = BoxF {
                    x0: cx - w_half,
                    y0: cy - h_half,
                    x1: cx + w_half,
                    y1: cy + h_half,
                };
                push(
                    found,
                    Candidate {
                        box_in,
                        class,
                        score,
                        anchor: anchor as u32,
                    },
                );
            }
        }
    }
}

/// Rows as the network's own NMS left them. A class that is not an index of the model's is no detection.
fn end_to_end(
    shape: &HeadShape,
    detections: &[f32],
    confidence: &[f32],
    found: &mut Vec<Candidate>,
) {
    debug_assert_eq!(detections.len(), (6 + shape.coefficients) * shape.anchors);
    for (anchor, row) in (0..).zip(detections.chunks_exact(6 + shape.coefficients)) {
        let (score, class) = (row[4], row[5]);
        let class_idx = class as u32;
        if class_idx as f32 != class {
            continue;
        }
        if confidence
            .get(class_idx as usize)
            .is_some_and(|&confidence| score > confidence)
        {
            let box_in = BoxF {
                x0: row[0],
                y0: row[1],
                x1: row[2],
                y1: row[3],
            };
            push(
                found,
                Candidate {
                    box_in,
                    class: class_idx,
                    score,
                    anchor,
                },
            );
        }
    }
}

fn push(found: &mut Vec<Candidate>, candidate: Candidate) {
    let BoxF { x0, y0, x1, y1 } = candidate.box_in;
    let finite = x0.is_finite() && y0.is_finite() && x1.is_finite() && y1.is_finite();
    if finite && x0 < x1 && y0 < y1 {
        found.push(candidate);
    }
}
