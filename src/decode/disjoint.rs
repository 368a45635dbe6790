//! One truth about each cell.

use crate::{
    mask::{Mask, Occupied},
    params::Thresholds,
    segmentation::{Instance, Notice, NoticeCode, RawInstance, RawSegmentation, Segmentation},
};

/// Makes masks disjoint (the higher score keeps the pixel, then the earlier instance), keeps each one's largest 4-connected
/// piece with its holes, and hides what the area filters ask for. `pixel_size_um` is the frame's.
pub fn settle(
    raw: &RawSegmentation,
    thresholds: &Thresholds,
    pixel_size_um: Option<f64>,
) -> Segmentation {
    let mut instances = disjoint(raw);
    let n_pixels = f64::from(raw.width) * f64::from(raw.height);
    let covered: u64 = instances.iter().map(|cell| u64::from(cell.area)).sum();

    let n_accepted = instances.len();
    let filter = AreaFilter::new(thresholds, pixel_size_um);
    instances.retain(|cell| filter.passes(cell.area));

    let mut notices = raw.notices.clone();
    if pixel_size_um.is_none()
        && (thresholds.min_area_um2.is_some() || thresholds.max_area_um2.is_some())
    {
        notices.push(Notice {
            code: NoticeCode::NoPixelSize,
            message:
                "min_area_um2 and max_area_um2 are not applied: the frame has no pixel_size_um"
                    .to_owned(),
        });
    }
    if raw.truncated {
        notices.push(Notice {
            code: NoticeCode::Truncated,
            message: format!(
                "cut at max_cells {} or at the server's bounds on candidates and masks: count and confluence are lower bounds",
                thresholds.max_cells
            ),
        });
    }
    Segmentation {
        width: raw.width,
        height: raw.height,
        confluence: covered as f64 / n_pixels,
        removed_by_area: (n_accepted - instances.len()) as u32,
        instances,
        normalization: raw.normalization,
        truncated: raw.truncated,
        notices,
    }
}

/// The instances as decoded: they may overlap and be in pieces. Boxes are tight.
pub fn as_decoded(raw: &RawSegmentation) -> Vec<Instance> {
    let whole = |instance: &RawInstance| cell(raw, instance, instance.mask.trim());
    raw.instances.iter().map(whole).collect()
}

/// Every instance that keeps a pixel, in the order of their scores.
fn disjoint(raw: &RawSegmentation) -> Vec<Instance> {
    let mut occupied = Occupied::new(raw.width, raw.height);
    let settled = |instance: &RawInstance| {
        let mut mask = instance.mask.clone();
        occupied.claim(&mut mask);
        let cell = cell(raw, instance, mask.largest_piece());
        (cell.area > 0).then_some(cell)
    };
    raw.instances.iter().filter_map(settled).collect()
}

/// An instance with the tight `mask` that is left of its own.
fn cell(frame: &RawSegmentation, instance: &RawInstance, mask: Mask) -> Instance {
    Instance {
        class_index: instance.class_index,
        score: instance.score,
        detected_box: instance.detected_box,
        area: mask.area(),
        touches_border: mask.x() == 0
            || mask.y() == 0
            || mask.x() + mask.width() == frame.width
            || mask.y() + mask.height() == frame.height,
        mask,
    }
}

/// Areas that are shown, in pixels and, where a pixel's size is known, in square micrometres.
struct AreaFilter {
    min_px: u32,
    min_um2: f64,
    max_um2: f64,
    um2_per_px: f64,
}

impl AreaFilter {
    fn new(thresholds: &Thresholds, pixel_size_um: Option<f64>) -> Self {
        let um2 = |area: Option<f32>| area.filter(|_| pixel_size_um.is_some()).map(f64::from);
        AreaFilter {
            min_px: thresholds.min_area_px,
            min_um2: um2(thresholds.min_area_um2).unwrap_or(0.0),
            max_um2: um2(thresholds.max_area_um2).unwrap_or(f64::INFINITY),
            um2_per_px: pixel_size_um.unwrap_or(1.0).powi(2),
        }
    }

    fn passes(&self, area: u32) -> bool {
        let area_um2 = f64::from(area) * self.um2_per_px;
        self.min_px <= area && self.min_um2 <= area_um2 && area_um2 <= self.max_um2
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::settle;
    use crate::{
        decode::testing::{raw, thresholds},
        mask::{Mask, testing::*},
        params::Thresholds,
        segmentation::NoticeCode,
    };

    fn areas(
        masks: Vec<Mask>,
        thresholds: &Thresholds,
        pixel_size_um: Option<f64>,
    ) -> (Vec<u32>, u32) {
        let settled = settle(&raw(masks, 8, 4), thresholds, pixel_size_um);
        (
            settled.instances.iter().map(|cell| cell.area).collect(),
            settled.removed_by_area,
        )
    }

    #[test]
    fn the_higher_score_keeps_the_pixel_and_what_is_cut_off_goes() {
        let bar = drawn(3, 0, &["#", "#", "#", "#"]);
        let across = drawn(1, 1, &["#####"]);
        let settled = settle(
            &raw(vec![bar.clone(), across, bar.clone()], 8, 4),
            &thresholds(),
            None,
        );
        let masks: Vec<_> = settled
            .instances
            .iter()
            .map(|cell| cell.mask.clone())
            .collect();
        assert_eq!(masks, [bar, drawn(1, 1, &["##"])]);
        assert_eq!(settled.confluence, 6.0 / 32.0);
        assert_eq!(settled.removed_by_area, 0);
    }

    #[test]
    fn area_filters_hide_cells_but_not_their_pixels() {
        let masks = || {
            vec![
                drawn(0, 0, &["##", "##"]),
                drawn(4, 0, &["#"]),
                drawn(4, 2, &["##"]),
            ]
        };
        let px = Thresholds {
            min_area_px: 2,
            ..thresholds()
        };
        assert_eq!(areas(masks(), &px, None), (vec![4, 2], 1));
        assert_eq!(
            settle(&raw(masks(), 8, 4), &px, None).confluence,
            7.0 / 32.0
        );
        let um2 = Thresholds {
            min_area_um2: Some(0.5),
            max_area_um2: Some(0.75),
            ..thresholds()
        };
        assert_eq!(areas(masks(), &um2, Some(0.5)), (vec![2], 2));
    }

    #[test]
    fn without_a_pixel_size_micrometres_are_not_applied_and_a_notice_says_so() {
        let um2 = Thresholds {
            min_area_um2: Some(100.0),
            ..thresholds()
        };
        let settled = settle(&raw(vec![drawn(0, 0, &["#"])], 8, 4), &um2, None);
        assert_eq!(settled.instances.len(), 1);
        assert_eq!(settled.notices[0].code, NoticeCode::NoPixelSize);
    }

    #[test]
    fn a_cut_answer_says_so() {
        let mut raw = raw(vec![], 8, 4);
        raw.truncated = true;
        let settled = settle(&raw, &thresholds(), None);
        assert!(settled.truncated);
        assert_eq!(settled.notices[0].code, NoticeCode::Truncated);
    }

    #[test]
    fn cells_on_any_edge_touch_the_border() {
        for (x, y, touches) in [
            (1, 1, false),
            (0, 1, true),
            (1, 0, true),
            (7, 1, true),
            (1, 3, true),
        ] {
            let settled = settle(&raw(vec![drawn(x, y, &["#"])], 8, 4), &thresholds(), None);
            assert_eq!(settled.instances[0].touches_border, touches, "({x}, {y})");
        }
    }

    proptest! {
        #[test]
        fn settled_masks_are_disjoint_connected_tight_and_inside_their_raw_mask(
            noise in prop::collection::vec(any_mask(40), 1..6),
        ) {
            let (width, height) = noise.iter().fold((0, 0), |(w, h), (_, mw, mh)| (w.max(*mw), h.max(*mh)));
            let masks: Vec<_> = noise.into_iter().map(|(mask, _, _)| mask).collect();
            let mut raw = raw(masks, width, height);
            (0..).zip(&mut raw.instances).for_each(|(i, instance)| instance.class_index = i);
            let mut taken = vec![false; (width * height) as usize];
            for cell in &settle(&raw, &thresholds(), None).instances {
                prop_assert_eq!(&cell.mask.largest_piece(), &cell.mask);
                prop_assert_eq!(cell.area, cell.mask.area());
                prop_assert!(cell.area > 0);
                let own = frame_pixels(&raw.instances[cell.class_index as usize].mask, width, height);
                for (i, pixel) in frame_pixels(&cell.mask, width, height).into_iter().enumerate() {
                    prop_assert!(!pixel || own[i] && !taken[i]);
                    taken[i] |= pixel;
                }
            }
        }
    }
}
