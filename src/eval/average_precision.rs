//! COCO's average precision, as pycocotools' COCOeval computes it for masks of every area, with no bound on how many cells a
//! frame may have: COCO's own 100 would cut off what dense fields hold.

use super::compare::Compared;

/// COCO's ten bounds on the IoU: 0.5 to 0.95.
pub const IOUS: [f64; 10] = {
    // As numpy's linspace rounds them: an IoU that is exactly at a bound must fall on the same side.
    let step = (0.95 - 0.5) / 9.0;
    let mut ious = [0.95; 10];
    let mut i = 0;
    while i < 9 {
        ious[i] = i as f64 * step + 0.5;
        i += 1;
    }
    ious
};

/// COCO's bounds on the recall: 0, 0.01 .. 1.
const N_RECALLS: usize = 101;

/// A found cell among those of all images.
struct Hit {
    score: f32,
    is_right: bool,
}

/// The area under the curve of precision over recall, of one class over `images` at one bound on the IoU: 0..1. None where
/// nothing is labelled. Of equal scores the earlier image goes first.
pub fn average_precision<'a>(images: impl Iterator<Item = &'a Compared>, iou: f64) -> Option<f64> {
    let mut n_labelled = 0;
    let mut hits = Vec::new();
    for image in images {
        n_labelled += image.n_labelled();
        hits.extend(hits_of(image, iou));
    }
    if n_labelled == 0 {
        return None;
    }
    hits.sort_by(|a, b| b.score.total_cmp(&a.score));
    let (mut right, mut wrong) = (0.0, 0.0);
    let (mut recall, mut precision) = (Vec::new(), Vec::new());
    for hit in &hits {
        *if hit.is_right { &mut right } else { &mut wrong } += 1.0;
        recall.push(right / n_labelled as f64);
        precision.push(right / (wrong + right + f64::EPSILON));
    }
    // At each recall the best precision that is to be had at this recall or a higher one.
    for i in (1..precision.len()).rev() {
        precision[i - 1] = precision[i - 1].max(precision[i]);
    }
    let at = |bound: usize| {
        let bound = bound as f64 * (1.0 / (N_RECALLS - 1) as f64);
        let first = recall.partition_point(|&recall| recall < bound);
        precision.get(first).copied().unwrap_or(0.0)
    };
    Some((0..N_RECALLS).map(at).sum::<f64>() / N_RECALLS as f64)
}

/// Each found cell, by falling score, takes the labelled cell that it overlaps most of those not yet taken. Those that take a
/// crowd count neither way.
fn hits_of(image: &Compared, iou: f64) -> Vec<Hit> {
    let mut taken = vec![false; image.labelled.len()];
    let mut hits = Vec::with_capacity(image.found.len());
    let mut overlaps = image.overlaps.iter().peekable();
    for (i, cell) in image.found.iter().enumerate() {
        let mut best: Option<(usize, bool)> = None;
        let mut least = iou.min(1.0 - 1e-10);
        while let Some(overlap) = overlaps.next_if(|overlap| overlap.found == i) {
            let free = overlap.crowd || !taken[overlap.labelled];
            // Crowds come last and only matter where no cell was taken.
            let passed_over = overlap.crowd && matches!(best, Some((_, false)));
            if free && !passed_over && overlap.iou >= least {
                least = overlap.iou;
                best = Some((overlap.labelled, overlap.crowd));
            }
        }
        if let Some((labelled, false)) = best {
            taken[labelled] = true;
        }
        if !matches!(best, Some((_, true))) {
            hits.push(Hit {
                score: cell.score,
                is_right: best.is_some(),
            });
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn bounds_are_those_of_numpys_linspace() {
        // numpy.linspace(.5, .95, 10).
        let expected = [
            0.5,
            0.55,
            0.6,
            0.65,
            0.7,
            0.75,
            0.8,
            0.85,
            0.8999999999999999,
            0.95,
        ];
        assert_eq!(IOUS, expected);
    }

    #[test]
    fn precision_is_averaged_over_recall() {
        // Right, wrong, right: precision 1 up to recall 0.5, then 2/3.
        let image = compared(
            &["aa..bb"],
            &[("xx....", 0.9), ("...x..", 0.8), ("....xx", 0.7)],
        );
        let expected = (51.0 + 50.0 * 2.0 / 3.0) / 101.0;
        let ap = average_precision([&image].into_iter(), 0.5).unwrap();
        assert!((ap - expected).abs() < 1e-12, "{ap}");
    }

    #[test]
    fn nothing_labelled_has_no_precision_and_nothing_found_has_none_left() {
        let nothing = |labels: &str, found: &[(&str, f32)]| {
            average_precision([&compared(&[labels], found)].into_iter(), 0.5)
        };
        assert_eq!(nothing("....", &[("xx..", 0.9)]), None);
        assert_eq!(nothing("aa..", &[]), Some(0.0));
    }

    #[test]
    fn a_crowd_takes_what_no_cell_takes() {
        let image = compared(&["aabbbb"], &[("..xx..", 0.9), ("xx....", 0.8)]);
        let right = average_precision([&with_crowd(image.clone(), 1)].into_iter(), 0.5).unwrap();
        let wrong = average_precision([&image].into_iter(), 0.75).unwrap();
        assert!((right - 1.0).abs() < 1e-9 && wrong < 0.6, "{right} {wrong}");
    }
}
