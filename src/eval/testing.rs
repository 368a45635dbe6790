//! Cells as a person draws them.

use super::compare::{Compared, Found, Labelled};
use crate::mask::{Mask, testing::drawn};

/// One row of pixels: each letter of `labels` is a labelled cell, each of `found` a cell of `x` with its score.
pub(super) fn compared(labels: &[&str; 1], found: &[(&str, f32)]) -> Compared {
    let cell = |letter: char| {
        let row: String = labels[0]
            .chars()
            .map(|c| if c == letter { '#' } else { '.' })
            .collect();
        Labelled {
            class: 0,
            mask: drawn(0, 0, &[&row]),
            crowd: false,
        }
    };
    let labelled: Vec<Labelled> = ('a'..='z')
        .filter(|&letter| labels[0].contains(letter))
        .map(cell)
        .collect();
    let found: Vec<Found> = found
        .iter()
        .map(|&(row, score)| Found {
            class: 0,
            mask: row_of(row),
            score,
        })
        .collect();
    Compared::of_class(&labelled, &found, 0)
}

/// The labelled cell `index` made a crowd.
pub(super) fn with_crowd(mut compared: Compared, index: usize) -> Compared {
    compared.labelled[index].crowd = true;
    for overlap in &mut compared.overlaps {
        if overlap.labelled == index {
            overlap.crowd = true;
            overlap.iou = overlap.pixels as f64 / compared.found[overlap.found].area as f64;
        }
    }
    compared
        .overlaps
        .sort_by_key(|overlap| (overlap.found, overlap.crowd));
    compared
}

fn row_of(row: &str) -> Mask {
    drawn(0, 0, &[&row.replace('x', "#")])
}
