//! Which cells are listed.

use super::{disjoint, edge::Area};
use crate::{
    mask::Mask,
    params::{BorderRule, Thresholds},
    segmentation::{Instance, Notice, NoticeCode, RawSegmentation, Segmentation},
};

/// What a frame's answer lists, where nobody needs the cells in between: [`disjoint`] over the whole frame, then [`hide`].
pub fn settle(
    raw: &RawSegmentation,
    thresholds: &Thresholds,
    pixel_size_um: Option<f64>,
) -> Segmentation {
    let mut segmentation = disjoint(raw, None);
    hide(&mut segmentation, None, thresholds, pixel_size_um);
    segmentation
}

/// Hides the cells that the border rule or the area filters ask for, counts them, and says what could not be done. A cell that both
/// would hide counts as removed at the border. Confluence stays what it was. `region` is that of [`disjoint`], `pixel_size_um` the
/// frame's.
pub fn hide(
    segmentation: &mut Segmentation,
    region: Option<&Mask>,
    thresholds: &Thresholds,
    pixel_size_um: Option<f64>,
) {
    let analysed = Area::new(segmentation.width, segmentation.height, region);
    let at_border = |cell: &Instance| match thresholds.border {
        BorderRule::Keep => false,
        BorderRule::Drop => cell.touches_border,
        BorderRule::Unbiased => {
            cell.touches_border && analysed.lower_right_edge_touches(&cell.mask)
        }
    };
    let n_accepted = segmentation.instances.len();
    segmentation.instances.retain(|cell| !at_border(cell));
    let n_inside = segmentation.instances.len();
    let areas = AreaFilter::new(thresholds, pixel_size_um);
    segmentation
        .instances
        .retain(|cell| areas.passes(cell.area));
    segmentation.removed_at_border += (n_accepted - n_inside) as u32;
    segmentation.removed_by_area += (n_inside - segmentation.instances.len()) as u32;

    if pixel_size_um.is_none()
        && (thresholds.min_area_um2.is_some() || thresholds.max_area_um2.is_some())
    {
        segmentation.notices.push(Notice {
            code: NoticeCode::NoPixelSize,
            message:
                "min_area_um2 and max_area_um2 are not applied: the frame has no pixel_size_um"
                    .to_owned(),
        });
    }
    if segmentation.truncated {
        segmentation.notices.push(Notice {
            code: NoticeCode::Truncated,
            message: format!(
                "cut at max_cells {} or at the server's bounds on candidates and masks: count and confluence are lower bounds",
                thresholds.max_cells
            ),
        });
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
    use super::{hide, settle};
    use crate::{
        decode::{
            disjoint,
            testing::{raw, thresholds},
        },
        mask::{Mask, Ring, region, testing::*},
        params::{BorderRule, Thresholds},
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
    fn border_rules_hide_cells_but_not_their_pixels() {
        let corners = |rule, region: Option<&Mask>| {
            let masks = [(3, 0), (0, 2), (7, 1), (4, 3), (4, 1)].map(|(x, y)| drawn(x, y, &["#"]));
            let mut cells = disjoint(&raw(masks.to_vec(), 8, 4), region);
            let thresholds = Thresholds {
                border: rule,
                // What a border hides is not counted twice.
                min_area_px: 2,
                ..thresholds()
            };
            hide(&mut cells, region, &thresholds, None);
            assert!(cells.instances.is_empty());
            (cells.removed_at_border, cells.removed_by_area)
        };
        assert_eq!(corners(BorderRule::Keep, None), (0, 5));
        assert_eq!(corners(BorderRule::Drop, None), (4, 1));
        assert_eq!(corners(BorderRule::Unbiased, None), (2, 3));
        // The frame as a region: the same edges.
        let whole = drawn(0, 0, &["########"; 4]);
        assert_eq!(corners(BorderRule::Drop, Some(&whole)), (4, 1));
        assert_eq!(corners(BorderRule::Unbiased, Some(&whole)), (2, 3));
        // Without its left column a cell is gone, and none is on the new left edge.
        let part = drawn(1, 0, &["#######"; 4]);
        assert_eq!(corners(BorderRule::Drop, Some(&part)), (3, 1));
    }

    /// Cells are thrown onto a plane far larger than the area; the mean number listed must be density times area. That is what
    /// makes a rule unbiased, and it is false of the other two.
    #[test]
    fn the_unbiased_rule_counts_what_the_density_says_whatever_the_outline() {
        let round: Vec<_> = (0..180)
            .map(|i| {
                let angle = f64::from(i).to_radians() * 2.0;
                let (x, y) = (48.0 + 30.0 * angle.cos(), 48.0 + 30.0 * angle.sin());
                (x.round() as i32, y.round() as i32)
            })
            .collect();
        let ring = Ring {
            corners: round,
            hole: false,
        };
        let round = region(&[ring], 96, 96).expect("inside the frame");
        let square = drawn(20, 24, &["#".repeat(56).as_str(); 48]);
        let disc = drawn(0, 0, &[".###.", "#####", "#####", "#####", ".###."]);
        for region in [&round, &square] {
            let mut listed = [0; 3];
            let n_cells = 90 * 90;
            // Every place once stands for any number of random ones: the mean over all is exact.
            for i in 0..n_cells {
                let (x, y) = (i % 90, i / 90);
                let mut mask = Mask::empty(x, y, 5, 5);
                (0..5).for_each(|row| disc.row_runs(row).for_each(|xs| mask.fill(row, xs)));
                let cells = disjoint(&raw(vec![mask], 96, 96), Some(region));
                for (listed, border) in listed.iter_mut().zip([
                    BorderRule::Keep,
                    BorderRule::Drop,
                    BorderRule::Unbiased,
                ]) {
                    let mut cells = cells.clone();
                    let thresholds = Thresholds {
                        border,
                        ..thresholds()
                    };
                    hide(&mut cells, Some(region), &thresholds, None);
                    *listed += cells.instances.len();
                }
            }
            // One cell a pixel is the density. A cell that ends on the last pixel is not told from one that goes on, so that the
            // area counts without its lower right pixels.
            let inside = |x, y| region.holds(y, x..x + 1) && region.holds(y + 1, x + 1..x + 2);
            let n_inside = (0..96 * 96).filter(|i| inside(i % 96, i / 96)).count();
            let expected = n_inside as f64;
            let [keep, drop, unbiased] = listed.map(|n| n as f64 / expected);
            assert!((unbiased - 1.0).abs() < 0.02, "{unbiased} of what is right");
            assert!(keep > 1.1 && drop < 0.9, "{keep}, {drop}");
        }
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
}
