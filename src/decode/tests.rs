use super::{testing::*, *};
use crate::model::HeadShape;

/// 64 x 64 pixels in and on camera; one prototype of ones, so that a coefficient above zero fills the box.
fn check(
    end_to_end: bool,
    rows: &[Vec<f32>],
    thresholds: &Thresholds,
    bounds: &Bounds,
) -> (Vec<(u32, f32, u32)>, bool) {
    let shape = HeadShape {
        classes: 2,
        coefficients: 1,
        anchors: rows.len(),
        prototype_width: 16,
        prototype_height: 16,
    };
    let (head, detections) = match end_to_end {
        true => (Head::YoloSegEndToEnd(shape), rows.concat()),
        false => (Head::YoloSeg(shape), dense(rows)),
    };
    let outputs = Outputs {
        detections: &detections,
        prototypes: &[1.0; 256],
    };
    let letterbox = Letterbox::new((64, 64), (64, 64));
    let decoded = decode(
        &head,
        outputs,
        &letterbox,
        thresholds,
        bounds,
        &mut Scratch::default(),
    );
    let seen = decoded
        .instances
        .iter()
        .map(|cell| (cell.class_index, cell.score, cell.mask.area()));
    (seen.collect(), decoded.truncated)
}

/// Rows of the dense head: a box of 4 x `h` pixels around (x, 10), two scores, a coefficient.
fn row(x: f32, h: f32, scores: [f32; 2], coefficient: f32) -> Vec<f32> {
    vec![x, 10.0, 4.0, h, scores[0], scores[1], coefficient]
}

fn check_dense(rows: &[Vec<f32>], thresholds: &Thresholds) -> (Vec<(u32, f32, u32)>, bool) {
    check(false, rows, thresholds, &Bounds::default())
}

#[test]
fn instances_come_by_falling_score_then_rising_anchor() {
    let rows = [
        row(10.0, 2.0, [0.6, 0.0], 1.0),
        row(20.0, 4.0, [0.9, 0.0], 1.0),
        row(30.0, 6.0, [0.6, 0.0], 1.0),
    ];
    assert_eq!(
        check_dense(&rows, &thresholds()).0,
        [(0, 0.9, 16), (0, 0.6, 8), (0, 0.6, 24)]
    );
}

#[test]
fn a_score_must_be_above_its_class_s_confidence_and_ties_go_to_the_lower_class() {
    let rows = [
        row(10.0, 2.0, [0.5, 0.5], 1.0),
        row(20.0, 2.0, [0.7, 0.7], 1.0),
        row(30.0, 2.0, [0.6, 0.8], 1.0),
        row(40.0, 2.0, [f32::NAN, 0.9], 1.0),
        row(50.0, 2.0, [f32::NAN, f32::NAN], 1.0),
    ];
    assert_eq!(
        check_dense(&rows, &thresholds()).0,
        [(1, 0.9, 8), (1, 0.8, 8), (0, 0.7, 8)]
    );
    let mut own = thresholds();
    own.class_confidence.insert(1, 0.85);
    assert_eq!(check_dense(&rows, &own).0, [(1, 0.9, 8), (0, 0.7, 8)]);
    // The third's best class is not asked for: its second best does not step in.
    let only = Thresholds {
        classes: vec![0],
        ..thresholds()
    };
    assert_eq!(check_dense(&rows, &only).0, [(0, 0.7, 8)]);
}

#[test]
fn boxes_that_are_no_boxes_and_empty_masks_are_dropped() {
    let rows = [
        row(10.0, 2.0, [0.9, 0.0], -1.0),
        row(20.0, 2.0, [0.9, 0.0], f32::NAN),
        row(30.0, 0.0, [0.9, 0.0], 1.0),
        row(30.0, -4.0, [0.9, 0.0], 1.0),
        row(f32::NAN, 2.0, [0.9, 0.0], 1.0),
        row(f32::INFINITY, 2.0, [0.9, 0.0], 1.0),
        row(40.0, f32::MAX, [0.9, 0.0], 1.0),
        row(-1e9, 2.0, [0.9, 0.0], 1.0),
    ];
    // A box of any height is cut to the frame.
    assert_eq!(check_dense(&rows, &thresholds()).0, [(0, 0.9, 4 * 64)]);
}

#[test]
fn every_bound_cuts_the_lowest_scores_and_says_so() {
    let rows: Vec<_> = [0.9, 0.8, 0.7]
        .into_iter()
        .zip([10.0, 20.0, 30.0])
        .map(|(score, x)| row(x, 2.0, [score, 0.0], 1.0))
        .collect();
    let bounds = Bounds::default();
    let all = vec![(0, 0.9, 8), (0, 0.8, 8), (0, 0.7, 8)];
    let two = |end_to_end: bool, rows: &[Vec<f32>]| {
        for (max_cells, bounds, expected) in [
            (
                3,
                Bounds {
                    max_candidates: 3,
                    max_mask_words: 6,
                    max_window_cells: 24,
                },
                (all.clone(), false),
            ),
            (2, bounds, (all[..2].to_vec(), true)),
            (
                9,
                Bounds {
                    max_candidates: 2,
                    ..bounds
                },
                (all[..2].to_vec(), true),
            ),
            (
                9,
                Bounds {
                    max_mask_words: 5,
                    ..bounds
                },
                (all[..2].to_vec(), true),
            ),
            (
                9,
                Bounds {
                    max_window_cells: 23,
                    ..bounds
                },
                (all[..2].to_vec(), true),
            ),
        ] {
            let thresholds = Thresholds {
                max_cells,
                ..thresholds()
            };
            assert_eq!(
                check(end_to_end, rows, &thresholds, &bounds),
                expected,
                "{max_cells} {bounds:?}"
            );
        }
    };
    two(false, &rows);
    let as_end_to_end =
        |row: &Vec<f32>| vec![row[0] - 2.0, 9.0, row[0] + 2.0, 11.0, row[4], 0.0, 1.0];
    two(true, &rows.iter().map(as_end_to_end).collect::<Vec<_>>());
}

#[test]
fn end_to_end_rows_are_not_suppressed_and_odd_classes_are_dropped() {
    let row = |score, class| vec![10.0, 10.0, 14.0, 12.0, score, class, 1.0];
    let rows = [
        row(0.8, 1.0),
        row(0.9, 1.0),
        row(0.9, 0.5),
        row(0.9, 2.0),
        row(0.9, -1.0),
        row(0.9, f32::NAN),
        row(0.9, f32::INFINITY),
        row(f32::NAN, 0.0),
        row(0.5, 0.0),
        vec![0.0; 7],
    ];
    let got = check(true, &rows, &thresholds(), &Bounds::default());
    assert_eq!(got, (vec![(1, 0.9, 8), (1, 0.8, 8)], false));
}
