//! Masks at camera resolution, inside each box.
//!
//! A mask's logit is linear in the prototypes, so coefficients are applied to prototype cells first and the few logits of the
//! box's window are interpolated after: far less work than a dot product a pixel.
//!
//! Sampling inverts the letterbox exactly: the prototype grid spans the whole network input, the padding is cropped off (taps are
//! clamped to the cells that the scaled frame covers, as a resize of the cropped grid would), and pixel centres are at halves.

use crate::{
    geometry::{BoxF, Letterbox},
    mask::Mask,
    model::HeadShape,
};

/// Computes masks; keeps its buffers from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Painter {
    taps_x: Vec<Tap>,
    taps_y: Vec<Tap>,
    /// Cells of a prototype's row and of a whole prototype.
    row_cells: usize,
    plane_cells: usize,
    /// Logits of the window's cells.
    logits: Vec<f32>,
    /// The window's rows at camera resolution.
    wide: Vec<f32>,
}

/// The two cells of one axis between whose centres a camera pixel's centre lies, and their weights.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    low: u32,
    high: u32,
    weight_low: f32,
    weight_high: f32,
}

/// How the camera's pixels of one axis lie on the prototype's cells: computed in f64, rounded once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct MaskAxis {
    /// Cells per camera pixel.
    pub scale: f32,
    /// Where the frame's edge lies, in cell centres.
    pub offset: f32,
    /// The first cell that the scaled frame touches.
    pub first: f32,
    /// The last one.
    pub last: f32,
}

/// One axis of the letterbox, and the prototype cells along it.
struct Axis {
    cam: u32,
    new: u32,
    before: u32,
    input: u32,
    cells: usize,
}

/// The pixels (x, y) with `x0 <= x < x1` and `y0 <= y < y1`, none set.
pub(super) fn blank(box_cam: BoxF) -> Mask {
    let first = |edge: f32| edge.ceil() as u32;
    let (x, y) = (first(box_cam.x0), first(box_cam.y0));
    Mask::empty(x, y, first(box_cam.x1) - x, first(box_cam.y1) - y)
}

impl Painter {
    /// Makes ready for a frame.
    pub(super) fn prepare(&mut self, letterbox: &Letterbox, shape: &HeadShape) {
        let l = letterbox;
        let [x, y] = MaskAxis::of(l, shape);
        self.taps_x.clear();
        self.taps_x.extend(x.taps(l.width_cam));
        self.taps_y.clear();
        self.taps_y.extend(y.taps(l.height_cam));
        self.row_cells = shape.prototype_width;
        self.plane_cells = shape.prototype_width * shape.prototype_height;
    }

    /// Prototype cells between the first and the last that pixels of `mask`, one of the frame, are made of.
    pub(super) fn window_cells(&self, mask: &Mask) -> usize {
        let cells = |taps: &[Tap], start: u32, length: u32| {
            let taps = &taps[start as usize..][..length as usize];
            match (taps.first(), taps.last()) {
                (Some(first), Some(last)) => (last.high - first.low) as usize + 1,
                _ => 0,
            }
        };
        cells(&self.taps_x, mask.x(), mask.width()) * cells(&self.taps_y, mask.y(), mask.height())
    }

    /// Sets the pixels of `mask`, a blank one of the frame, whose logit is above zero.
    pub(super) fn paint(&mut self, prototypes: &[f32], coefficients: &[f32], mask: &mut Mask) {
        let (x, y) = (mask.x() as usize, mask.y() as usize);
        let taps_x = &self.taps_x[x..x + mask.width() as usize];
        let taps_y = &self.taps_y[y..y + mask.height() as usize];
        let (Some(left), Some(right), Some(top), Some(bottom)) =
            (taps_x.first(), taps_x.last(), taps_y.first(), taps_y.last())
        else {
            return;
        };
        // Whole groups of columns: the inner loops then have no remainder, where a row has none.
        let first_column = left.low as usize / GROUP * GROUP;
        let end_column = (right.high as usize + 1)
            .next_multiple_of(GROUP)
            .min(self.row_cells);
        let n_columns = end_column - first_column;
        let rows = top.low as usize..bottom.high as usize + 1;

        self.logits.clear();
        self.logits.resize(n_columns * rows.len(), 0.0);
        let first_cell = rows.start * self.row_cells + first_column;
        for (prototype, &coefficient) in prototypes.chunks_exact(self.plane_cells).zip(coefficients)
        {
            let prototype_rows = prototype[first_cell..].chunks(self.row_cells);
            for (logits, cells) in self.logits.chunks_exact_mut(n_columns).zip(prototype_rows) {
                for (logit, cell) in logits.iter_mut().zip(cells) {
                    *logit += coefficient * cell;
                }
            }
        }

        let wide_columns = mask.row_words() * 32;
        self.wide.clear();
        self.wide.resize(wide_columns * rows.len(), 0.0);
        for (logits, wide) in self
            .logits
            .chunks_exact(n_columns)
            .zip(self.wide.chunks_exact_mut(wide_columns))
        {
            for (wide, tap) in wide.iter_mut().zip(taps_x) {
                let (low, high) = (
                    tap.low as usize - first_column,
                    tap.high as usize - first_column,
                );
                *wide = logits[low] * tap.weight_low + logits[high] * tap.weight_high;
            }
        }

        for (row, tap) in (0..).zip(taps_y) {
            let wide_row = |cell: u32| {
                &self.wide[(cell as usize - rows.start) * wide_columns..][..wide_columns]
            };
            let (low, _) = wide_row(tap.low).as_chunks();
            let (high, _) = wide_row(tap.high).as_chunks();
            for (word, (low, high)) in mask.row_mut(row).iter_mut().zip(low.iter().zip(high)) {
                *word = above_zero(low, high, tap);
            }
        }
    }
}

/// Prototype columns taken together.
const GROUP: usize = 8;

/// Bit i: whether the logit between `low[i]` and `high[i]` is above zero.
fn above_zero(low: &[f32; 32], high: &[f32; 32], tap: &Tap) -> u32 {
    let mut word = 0;
    for i in 0..32 {
        let logit = low[i] * tap.weight_low + high[i] * tap.weight_high;
        word |= u32::from(logit > 0.0) << i;
    }
    word
}

impl MaskAxis {
    /// Horizontally and vertically.
    pub(crate) fn of(letterbox: &Letterbox, shape: &HeadShape) -> [MaskAxis; 2] {
        let l = letterbox;
        [
            Axis {
                cam: l.width_cam,
                new: l.width_new,
                before: l.left,
                input: l.width_in,
                cells: shape.prototype_width,
            },
            Axis {
                cam: l.height_cam,
                new: l.height_new,
                before: l.top,
                input: l.height_in,
                cells: shape.prototype_height,
            },
        ]
        .map(|axis| MaskAxis::new(&axis))
    }

    fn new(axis: &Axis) -> Self {
        let cells_per_input = axis.cells as f64 / f64::from(axis.input);
        MaskAxis {
            scale: (f64::from(axis.new) / f64::from(axis.cam) * cells_per_input) as f32,
            offset: (f64::from(axis.before) * cells_per_input - 0.5) as f32,
            first: (f64::from(axis.before) * cells_per_input).floor() as f32,
            last: (f64::from(axis.before + axis.new) * cells_per_input).ceil() as f32 - 1.0,
        }
    }

    /// The tap of every one of the axis's camera pixels.
    fn taps(self, n_cam: u32) -> impl Iterator<Item = Tap> {
        (0..n_cam).map(move |pixel| {
            let centre = (pixel as f32 + 0.5) * self.scale + self.offset;
            let centre = centre.max(self.first).min(self.last);
            let low = centre as u32;
            let weight_high = centre - low as f32;
            Tap {
                low,
                high: (low + 1).min(self.last as u32),
                weight_low: 1.0 - weight_high,
                weight_high,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Axis, MaskAxis, Painter, Tap, blank};
    use crate::{
        geometry::{BoxF, Letterbox},
        model::HeadShape,
    };

    #[test]
    fn a_pixel_belongs_to_a_box_by_its_own_coordinate() {
        for (edges, expected) in [
            ((2.0, 5.0), (2, 3)),
            ((2.1, 5.1), (3, 3)),
            ((2.9, 3.0), (3, 0)),
            ((0.0, 0.2), (0, 1)),
        ] {
            let (x0, x1) = edges;
            let mask = blank(BoxF {
                x0,
                y0: x0,
                x1,
                y1: x1,
            });
            assert_eq!((mask.x(), mask.width()), expected, "{edges:?}");
            assert_eq!((mask.y(), mask.height()), expected, "{edges:?}");
        }
    }

    #[test]
    fn taps_invert_the_letterbox_and_stay_off_the_padding() {
        // 8 camera pixels on 4 input pixels from the third on, cells of 2 input pixels: cells 1 and 2 are the frame's.
        let axis = Axis {
            cam: 8,
            new: 4,
            before: 2,
            input: 8,
            cells: 4,
        };
        let got: Vec<Tap> = MaskAxis::new(&axis).taps(axis.cam).collect();
        // Centres, in cells: 0.625, 0.875, 1.125, ... less the clamping.
        let expected = [
            (1, 0.0),
            (1, 0.0),
            (1, 0.125),
            (1, 0.375),
            (1, 0.625),
            (1, 0.875),
            (2, 0.0),
            (2, 0.0),
        ];
        for (pixel, (tap, (low, weight_high))) in got.iter().zip(expected).enumerate() {
            assert_eq!(
                (tap.low, tap.high, tap.weight_high),
                (low, 2, weight_high),
                "pixel {pixel}"
            );
            assert_eq!(tap.weight_low, 1.0 - weight_high);
        }
    }

    fn naive(
        prototypes: &[f32],
        coefficients: &[f32],
        shape: &HeadShape,
        tap_x: Tap,
        tap_y: Tap,
    ) -> bool {
        let (w, h) = (shape.prototype_width, shape.prototype_height);
        let logit = |x: u32, y: u32| {
            let cell = y as usize * w + x as usize;
            coefficients
                .iter()
                .enumerate()
                .fold(0.0, |sum, (i, coefficient)| {
                    sum + coefficient * prototypes[i * w * h + cell]
                })
        };
        let across = |y: u32| {
            logit(tap_x.low, y) * tap_x.weight_low + logit(tap_x.high, y) * tap_x.weight_high
        };
        across(tap_y.low) * tap_y.weight_low + across(tap_y.high) * tap_y.weight_high > 0.0
    }

    proptest! {
        #[test]
        fn painting_equals_the_plain_definition_bit_for_bit(
            cam in (1u32..90, 1u32..90),
            cells in (2u32..30, 2u32..30),
            noise in prop::collection::vec(-1.0f32..1.0, 3 * 30 * 30 + 3),
            corners in (0.0f32..1.0, 0.0f32..1.0, 0.0f32..1.0, 0.0f32..1.0),
        ) {
            let letterbox = Letterbox::new(cam, (cells.0 * 4, cells.1 * 4));
            let shape = HeadShape {
                classes: 1,
                coefficients: 3,
                anchors: 1,
                prototype_width: cells.0 as usize,
                prototype_height: cells.1 as usize,
            };
            let (coefficients, prototypes) = noise.split_at(3);
            let prototypes = &prototypes[..3 * shape.prototype_width * shape.prototype_height];
            let (a, b, c, d) = corners;
            let (w, h) = (cam.0 as f32, cam.1 as f32);
            let mut mask = blank(BoxF { x0: a.min(b) * w, x1: a.max(b) * w, y0: c.min(d) * h, y1: c.max(d) * h });
            let mut painter = Painter::default();
            painter.prepare(&letterbox, &shape);
            painter.paint(prototypes, coefficients, &mut mask);
            for y in 0..mask.height() {
                for x in 0..mask.row_words() as u32 * 32 {
                    let (cam_x, cam_y) = ((mask.x() + x) as usize, (mask.y() + y) as usize);
                    let expected = x < mask.width()
                        && naive(prototypes, coefficients, &shape, painter.taps_x[cam_x], painter.taps_y[cam_y]);
                    let got = mask.row(y)[x as usize / 32] >> (x % 32) & 1 == 1;
                    prop_assert_eq!(got, expected, "pixel ({}, {})", x, y);
                }
            }
        }
    }
}
