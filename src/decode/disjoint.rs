//! One truth about each cell.

use super::edge::Area;
use crate::{
    mask::{Mask, Occupied},
    segmentation::{Instance, RawInstance, RawSegmentation, Segmentation},
};

/// Makes masks disjoint (the higher score keeps the pixel, then the earlier instance), cuts them at the edge of `region`, and keeps
/// each one's largest 4-connected piece with its holes. Nothing is hidden yet: who measures and tracks sees every cell;
/// [`hide`](super::hide) comes last. `region` is the analysed area, inside the frame; none: the whole frame.
pub fn disjoint(raw: &RawSegmentation, region: Option<&Mask>) -> Segmentation {
    let area = Area::new(raw.width, raw.height, region);
    let mut occupied = match region {
        Some(region) => Occupied::outside(region, raw.width, raw.height),
        None => Occupied::new(raw.width, raw.height),
    };
    let settled = |instance: &RawInstance| {
        let mut mask = instance.mask.clone();
        occupied.claim(&mut mask);
        let cell = cell(&area, instance, mask.largest_piece());
        (cell.area > 0).then_some(cell)
    };
    let instances: Vec<Instance> = raw.instances.iter().filter_map(settled).collect();
    let covered: u64 = instances.iter().map(|cell| u64::from(cell.area)).sum();
    let analysed_px = area.n_pixels();
    Segmentation {
        width: raw.width,
        height: raw.height,
        instances,
        confluence: covered as f64 / analysed_px as f64,
        analysed_px,
        removed_by_area: 0,
        removed_at_border: 0,
        neighbourhood: None,
        drift_px: None,
        growth: None,
        normalization: raw.normalization,
        truncated: raw.truncated,
        notices: raw.notices.clone(),
    }
}

/// The instances as decoded: they may overlap, be in pieces and lie outside a region. Boxes are tight.
pub fn as_decoded(raw: &RawSegmentation) -> Vec<Instance> {
    let frame = Area::new(raw.width, raw.height, None);
    let whole = |instance: &RawInstance| cell(&frame, instance, instance.mask.trim());
    raw.instances.iter().map(whole).collect()
}

/// An instance with the tight `mask` that is left of its own.
fn cell(analysed: &Area, instance: &RawInstance, mask: Mask) -> Instance {
    Instance {
        class_index: instance.class_index,
        score: instance.score,
        detected_box: instance.detected_box,
        area: mask.area(),
        touches_border: analysed.edge_touches(&mask),
        mask,
        measures: None,
        track: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::disjoint;
    use crate::{decode::testing::raw, mask::testing::*};

    #[test]
    fn the_higher_score_keeps_the_pixel_and_what_is_cut_off_goes() {
        let bar = drawn(3, 0, &["#", "#", "#", "#"]);
        let across = drawn(1, 1, &["#####"]);
        let settled = disjoint(&raw(vec![bar.clone(), across, bar.clone()], 8, 4), None);
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
    fn a_region_cuts_cells_and_its_edge_is_a_border() {
        let region = drawn(2, 1, &["######", "######", "######"]);
        let raw = raw(
            vec![
                // Cut to its right half.
                drawn(0, 1, &["####"]),
                // The piece inside the region is the smaller one.
                drawn(4, 0, &["###", "..#", "..."]),
                // Wholly outside.
                drawn(0, 4, &["##"]),
                // In the middle.
                drawn(5, 2, &["#"]),
            ],
            10,
            6,
        );
        let cells = disjoint(&raw, Some(&region));
        let got: Vec<_> = cells
            .instances
            .iter()
            .map(|cell| (cell.mask.clone(), cell.touches_border))
            .collect();
        let expected = [
            (drawn(2, 1, &["##"]), true),
            (drawn(6, 1, &["#"]), true),
            (drawn(5, 2, &["#"]), false),
        ];
        assert_eq!(got, expected);
        assert_eq!((cells.analysed_px, cells.confluence), (18, 4.0 / 18.0));
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
            let settled = disjoint(&raw(vec![drawn(x, y, &["#"])], 8, 4), None);
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
            for cell in &disjoint(&raw, None).instances {
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
