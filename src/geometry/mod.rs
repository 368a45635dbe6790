//! Camera pixels and input pixels, and the way between them.
//!
//! `_cam` is the camera's frame, `_in` the network's input; both in pixel edges: pixel i covers `[i, i + 1)`.

mod tiles;

pub use tiles::{Tile, TooManyTiles, tiles};

/// Scale and pad: how a frame lies in the network's input. The same numbers as ultralytics' LetterBox: they define what a
/// YOLO-seg model was trained to see.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letterbox {
    /// Frame, pixels.
    pub width_cam: u32,
    /// Frame, pixels.
    pub height_cam: u32,
    /// Network's input, pixels.
    pub width_in: u32,
    /// Network's input, pixels.
    pub height_in: u32,
    /// The scaled frame inside the input, pixels.
    pub width_new: u32,
    /// The scaled frame inside the input, pixels.
    pub height_new: u32,
    /// Padding before the scaled frame, pixels.
    pub left: u32,
    /// Padding above the scaled frame, pixels.
    pub top: u32,
}

/// A rectangle in pixel edges, half open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BoxF {
    /// Left.
    pub x0: f32,
    /// Top.
    pub y0: f32,
    /// Right.
    pub x1: f32,
    /// Bottom.
    pub y1: f32,
}

impl Letterbox {
    /// The frame scaled as large as fits, centred. `r = min(H/h, W/w)`; sides rounded half to even, at least 1.
    pub fn new(cam: (u32, u32), input: (u32, u32)) -> Self {
        Self::at_most(cam, input, None)
    }

    /// The same, but no more than `largest` input pixels a camera pixel: a smaller frame is padded rather than enlarged.
    pub fn at_most(
        (width_cam, height_cam): (u32, u32),
        (width_in, height_in): (u32, u32),
        largest: Option<f64>,
    ) -> Self {
        let ratio = (f64::from(height_in) / f64::from(height_cam))
            .min(f64::from(width_in) / f64::from(width_cam))
            .min(largest.unwrap_or(f64::INFINITY));
        let side = |cam: u32, most: u32| {
            ((f64::from(cam) * ratio).round_ties_even().max(1.0) as u32).min(most)
        };
        let (width_new, height_new) = (side(width_cam, width_in), side(height_cam, height_in));
        // Half a pixel of padding goes to the right and to the bottom.
        let before = |new: u32, all: u32| {
            (f64::from(all - new) / 2.0 - 0.1)
                .round_ties_even()
                .max(0.0) as u32
        };
        Letterbox {
            width_cam,
            height_cam,
            width_in,
            height_in,
            width_new,
            height_new,
            left: before(width_new, width_in),
            top: before(height_new, height_in),
        }
    }

    /// Input pixels per camera pixel, horizontally and vertically: exact, from the rounded sizes.
    pub fn scale(&self) -> (f64, f64) {
        (
            f64::from(self.width_new) / f64::from(self.width_cam),
            f64::from(self.height_new) / f64::from(self.height_cam),
        )
    }

    /// A box of the input in camera pixels, clipped to the frame.
    pub fn to_cam(&self, b: BoxF) -> BoxF {
        let (scale_x, scale_y) = self.scale();
        let x = |v: f32| {
            ((f64::from(v) - f64::from(self.left)) / scale_x).clamp(0.0, f64::from(self.width_cam))
                as f32
        };
        let y = |v: f32| {
            ((f64::from(v) - f64::from(self.top)) / scale_y).clamp(0.0, f64::from(self.height_cam))
                as f32
        };
        BoxF {
            x0: x(b.x0),
            y0: y(b.y0),
            x1: x(b.x1),
            y1: y(b.y1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BoxF, Letterbox};

    #[test]
    fn frames_lie_where_the_letterbox_rule_puts_them() {
        // Worked by hand: r = min(H/h, W/w); new = max(round(side * r), 1), half to even; left, top = round((target - new) / 2 - 0.1).
        for ((cam, input), (new, left_top)) in [
            // 638.75 rounds to 639; the one row of padding goes below.
            (((1024, 1022), (640, 640)), ((640, 639), (0, 0))),
            (((640, 480), (640, 640)), ((640, 480), (0, 80))),
            (((2048, 2048), (640, 640)), ((640, 640), (0, 0))),
            // 479.54 rounds to 480.
            (((1388, 1040), (640, 640)), ((640, 480), (0, 80))),
            // Scaled up by 1.92: 147.99 rounds to 148.
            (((333, 77), (640, 640)), ((640, 148), (0, 246))),
            // 3.2 rounds to 3; of 637 columns of padding 318 go to the left.
            (((5, 1000), (640, 640)), ((3, 640), (318, 0))),
            // 2.5 and 3.5 round to even.
            (((1280, 5), (640, 640)), ((640, 2), (0, 319))),
            (((1280, 7), (640, 640)), ((640, 4), (0, 318))),
            // 0.5 would round to nothing.
            (((1280, 1), (640, 640)), ((640, 1), (0, 319))),
            (((1, 1), (320, 320)), ((320, 320), (0, 0))),
            // An input that is not square: r = min(384/1022, 640/1024); 384.75 rounds to 385, 127.5 to 127.
            (((1024, 1022), (640, 384)), ((385, 384), (127, 0))),
        ] {
            let l = Letterbox::new(cam, input);
            let got = ((l.width_new, l.height_new), (l.left, l.top));
            assert_eq!(got, (new, left_top), "{cam:?} to {input:?}");
        }
    }

    #[test]
    fn a_frame_smaller_than_the_input_is_padded_where_it_may_not_be_enlarged() {
        for (cam, largest, new, left_top) in [
            ((100, 60), 1.0, (100, 60), (270, 290)),
            ((100, 60), 1.5, (150, 90), (245, 275)),
            // It would have to be shrunk all the same.
            ((1280, 60), 1.0, (640, 30), (0, 305)),
        ] {
            let l = Letterbox::at_most(cam, (640, 640), Some(largest));
            let got = ((l.width_new, l.height_new), (l.left, l.top));
            assert_eq!(got, (new, left_top), "{cam:?} at {largest}");
        }
    }

    #[test]
    fn boxes_come_back_to_camera_pixels_and_stay_in_the_frame() {
        let letterbox = Letterbox::new((1280, 960), (640, 640));
        let to_cam = |x0, y0, x1, y1| letterbox.to_cam(BoxF { x0, y0, x1, y1 });
        let frame = BoxF {
            x0: 0.0,
            y0: 0.0,
            x1: 1280.0,
            y1: 960.0,
        };
        assert_eq!(to_cam(0.0, 80.0, 640.0, 560.0), frame);
        assert_eq!(to_cam(-5.0, 0.0, 1e30, 640.0), frame);
        assert_eq!(
            to_cam(10.0, 90.5, 20.25, 100.0),
            BoxF {
                x0: 20.0,
                y0: 21.0,
                x1: 40.5,
                y1: 40.0
            }
        );
    }
}
