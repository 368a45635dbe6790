//! Greedy non-maximum suppression.

use super::Candidate;
use crate::{geometry::BoxF, params::Thresholds};

/// Boxes kept so far, in blocks that are compared at once.
#[derive(Debug, Default)]
pub(super) struct Kept {
    blocks: Vec<Block>,
    n: usize,
}

const LANES: usize = 8;

#[derive(Clone, Debug)]
struct Block {
    x0: [f32; LANES],
    y0: [f32; LANES],
    x1: [f32; LANES],
    y1: [f32; LANES],
    area: [f32; LANES],
    class: [u32; LANES],
}

impl Kept {
    /// Leaves, of `candidates` in rank order, those that overlap none of those before them that were left, at most `max_cells`;
    /// whether more would have been left.
    pub(super) fn suppress(
        &mut self,
        candidates: &mut Vec<Candidate>,
        thresholds: &Thresholds,
    ) -> bool {
        self.blocks.clear();
        self.n = 0;
        let mut truncated = false;
        for i in 0..candidates.len() {
            let candidate = candidates[i];
            let class = if thresholds.class_agnostic {
                0
            } else {
                candidate.class
            };
            if self.overlaps(&candidate.box_in, class, thresholds.iou) {
                continue;
            }
            if self.n == thresholds.max_cells as usize {
                truncated = true;
                break;
            }
            candidates[self.n] = candidate;
            self.push(&candidate.box_in, class);
        }
        candidates.truncate(self.n);
        truncated
    }

    fn push(&mut self, b: &BoxF, class: u32) {
        let lane = self.n % LANES;
        if lane == 0 {
            self.blocks.push(Block::NOWHERE);
        }
        if let Some(block) = self.blocks.last_mut() {
            (block.x0[lane], block.y0[lane]) = (b.x0, b.y0);
            (block.x1[lane], block.y1[lane]) = (b.x1, b.y1);
            block.area[lane] = area(b);
            block.class[lane] = class;
        }
        self.n += 1;
    }

    /// Whether a kept box of the class has an IoU above `iou` with `b`: `inter > iou * union`, which needs no division and is
    /// false for NaN.
    fn overlaps(&self, b: &BoxF, class: u32, iou: f32) -> bool {
        let area = area(b);
        self.blocks.iter().any(|kept| {
            let mut any = false;
            for i in 0..LANES {
                let w = above_zero(min(b.x1, kept.x1[i]) - max(b.x0, kept.x0[i]));
                let h = above_zero(min(b.y1, kept.y1[i]) - max(b.y0, kept.y0[i]));
                let inter = w * h;
                let union = area + kept.area[i] - inter;
                // `&`, not `&&`: without a branch the lanes are compared at once.
                any |= (inter > iou * union) & (class == kept.class[i]);
            }
            any
        })
    }
}

impl Block {
    /// Lanes that overlap nothing.
    const NOWHERE: Block = Block {
        x0: [f32::INFINITY; LANES],
        y0: [f32::INFINITY; LANES],
        x1: [f32::NEG_INFINITY; LANES],
        y1: [f32::NEG_INFINITY; LANES],
        area: [0.0; LANES],
        class: [0; LANES],
    };
}

fn area(b: &BoxF) -> f32 {
    (b.x1 - b.x0) * (b.y1 - b.y0)
}

// Comparisons rather than `f32::min`: one instruction each, and the same on every device.
fn min(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

fn above_zero(v: f32) -> f32 {
    max(v, 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Kept;
    use crate::{
        decode::{Candidate, testing::thresholds},
        geometry::BoxF,
        params::Thresholds,
    };

    fn naive(candidates: &[Candidate], thresholds: &Thresholds) -> (Vec<Candidate>, bool) {
        let iou = |a: BoxF, b: BoxF| {
            let w = (a.x1.min(b.x1) - a.x0.max(b.x0)).max(0.0);
            let h = (a.y1.min(b.y1) - a.y0.max(b.y0)).max(0.0);
            let area = |b: BoxF| (b.x1 - b.x0) * (b.y1 - b.y0);
            (w * h, area(a) + area(b) - w * h)
        };
        let mut kept: Vec<Candidate> = Vec::new();
        for &candidate in candidates {
            let suppressed = kept.iter().any(|other| {
                let (inter, union) = iou(other.box_in, candidate.box_in);
                (thresholds.class_agnostic || other.class == candidate.class)
                    && inter > thresholds.iou * union
            });
            if !suppressed {
                kept.push(candidate);
            }
        }
        let truncated = kept.len() > thresholds.max_cells as usize;
        kept.truncate(thresholds.max_cells as usize);
        (kept, truncated)
    }

    prop_compose! {
        // Whole coordinates and few scores, so that equal boxes, equal scores and IoUs right at the threshold are common.
        fn any_candidate()(x in 0i8..30, y in 0i8..30, w in 1i8..12, h in 1i8..12, class in 0u32..3, score in 1u8..5) -> Candidate {
            let [x0, y0, w, h] = [x, y, w, h].map(f32::from);
            Candidate { box_in: BoxF { x0, y0, x1: x0 + w, y1: y0 + h }, class, score: f32::from(score) / 5.0, anchor: 0 }
        }
    }

    proptest! {
        #[test]
        fn suppression_is_greedy_nms(
            mut candidates in prop::collection::vec(any_candidate(), 0..80),
            iou in prop::sample::select(vec![0.0f32, 0.25, 0.5, 1.0]),
            class_agnostic: bool,
            max_cells in 1u32..40,
        ) {
            (0..).zip(&mut candidates).for_each(|(anchor, candidate)| candidate.anchor = anchor);
            candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.anchor.cmp(&b.anchor)));
            let thresholds = Thresholds { iou, class_agnostic, max_cells, ..thresholds() };
            let expected = naive(&candidates, &thresholds);
            let truncated = Kept::default().suppress(&mut candidates, &thresholds);
            prop_assert_eq!((candidates, truncated), expected);
        }
    }
}
