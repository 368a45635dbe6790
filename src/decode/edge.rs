//! The edge of the analysed area.

use crate::mask::Mask;

/// What is analysed of a frame.
pub(super) struct Area<'a> {
    width: u32,
    height: u32,
    /// None: the whole frame.
    region: Option<&'a Mask>,
}

impl<'a> Area<'a> {
    pub(super) fn new(width: u32, height: u32, region: Option<&'a Mask>) -> Self {
        Area {
            width,
            height,
            region,
        }
    }

    pub(super) fn n_pixels(&self) -> u64 {
        match self.region {
            Some(region) => u64::from(region.area()),
            None => u64::from(self.width) * u64::from(self.height),
        }
    }

    /// Whether a pixel of `cell`, which is tight and lies in the area, has one of its four neighbours outside.
    pub(super) fn edge_touches(&self, cell: &Mask) -> bool {
        let Some(region) = self.region else {
            return cell.x() == 0
                || cell.y() == 0
                || cell.x() + cell.width() == self.width
                || cell.y() + cell.height() == self.height;
        };
        runs(cell).any(|(y, start, end)| {
            !region.holds(y, start - 1..end + 1)
                || !region.holds(y - 1, start..end)
                || !region.holds(y + 1, start..end)
        })
    }

    /// Whether a pixel of `cell`, which is tight and lies in the area, has its lower right neighbour outside: one pixel right and
    /// one down.
    ///
    /// For a frame or another upright rectangle those are the cells on its right and bottom edges, as in Gundersen's unbiased
    /// counting frame (1977, J. Microsc. 111:219). On any other outline it is the half that faces the lower right, so that a cell
    /// across the edge counts if the point of it farthest to the lower right lies inside: each point of a plane belongs to one side, whatever
    /// the outline, and a cell has one such point. A rule by the right or the lower neighbour would hide along three quarters of a
    /// circle. A cell that ends on the last pixel is not told from one that goes on: the counting area is narrower by a pixel.
    pub(super) fn lower_right_edge_touches(&self, cell: &Mask) -> bool {
        let Some(region) = self.region else {
            return cell.x() + cell.width() == self.width
                || cell.y() + cell.height() == self.height;
        };
        runs(cell).any(|(y, start, end)| !region.holds(y + 1, start + 1..end + 1))
    }
}

/// Its runs in the frame's coordinates: row, first pixel, end.
fn runs(cell: &Mask) -> impl Iterator<Item = (i64, i64, i64)> {
    (0..cell.height()).flat_map(move |row| {
        let (x, y) = (i64::from(cell.x()), i64::from(cell.y() + row));
        cell.row_runs(row)
            .map(move |xs| (y, x + i64::from(xs.start), x + i64::from(xs.end)))
    })
}
