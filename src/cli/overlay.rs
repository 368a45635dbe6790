//! The frame as the network saw it, with each cell's outline: for eyes, not for measuring.

use std::array::from_fn;

use image::{Rgb, RgbImage};

use crate::{
    frame::{Frame, PixelFormat},
    mask::{LabelImage, label_image},
    segmentation::{AppliedNormalization, Segmentation},
};

/// Of the fill; the frame's texture must stay visible.
const FILL: f32 = 0.18;
/// Frames from this side on are looked at shrunk: a thin outline would vanish.
const WIDE_OUTLINE_FROM: u32 = 512;
/// Consecutive labels get hues that are far apart.
const GOLDEN_ANGLE: f32 = 137.507_77;

/// Draws it, at the frame's own size.
pub(super) fn draw(frame: &Frame, segmentation: &Segmentation) -> RgbImage {
    let (width, height) = (frame.width(), frame.height());
    let mut image = stretched(frame, &segmentation.normalization);
    let labels = labels(segmentation);
    let label = |x: u32, y: u32| labels[y as usize * width as usize + x as usize];
    let reach = if width.min(height) < WIDE_OUTLINE_FROM {
        1
    } else {
        2
    };
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let own = label(x, y);
        if own == 0 {
            continue;
        }
        // A cell is open where the frame cuts it: beyond the edge lies nothing that it ends at.
        let ends = |x: Option<u32>, y: Option<u32>| matches!((x, y), (Some(x), Some(y)) if x < width && y < height && label(x, y) != own);
        let outline = (1..=reach).any(|d| {
            ends(x.checked_sub(d), Some(y))
                || ends(Some(x + d), Some(y))
                || ends(Some(x), y.checked_sub(d))
                || ends(Some(x), Some(y + d))
        });
        let colour = colour(own);
        *pixel = match outline {
            true => Rgb(colour),
            false => Rgb(from_fn(|i| mix(pixel.0[i], colour[i]))),
        };
    }
    image
}

fn labels(segmentation: &Segmentation) -> Vec<u32> {
    let masks = segmentation.instances.iter().map(|instance| &instance.mask);
    match label_image(masks, segmentation.width, segmentation.height) {
        LabelImage::U16(labels) => labels.into_iter().map(u32::from).collect(),
        LabelImage::U32(labels) => labels,
    }
}

/// 8 bits a channel, by the normalisation that the network got.
fn stretched(frame: &Frame, normalization: &AppliedNormalization) -> RgbImage {
    let AppliedNormalization { low, high, .. } = *normalization;
    let byte = |count: u32| {
        let unit = (f64::from(count) - low) / (high - low);
        (unit.clamp(0.0, 1.0) * 255.0).round() as u8
    };
    RgbImage::from_fn(frame.width(), frame.height(), |x, y| {
        Rgb(counts(frame, x, y).map(byte))
    })
}

/// Red, green, blue; camera counts.
fn counts(frame: &Frame, x: u32, y: u32) -> [u32; 3] {
    use PixelFormat::*;
    let n = frame.format().bytes_per_pixel();
    let pixel = &frame.row(y)[x as usize * n..][..n];
    let rgb = match frame.format() {
        Mono8 => [pixel[0]; 3],
        Mono10 | Mono12 | Mono14 | Mono16 => {
            return [u32::from(u16::from_le_bytes([pixel[0], pixel[1]])); 3];
        }
        Rgb8 | Rgba8 => [pixel[0], pixel[1], pixel[2]],
        Bgr8 | Bgra8 => [pixel[2], pixel[1], pixel[0]],
    };
    rgb.map(u32::from)
}

fn mix(under: u8, over: u8) -> u8 {
    (f32::from(under) * (1.0 - FILL) + f32::from(over) * FILL).round() as u8
}

/// The same for a label in every frame. Bright and saturated: it stands out on grey phase contrast and on black alike.
fn colour(label: u32) -> [u8; 3] {
    let hue = (label as f32 * GOLDEN_ANGLE) % 360.0 / 60.0;
    // HSV with a saturation that keeps blue light enough for a dark field.
    let (saturation, value) = (0.8, 255.0);
    [5.0, 3.0, 1.0].map(|shift| {
        let k = (shift + hue) % 6.0;
        (value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{frame, one_cell};

    #[test]
    fn outside_cells_the_frame_is_stretched_as_the_network_got_it() {
        let image = draw(&frame(20, 6, None), &one_cell(20, 6));
        let grey = |x| image.get_pixel(x, 5).0;
        assert_eq!(
            [grey(0), grey(5), grey(10), grey(19)],
            [[0; 3], [128; 3], [255; 3], [255; 3]]
        );
    }

    #[test]
    fn a_cell_is_outlined_in_its_own_colour() {
        let image = draw(&frame(8, 6, None), &one_cell(8, 6));
        for (x, y) in [(2, 1), (3, 1), (2, 2), (3, 2), (4, 2)] {
            assert_eq!(image.get_pixel(x, y).0, colour(1), "({x}, {y})");
        }
        assert_eq!(image.get_pixel(4, 1).0, [102; 3]);
    }

    #[test]
    fn a_cell_that_the_frame_cuts_is_open_there() {
        let mut cells = one_cell(5, 3);
        let mut mask = crate::mask::Mask::empty(0, 0, 5, 3);
        (0..5).for_each(|x| (0..3).for_each(|y| mask.set(x, y)));
        cells.instances[0].mask = mask;
        let image = draw(&frame(5, 3, None), &cells);
        assert!(image.pixels().all(|pixel| pixel.0 != colour(1)));
    }

    #[test]
    fn neighbouring_labels_are_told_apart() {
        for label in 1..1000 {
            let (a, b) = (colour(label), colour(label + 1));
            let difference: u32 = (0..3).map(|i| u32::from(a[i].abs_diff(b[i]))).sum();
            assert!(difference > 150, "{label}: {a:?} {b:?}");
        }
    }
}
