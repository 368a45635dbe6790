//! Areas and overlaps of the labelled and the found cells of one image.

use crate::mask::Mask;

/// A cell as somebody labelled it.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// Index into the classes of the labels.
    pub class: usize,
    /// Its pixels; may be none.
    pub mask: Mask,
    /// An area of cells that nobody told apart: what is found in it is neither right nor wrong.
    pub crowd: bool,
}

/// A cell as a model found it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Index into the classes of the labels.
    pub class: usize,
    /// Its pixels.
    pub mask: Mask,
    /// 0..1.
    pub score: f32,
}

/// The labelled and the found cells of one class in one image. Masks may overlap on either side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    pub(super) labelled: Vec<LabelledCell>,
    /// Falling score.
    pub(super) found: Vec<FoundCell>,
    /// Every pair that shares a pixel: by the found cell, then crowds last, then by the labelled cell.
    pub(super) overlaps: Vec<Overlap>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LabelledCell {
    pub(super) area: u64,
    pub(super) crowd: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FoundCell {
    pub(super) area: u64,
    pub(super) score: f32,
}

/// Indices into the labelled and the found cells, and what they share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Overlap {
    pub(super) labelled: usize,
    pub(super) found: usize,
    pub(super) pixels: u64,
    /// Intersection over union; of a crowd, over the found cell's area, as COCO has it.
    pub(super) iou: f64,
    pub(super) crowd: bool,
}

impl Compared {
    /// The cells of `class`, with what they share.
    pub fn of_class(labelled: &[Labelled], found: &[Found], class: usize) -> Compared {
        let truth: Vec<&Labelled> = labelled.iter().filter(|cell| cell.class == class).collect();
        let mut cells: Vec<&Found> = found.iter().filter(|cell| cell.class == class).collect();
        // Stable: of equal scores the earlier stays first.
        cells.sort_by(|a, b| b.score.total_cmp(&a.score));

        let areas: Vec<u64> = truth.iter().map(|cell| area(&cell.mask)).collect();
        let mut overlaps = Vec::new();
        for (i_found, cell) in cells.iter().enumerate() {
            let found_area = area(&cell.mask);
            let start = overlaps.len();
            for (i_labelled, label) in truth.iter().enumerate() {
                let pixels = u64::from(label.mask.overlap(&cell.mask));
                if pixels == 0 {
                    continue;
                }
                let of = match label.crowd {
                    true => found_area,
                    false => areas[i_labelled] + found_area - pixels,
                };
                overlaps.push(Overlap {
                    labelled: i_labelled,
                    found: i_found,
                    pixels,
                    iou: pixels as f64 / of as f64,
                    crowd: label.crowd,
                });
            }
            overlaps[start..].sort_by_key(|overlap| overlap.crowd);
        }
        Compared {
            labelled: truth
                .iter()
                .zip(&areas)
                .map(|(cell, &area)| LabelledCell {
                    area,
                    crowd: cell.crowd,
                })
                .collect(),
            found: cells
                .iter()
                .map(|cell| FoundCell {
                    area: area(&cell.mask),
                    score: cell.score,
                })
                .collect(),
            overlaps,
        }
    }

    /// With only those found cells whose score is above `confidence`.
    pub fn above(&self, confidence: f32) -> Compared {
        let n = self.found.partition_point(|cell| cell.score > confidence);
        let kept = self.overlaps.iter().filter(|overlap| overlap.found < n);
        Compared {
            labelled: self.labelled.clone(),
            found: self.found[..n].to_vec(),
            overlaps: kept.copied().collect(),
        }
    }

    /// Labelled cells that are to be found: all but crowds.
    pub fn n_labelled(&self) -> usize {
        self.labelled.iter().filter(|cell| !cell.crowd).count()
    }

    /// Found cells.
    pub fn n_found(&self) -> usize {
        self.found.len()
    }
}

fn area(mask: &Mask) -> u64 {
    u64::from(mask.area())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::testing::drawn;

    fn found(mask: Mask, score: f32) -> Found {
        Found {
            class: 0,
            mask,
            score,
        }
    }

    #[test]
    fn found_cells_are_compared_by_falling_score_and_of_their_class_alone() {
        let labelled = [Labelled {
            class: 0,
            mask: drawn(1, 1, &["##", "##"]),
            crowd: false,
        }];
        let mut other = found(drawn(1, 1, &["##", "##"]), 0.9);
        other.class = 1;
        let cells = [
            found(drawn(2, 1, &["#", "#"]), 0.3),
            other,
            found(drawn(0, 2, &["###"]), 0.7),
        ];
        let compared = Compared::of_class(&labelled, &cells, 0);
        let shared: Vec<_> = compared
            .overlaps
            .iter()
            .map(|o| (o.found, o.pixels, o.iou))
            .collect();
        assert_eq!(shared, [(0, 2, 2.0 / 5.0), (1, 2, 0.5)]);
        assert_eq!(compared.found[0].score, 0.7);
    }

    #[test]
    fn of_a_crowd_only_the_found_cells_own_area_counts() {
        let labelled = [Labelled {
            class: 0,
            mask: drawn(0, 0, &["######", "######"]),
            crowd: true,
        }];
        let compared = Compared::of_class(&labelled, &[found(drawn(4, 0, &["####"]), 0.5)], 0);
        assert_eq!(compared.overlaps[0].iou, 0.5);
        assert_eq!(compared.n_labelled(), 0);
    }

    #[test]
    fn above_a_confidence_is_what_would_have_been_compared_then() {
        let labelled = [Labelled {
            class: 0,
            mask: drawn(0, 0, &["####"]),
            crowd: false,
        }];
        let cells = [0.2, 0.5, 0.9].map(|score| found(drawn(1, 0, &["##"]), score));
        let kept: Vec<Found> = cells
            .iter()
            .filter(|cell| cell.score > 0.5)
            .cloned()
            .collect();
        assert_eq!(
            Compared::of_class(&labelled, &cells, 0).above(0.5),
            Compared::of_class(&labelled, &kept, 0),
        );
    }
}
