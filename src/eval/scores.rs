//! Every figure, of some images and some classes.

use serde::Serialize;

use super::{
    average_precision::{IOUS, average_precision},
    compare::Compared,
    regions::{Aji, PanopticQuality},
};

/// How well the cells of some images are found. What cannot be said is absent: no precision without a found cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Labelled cells, without crowds.
    pub labelled: usize,
    /// Found cells.
    pub found: usize,
    /// At each bound on the IoU that was asked for.
    pub at: Vec<AtIou>,
    /// COCO's average precision at an IoU of 0.5; mean of the classes that are labelled.
    pub map50: Option<f64>,
    /// The mean of COCO's average precision at its ten bounds, 0.5 to 0.95.
    pub map50_95: Option<f64>,
    /// Of pairs with an IoU of at least 0.5.
    pub mean_iou: Option<f64>,
    /// Aggregated Jaccard index; mean of the images.
    pub aji: Option<f64>,
    /// Panoptic quality; mean of the classes, as the next two.
    pub pq: Option<f64>,
    /// Segmentation quality.
    pub sq: Option<f64>,
    /// Recognition quality.
    pub rq: Option<f64>,
}

/// Found cells at a bound on the IoU, over all images and classes together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AtIou {
    /// A pair has at least this IoU.
    pub iou: f64,
    /// Pairs.
    pub right: usize,
    /// Found cells without a labelled one.
    pub wrong: usize,
    /// Labelled cells without a found one.
    pub missed: usize,
    /// Of the found cells those that are right.
    pub precision: Option<f64>,
    /// Of the labelled cells those that are found.
    pub recall: Option<f64>,
    /// Harmonic mean of the two.
    pub f1: Option<f64>,
}

impl Scores {
    /// Of `images`, each with as many classes as the others, pairs judged at each of `ious`.
    pub fn of(images: &[&[Compared]], ious: &[f64]) -> Scores {
        let each = || images.iter().copied().flatten();
        let n_classes = images.first().map_or(0, |classes| classes.len());
        let of_class = |class: usize| images.iter().map(move |classes| &classes[class]);
        let map = |iou: f64| {
            mean((0..n_classes).filter_map(|class| average_precision(of_class(class), iou)))
        };
        let quality: Vec<PanopticQuality> = (0..n_classes)
            .map(|class| {
                let mut quality = PanopticQuality::default();
                of_class(class).for_each(|image| quality.add(image));
                quality
            })
            .collect();
        Scores {
            labelled: each().map(Compared::n_labelled).sum(),
            found: each().map(Compared::n_found).sum(),
            at: ious.iter().map(|&iou| AtIou::of(each(), iou)).collect(),
            map50: map(IOUS[0]),
            map50_95: mean(IOUS.into_iter().filter_map(map)),
            mean_iou: mean(
                each()
                    .flat_map(|image| image.matches(|iou| iou >= 0.5).pairs)
                    .map(|pair| pair.iou),
            ),
            aji: mean(images.iter().filter_map(|classes| aji(classes))),
            pq: mean(quality.iter().filter_map(PanopticQuality::value)),
            sq: mean(quality.iter().filter_map(PanopticQuality::segmentation)),
            rq: mean(quality.iter().filter_map(PanopticQuality::recognition)),
        }
    }
}

impl AtIou {
    fn of<'a>(images: impl Iterator<Item = &'a Compared>, iou: f64) -> AtIou {
        let (mut right, mut wrong, mut missed) = (0, 0, 0);
        for image in images {
            let matches = image.matches(|of_pair| of_pair >= iou);
            right += matches.pairs.len();
            wrong += matches.wrong.len();
            missed += matches.missed.len();
        }
        let ratio = |of: usize, all: usize| (all > 0).then(|| of as f64 / all as f64);
        AtIou {
            iou,
            right,
            wrong,
            missed,
            precision: ratio(right, right + wrong),
            recall: ratio(right, right + missed),
            f1: ratio(2 * right, 2 * right + wrong + missed),
        }
    }
}

/// Of one image.
fn aji(classes: &[Compared]) -> Option<f64> {
    let mut aji = Aji::default();
    classes.iter().for_each(|class| aji += Aji::of(class));
    aji.value()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0, 0.0), |(n, sum), value| (n + 1, sum + value));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn what_cannot_be_said_is_absent() {
        let scores = Scores::of(&[&[compared(&["...."], &[])]], &[0.5]);
        let at = scores.at[0];
        assert_eq!((at.precision, at.recall, at.f1), (None, None, None));
        assert_eq!(
            (scores.map50, scores.aji, scores.pq, scores.mean_iou),
            (None, None, None, None)
        );
        assert_eq!(Scores::of(&[], &[0.5]).labelled, 0);
    }

    #[test]
    fn a_class_without_labels_has_no_part_in_the_mean_of_classes() {
        let good = compared(&["aa.."], &[("xx..", 0.9)]);
        let only_found = compared(&["...."], &[("xx..", 0.9)]);
        let scores = Scores::of(&[&[good, only_found]], &[0.5, 0.75]);
        assert!((scores.map50.unwrap() - 1.0).abs() < 1e-9);
        // Panoptic quality counts what is found of it as wrong, and so does precision.
        assert_eq!((scores.pq, scores.at[1].precision), (Some(0.5), Some(0.5)));
    }
}
