//! Which found cell is which labelled cell.

use super::compare::{Compared, Overlap};

/// Who is whom at one bound on the IoU. Indices are into the cells of the [`Compared`]: labelled ones as they came, found ones
/// by falling score.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matches {
    /// Each cell is in one pair at most.
    pub pairs: Vec<Pair>,
    /// Labelled cells without a found one; crowds are not missed.
    pub missed: Vec<usize>,
    /// Found cells without a labelled one, outside of crowds.
    pub wrong: Vec<usize>,
}

/// A labelled cell and the found one that is it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Index of the labelled cell.
    pub labelled: usize,
    /// Index of the found cell.
    pub found: usize,
    /// Intersection over union.
    pub iou: f64,
}

impl Compared {
    /// Pairs by falling IoU among those that `is_match` accepts: each cell once. Between disjoint cells an IoU above 0.5 leaves
    /// no choice: a cell has one such partner at most.
    pub fn matches(&self, is_match: impl Fn(f64) -> bool) -> Matches {
        let accepted = self.overlaps.iter().filter(|overlap| is_match(overlap.iou));
        let (crowds, mut candidates): (Vec<Overlap>, Vec<Overlap>) =
            accepted.copied().partition(|overlap| overlap.crowd);
        // Of equal IoU the higher score goes first, then the earlier labelled cell.
        candidates.sort_by(|a, b| b.iou.total_cmp(&a.iou));

        let mut labelled_taken: Vec<bool> = self.labelled.iter().map(|cell| cell.crowd).collect();
        let mut found_taken = vec![false; self.found.len()];
        let mut pairs = Vec::new();
        for Overlap {
            labelled,
            found,
            iou,
            ..
        } in candidates
        {
            if !labelled_taken[labelled] && !found_taken[found] {
                labelled_taken[labelled] = true;
                found_taken[found] = true;
                pairs.push(Pair {
                    labelled,
                    found,
                    iou,
                });
            }
        }
        crowds
            .iter()
            .for_each(|overlap| found_taken[overlap.found] = true);
        Matches {
            pairs,
            missed: left(&labelled_taken),
            wrong: left(&found_taken),
        }
    }
}

fn left(taken: &[bool]) -> Vec<usize> {
    (0..taken.len()).filter(|&i| !taken[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn the_better_overlap_gets_the_cell_and_each_cell_is_taken_once() {
        // The first found cell covers most of the label; the second, with a higher score, less.
        let compared = compared(
            &["aaaa.bb"],
            &[("xxxxx..", 0.5), ("xx.....", 0.9), ("....xxx", 0.1)],
        );
        let matches = compared.matches(|iou| iou >= 0.5);
        let pairs: Vec<_> = matches
            .pairs
            .iter()
            .map(|p| (p.labelled, p.found, p.iou))
            .collect();
        assert_eq!(pairs, [(0, 1, 0.8), (1, 2, 2.0 / 3.0)]);
        assert_eq!((matches.missed, matches.wrong), (vec![], vec![0]));
    }

    #[test]
    fn what_is_found_in_a_crowd_is_neither_right_nor_wrong() {
        let mut compared = compared(&["aaaaaabb"], &[("xx......", 0.9), ("....xxxx", 0.8)]);
        compared = with_crowd(compared, 0);
        let matches = compared.matches(|iou| iou >= 0.6);
        assert_eq!(
            matches,
            Matches {
                pairs: vec![],
                missed: vec![1],
                wrong: vec![1]
            }
        );
    }
}
