//! Label images as cells.

use std::collections::BTreeMap;

use super::compare::Labelled;
use crate::mask::Mask;

/// Where a label's pixels lie: left, top, right, bottom, the last two past the end.
#[derive(Clone, Copy)]
struct Bounds(u32, u32, u32, u32);

/// The cells of an image of labels in rows of `width` pixels: each label but 0 is one cell of class 0, in the order of the labels,
/// in however many pieces.
pub fn cells_of_labels(labels: &[u16], width: u32) -> Vec<Labelled> {
    let rows = || (0..).zip(labels.chunks_exact(width as usize));
    let mut bounds: BTreeMap<u16, Bounds> = BTreeMap::new();
    for (y, row) in rows() {
        for (xs, label) in runs(row) {
            let Bounds(left, top, right, bottom) =
                bounds
                    .entry(label)
                    .or_insert(Bounds(xs.start, y, xs.end, y + 1));
            (*left, *right) = ((*left).min(xs.start), (*right).max(xs.end));
            (*top, *bottom) = ((*top).min(y), y + 1);
        }
    }
    let mut masks: BTreeMap<u16, Mask> = bounds
        .into_iter()
        .map(|(label, Bounds(left, top, right, bottom))| {
            (label, Mask::empty(left, top, right - left, bottom - top))
        })
        .collect();
    for (y, row) in rows() {
        for (xs, label) in runs(row) {
            if let Some(mask) = masks.get_mut(&label) {
                let left = mask.x();
                mask.fill(y - mask.y(), xs.start - left..xs.end - left);
            }
        }
    }
    masks
        .into_values()
        .map(|mask| Labelled {
            class: 0,
            mask,
            crowd: false,
        })
        .collect()
}

/// Runs of one label, background left out.
fn runs(row: &[u16]) -> impl Iterator<Item = (std::ops::Range<u32>, u16)> {
    let mut end = 0;
    row.chunk_by(|a, b| a == b).filter_map(move |run| {
        let start = end;
        end += run.len() as u32;
        (run[0] != 0).then_some((start..end, run[0]))
    })
}

#[cfg(test)]
mod tests {
    use super::cells_of_labels;
    use crate::mask::testing::drawn;

    #[test]
    fn each_label_is_a_cell_in_the_order_of_the_labels() {
        #[rustfmt::skip]
        let labels = [
            0, 7, 7, 0,
            2, 2, 7, 0,
            0, 0, 0, 2,
        ];
        let masks: Vec<_> = cells_of_labels(&labels, 4)
            .into_iter()
            .map(|cell| cell.mask)
            .collect();
        assert_eq!(
            masks,
            [drawn(0, 1, &["##..", "...#"]), drawn(1, 0, &["##", ".#"])]
        );
        assert!(cells_of_labels(&[0; 6], 3).is_empty());
    }
}
