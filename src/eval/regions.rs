//! Figures that weigh how well each cell's region is found: AJI and panoptic quality.

use std::ops::AddAssign;

use super::compare::Compared;

/// Aggregated Jaccard index of one image (Kumar et al., IEEE Trans. Med. Imaging 36, 2017): shared pixels of each labelled cell
/// and the found cell that it overlaps most, over their unions and all found cells that nobody overlaps most. Crowds, and found
/// cells that lie in one by more than half, are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Aji {
    shared: u64,
    united: u64,
}

impl Aji {
    /// Of one class.
    pub fn of(image: &Compared) -> Aji {
        let mut best: Vec<Option<(usize, f64, u64)>> = vec![None; image.labelled.len()];
        let mut used = vec![false; image.found.len()];
        for overlap in &image.overlaps {
            if overlap.crowd {
                used[overlap.found] |= overlap.iou > 0.5;
                continue;
            }
            let best = &mut best[overlap.labelled];
            if best.is_none_or(|(_, iou, _)| overlap.iou > iou) {
                *best = Some((overlap.found, overlap.iou, overlap.pixels));
            }
        }
        let mut aji = Aji::default();
        for (cell, best) in image.labelled.iter().zip(best) {
            if cell.crowd {
                continue;
            }
            aji.united += cell.area;
            if let Some((found, _, pixels)) = best {
                used[found] = true;
                aji.shared += pixels;
                aji.united += image.found[found].area - pixels;
            }
        }
        let left = image.found.iter().zip(used).filter(|(_, used)| !used);
        aji.united += left.map(|(cell, _)| cell.area).sum::<u64>();
        aji
    }

    /// 0..1; none where there is neither a labelled nor a found cell.
    pub fn value(&self) -> Option<f64> {
        (self.united > 0).then(|| self.shared as f64 / self.united as f64)
    }
}

impl AddAssign for Aji {
    /// With another class of the same image.
    fn add_assign(&mut self, other: Aji) {
        self.shared += other.shared;
        self.united += other.united;
    }
}

/// Panoptic quality of one class (Kirillov et al., CVPR 2019): pairs have an IoU above 0.5.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PanopticQuality {
    iou_sum: f64,
    right: usize,
    missed: usize,
    wrong: usize,
}

impl PanopticQuality {
    /// Adds an image.
    pub fn add(&mut self, image: &Compared) {
        let matches = image.matches(|iou| iou > 0.5);
        self.iou_sum += matches.pairs.iter().map(|pair| pair.iou).sum::<f64>();
        self.right += matches.pairs.len();
        self.missed += matches.missed.len();
        self.wrong += matches.wrong.len();
    }

    /// Mean IoU of the pairs, 0 without one; none where there is neither a labelled nor a found cell.
    pub fn segmentation(&self) -> Option<f64> {
        let mean = match self.right {
            0 => 0.0,
            right => self.iou_sum / right as f64,
        };
        self.weight().map(|_| mean)
    }

    /// How many are paired: the F1 at an IoU above 0.5; none where there is neither a labelled nor a found cell.
    pub fn recognition(&self) -> Option<f64> {
        self.weight().map(|weight| self.right as f64 / weight)
    }

    /// Their product.
    pub fn value(&self) -> Option<f64> {
        self.weight().map(|weight| self.iou_sum / weight)
    }

    fn weight(&self) -> Option<f64> {
        let weight = self.right as f64 + (self.missed + self.wrong) as f64 / 2.0;
        (weight > 0.0).then_some(weight)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn a_found_cell_that_two_labels_overlap_most_counts_for_both() {
        // One found cell over both labels, another on nothing: (2 + 2) / (4 + 4 + 1).
        let image = compared(&["aabb.."], &[("xxxx..", 0.9), (".....x", 0.8)]);
        assert_eq!(Aji::of(&image).value(), Some(4.0 / 9.0));
    }

    #[test]
    fn nothing_at_all_has_no_value() {
        let image = compared(&["...."], &[]);
        let mut pq = PanopticQuality::default();
        pq.add(&image);
        assert_eq!((Aji::of(&image).value(), pq.value()), (None, None));
    }

    #[test]
    fn panoptic_quality_is_segmentation_times_recognition() {
        // IoU 3/4; one missed; one wrong, and an IoU of exactly a half is no pair.
        let image = compared(&["aaaa.bb"], &[(".xxx...", 0.9), (".....x.", 0.8)]);
        let mut pq = PanopticQuality::default();
        pq.add(&image);
        assert_eq!(
            (pq.segmentation(), pq.recognition(), pq.value()),
            (Some(0.75), Some(0.5), Some(0.375)),
        );
    }

    #[test]
    fn what_lies_in_a_crowd_is_left_out() {
        let image = with_crowd(
            compared(&["aabbbb"], &[("xx....", 0.9), ("..xx..", 0.8)]),
            1,
        );
        let mut pq = PanopticQuality::default();
        pq.add(&image);
        assert_eq!(
            (Aji::of(&image).value(), pq.value()),
            (Some(1.0), Some(1.0))
        );
    }
}
