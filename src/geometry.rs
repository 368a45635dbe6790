//! Camera pixels and input pixels, and the way between them.
//!
//! `_cam` is the camera's frame, `_in` the network's input; both in pixel edges: pixel i covers `[i, i + 1)`.

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
    pub fn new((width_cam, height_cam): (u32, u32), (width_in, height_in): (u32, u32)) -> Self {
        let ratio = (f64::from(height_in) / f64::from(height_cam))
            .min(f64::from(width_in) / f64::from(width_cam));
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
