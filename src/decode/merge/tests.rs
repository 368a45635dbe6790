use proptest::prelude::*;

use super::Seams;
use crate::{
    decode::{Decoded, testing::thresholds},
    geometry::{BoxF, Tile, tiles},
    mask::{Mask, testing::drawn},
    params::Thresholds,
    segmentation::RawInstance,
};

/// Two tiles of 16 x 8 pixels that share 8 columns, in a frame of 24 x 8.
const FRAME: (u32, u32) = (24, 8);
const PAIR: [Tile; 2] = [
    Tile {
        x: 0,
        y: 0,
        width: 16,
        height: 8,
    },
    Tile {
        x: 8,
        y: 0,
        width: 16,
        height: 8,
    },
];

fn instance(score: f32, class_index: u32, mask: Mask) -> RawInstance {
    let edges = [
        mask.x(),
        mask.y(),
        mask.x() + mask.width(),
        mask.y() + mask.height(),
    ];
    let [x0, y0, x1, y1] = edges.map(|edge| edge as f32);
    RawInstance {
        class_index,
        score,
        detected_box: BoxF { x0, y0, x1, y1 },
        mask,
    }
}

fn merged(thresholds: &Thresholds, of_tiles: [Vec<RawInstance>; 2]) -> Decoded {
    let mut seams = Seams::new(FRAME, &PAIR, 2, thresholds);
    for (tile, instances) in of_tiles.into_iter().enumerate() {
        seams.add(tile, instances);
    }
    seams.finish(|| Ok::<(), ()>(())).unwrap()
}

/// Score, class, mask.
fn cells(decoded: &Decoded) -> Vec<(f32, u32, Mask)> {
    let cell = |cell: &RawInstance| (cell.score, cell.class_index, cell.mask.clone());
    decoded.instances.iter().map(cell).collect()
}

fn bar(x: u32, width: usize) -> Mask {
    drawn(x, 3, &["#".repeat(width).as_str(); 2])
}

#[test]
fn a_cell_that_one_tile_sees_whole_is_as_that_one_saw_it() {
    // Columns 7 to 12 of the frame: the second tile's edge, at 8, cuts it and makes more of it than there is.
    let whole = bar(7, 6);
    let fragment = drawn(0, 2, &["#####", "#####", "#####"]);
    let decoded = merged(
        &thresholds(),
        [
            vec![instance(0.6, 0, whole.clone())],
            vec![instance(0.9, 0, fragment)],
        ],
    );
    assert_eq!(cells(&decoded), [(0.6, 0, whole)]);
}

#[test]
fn a_sliver_at_an_edge_goes_even_where_nothing_is_beside_it() {
    // Columns 8 to 9 of the frame: the first tile saw more of that place.
    let decoded = merged(&thresholds(), [vec![], vec![instance(0.9, 0, bar(0, 2))]]);
    assert_eq!(cells(&decoded), []);
}

#[test]
fn a_cell_larger_than_what_tiles_share_is_put_together() {
    // Columns 2 to 21: 14 of them in the first tile, 14 in the second, which see 8 both.
    let decoded = merged(
        &thresholds(),
        [
            vec![instance(0.6, 0, bar(2, 14))],
            vec![instance(0.7, 0, bar(0, 14))],
        ],
    );
    assert_eq!(cells(&decoded), [(0.7, 0, bar(2, 20))]);
    let whole = BoxF {
        x0: 2.0,
        y0: 3.0,
        x1: 22.0,
        y1: 5.0,
    };
    assert_eq!(decoded.instances[0].detected_box, whole);
}

#[test]
fn cut_cells_that_share_little_stay_two() {
    // One row of two in common: rows 3 and 4 from the left, rows 4 to 7 from the right.
    let low = drawn(0, 4, &["#".repeat(14).as_str(); 4]);
    let decoded = merged(
        &thresholds(),
        [
            vec![instance(0.6, 0, drawn(2, 1, &["#".repeat(14).as_str(); 4]))],
            vec![instance(0.7, 0, low.clone())],
        ],
    );
    assert_eq!(decoded.instances.len(), 2);
    assert_eq!(decoded.instances[0].mask, low.moved(8, 0));
}

#[test]
fn what_two_tiles_see_whole_comes_once_with_the_higher_score() {
    for (left, right) in [(0.6, 0.7), (0.7, 0.6)] {
        // Columns 11 and 12, one row less in the second.
        let (tall, flat) = (drawn(11, 3, &["##", "##"]), drawn(3, 3, &["##"]));
        let decoded = merged(
            &thresholds(),
            [
                vec![instance(left, 0, tall)],
                vec![instance(right, 0, flat)],
            ],
        );
        assert_eq!(decoded.instances.len(), 1, "{left} {right}");
        let area = if left > right { 4 } else { 2 };
        assert_eq!(decoded.instances[0].mask.area(), area);
    }
}

#[test]
fn classes_are_told_apart_unless_they_suppress_each_other() {
    let both = || {
        [
            vec![instance(0.6, 0, bar(11, 2))],
            vec![instance(0.7, 1, bar(3, 2))],
        ]
    };
    assert_eq!(merged(&thresholds(), both()).instances.len(), 2);
    let agnostic = Thresholds {
        class_agnostic: true,
        ..thresholds()
    };
    assert_eq!(cells(&merged(&agnostic, both())), [(0.7, 1, bar(11, 2))]);
}

#[test]
fn cells_of_one_tile_are_left_as_they_are() {
    let overlapping = vec![instance(0.9, 0, bar(2, 4)), instance(0.8, 0, bar(3, 4))];
    let decoded = merged(&thresholds(), [overlapping, vec![]]);
    assert_eq!(decoded.instances.len(), 2);
}

#[test]
fn the_highest_scores_of_all_tiles_are_kept() {
    let one = Thresholds {
        max_cells: 1,
        ..thresholds()
    };
    let decoded = merged(
        &one,
        [
            vec![instance(0.6, 0, bar(2, 2))],
            vec![instance(0.7, 0, bar(12, 2))],
        ],
    );
    assert!(decoded.truncated);
    assert_eq!(cells(&decoded), [(0.7, 0, bar(20, 2))]);
}

#[test]
fn whoever_no_longer_waits_is_not_kept_at_it() {
    let thresholds = thresholds();
    let seams = Seams::new(FRAME, &PAIR, 2, &thresholds);
    assert_eq!(seams.finish(|| Err("cancelled")).unwrap_err(), "cancelled");
}

/// The pixels of a disc that lie in `tile`, in its own pixels.
fn piece(disc: (i32, i32, i32), tile: Tile) -> Mask {
    let (cx, cy, radius) = disc;
    let mut mask = Mask::empty(0, 0, tile.width, tile.height);
    for y in 0..tile.height {
        for x in 0..tile.width {
            let (dx, dy) = ((tile.x + x) as i32 - cx, (tile.y + y) as i32 - cy);
            if dx * dx + dy * dy <= radius * radius {
                mask.set(x, y);
            }
        }
    }
    mask
}

prop_compose! {
    /// Side of the frame, of a tile, what tiles share, and discs that do not touch.
    fn any_field()(
        width in 60u32..200,
        height in 60u32..200,
        side in 36u32..64,
        tenths in 1u32..=5,
        spots in prop::collection::vec((0i32..200, 0i32..200, 1i32..40), 1..12),
    ) -> ((u32, u32), Vec<Tile>, Vec<(i32, i32, i32)>) {
        let shared = (side * tenths / 10).max(4);
        let tiles = tiles((width, height), (side, side), (shared, shared)).unwrap();
        let mut discs: Vec<(i32, i32, i32)> = Vec::new();
        for (x, y, r) in spots {
            let far = discs.iter().all(|&(ox, oy, or)| (x - ox).pow(2) + (y - oy).pow(2) > (r + or + 2).pow(2));
            if far && x < width as i32 && y < height as i32 {
                discs.push((x, y, r));
            }
        }
        ((width, height), tiles, discs)
    }
}

proptest! {
    /// Against the field that was never cut: a network that sees exactly what is there, with any score in any tile.
    #[test]
    fn every_cell_comes_out_once_and_whole((frame, tiles, discs) in any_field(), salt: u32) {
        let agnostic = Thresholds { class_agnostic: true, ..thresholds() };
        let mut seams = Seams::new(frame, &tiles, 2, &agnostic);
        for (i, &tile) in tiles.iter().enumerate() {
            let mut found: Vec<RawInstance> = (0..).zip(&discs).map(|(class, &disc)| {
                let noise = (i as u32 * 31 + class * 17 + 1).wrapping_mul(salt | 1) >> 20;
                instance(0.5 + noise as f32 / 10_000.0, class, piece(disc, tile))
            }).filter(|cell| !cell.mask.is_empty()).collect();
            found.sort_by(|a, b| b.score.total_cmp(&a.score));
            seams.add(i, found);
        }
        let decoded = seams.finish(|| Ok::<(), ()>(())).unwrap();
        prop_assert!(!decoded.truncated);
        prop_assert!(decoded.instances.is_sorted_by(|a, b| a.score >= b.score));
        let whole = Tile { x: 0, y: 0, width: frame.0, height: frame.1 };
        let mut expected: Vec<(u32, Mask)> = (0..).zip(&discs).map(|(class, &disc)| (class, piece(disc, whole).trim())).collect();
        let mut found: Vec<(u32, Mask)> = decoded.instances.iter().map(|cell| (cell.class_index, cell.mask.clone())).collect();
        expected.sort_by_key(|cell| cell.0);
        found.sort_by_key(|cell| cell.0);
        prop_assert_eq!(found, expected);
    }
}
