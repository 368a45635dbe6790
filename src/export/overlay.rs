//! The frame as the network saw it, with each cell's outline: for eyes, not for measuring.

use std::{array::from_fn, cmp::Reverse};

use image::{Rgb, RgbImage};

use super::{table::centroid, text::Text};
use crate::{
    frame::Frame,
    mask::{LabelImage, label_image},
    segmentation::{AppliedNormalization, Segmentation},
};

/// Of the fill; the frame's texture must stay visible.
const FILL: f32 = 0.18;
/// Frames from this side on are looked at shrunk: a thin outline would vanish.
const WIDE_OUTLINE_FROM: u32 = 512;
/// Consecutive labels get hues that are far apart.
const GOLDEN_ANGLE: f32 = 137.507_77;
/// The height of words, over the frame's smaller side; and the least that can be read, pixels.
const TEXT: f32 = 1.0 / 56.0;
const LEAST_TEXT_PX: f32 = 11.0;
/// The scale bar is at most this part of the width.
const SCALE_BAR: f64 = 0.2;
const WHITE: [u8; 3] = [255; 3];

/// Draws it, at the frame's own size: outlines, each cell's id (of its track; else its label) and, where the pixel size is known,
/// a scale bar. A colour stays with its id. Ids that would cover one another are left out, smaller cells' first.
pub fn draw(frame: &Frame, segmentation: &Segmentation) -> RgbImage {
    let mut image = outlined(frame, segmentation);
    let px = text_px(&image);
    let bar = frame
        .metadata()
        .pixel_size_um
        .filter(|um| 0.0 < *um && um.is_finite());
    let mut taken = Taken {
        width: image.width(),
        height: image.height(),
        boxes: Vec::new(),
    };
    if let Some(um_per_px) = bar {
        scale_bar(&mut image, um_per_px, px, &mut taken);
    }
    ids(&mut image, segmentation, px, &mut taken);
    image
}

/// Writes words in the upper left corner: the time of a time-lapse.
pub fn caption(image: &mut RgbImage, words: &str) {
    let px = 1.5 * text_px(image);
    let margin = px.round() as u32 / 2;
    Text::new(words, px).draw(image, (margin, margin), WHITE);
}

/// The frame as the network saw it, with each cell's outline: the outermost pixels of the cell itself.
fn outlined(frame: &Frame, segmentation: &Segmentation) -> RgbImage {
    let (width, height) = (frame.width(), frame.height());
    let mut image = stretched(frame, &segmentation.normalization);
    let labels = labels(segmentation);
    let label = |x: u32, y: u32| labels[y as usize * width as usize + x as usize];
    let reach = if width.min(height) < WIDE_OUTLINE_FROM {
        1
    } else {
        2
    };
    let colours: Vec<[u8; 3]> = (1..)
        .zip(&segmentation.instances)
        .map(|(label, cell)| colour(cell.track.map_or(label, |track| track.id as u32)))
        .collect();
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
        let colour = colours[own as usize - 1];
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

fn text_px(image: &RgbImage) -> f32 {
    (image.width().min(image.height()) as f32 * TEXT).max(LEAST_TEXT_PX)
}

/// Where words stand already.
struct Taken {
    width: u32,
    height: u32,
    /// Left, top, right, bottom.
    boxes: Vec<[u32; 4]>,
}

fn ids(image: &mut RgbImage, segmentation: &Segmentation, px: f32, taken: &mut Taken) {
    let mut cells: Vec<_> = (1..).zip(&segmentation.instances).collect();
    cells.sort_by_key(|(label, cell)| (Reverse(cell.area), *label));
    for (label, cell) in cells {
        let id = cell.track.map_or(label, |track| track.id);
        let text = Text::new(&id.to_string(), px);
        let (x, y) = centroid(&cell.mask);
        let corner = (
            (x - f64::from(text.width) / 2.0).round().max(0.0) as u32,
            (y - f64::from(text.height) / 2.0).round().max(0.0) as u32,
        );
        if taken.take(corner, (text.width, text.height)) {
            text.draw(image, corner, WHITE);
        }
    }
}

/// In the lower right corner: 1, 2 or 5 times a power of ten micrometres, as long as fits.
fn scale_bar(image: &mut RgbImage, um_per_px: f64, px: f32, taken: &mut Taken) {
    let most_um = um_per_px * f64::from(image.width()) * SCALE_BAR;
    let um = round_length(most_um);
    let length = (um / um_per_px).round() as u32;
    let text = Text::new(&length_in_words(um), 1.25 * px);
    let (margin, thick) = (px as u32, (px / 4.0).ceil() as u32);
    let size = (length.max(text.width), text.height + thick);
    let (Some(left), Some(top)) = (
        image.width().checked_sub(size.0 + margin),
        image.height().checked_sub(size.1 + margin),
    ) else {
        return;
    };
    if length == 0 || !taken.take((left, top), size) {
        return;
    }
    text.draw(image, (left + (size.0 - text.width) / 2, top), WHITE);
    let (x0, y0) = (left + (size.0 - length) / 2, top + text.height);
    for (x, y) in (y0.saturating_sub(1)..=y0 + thick)
        .flat_map(|y| (x0.saturating_sub(1)..=x0 + length).map(move |x| (x, y)))
    {
        let inside = x0 <= x && x < x0 + length && y0 <= y && y < y0 + thick;
        // A dark rim, as that of words.
        image.put_pixel(x, y, Rgb(if inside { WHITE } else { [0; 3] }));
    }
}

/// The longest of 1, 2 or 5 times a power of ten that is not over `most`.
fn round_length(most: f64) -> f64 {
    let power = 10f64.powf(most.log10().floor());
    let factor = [5.0, 2.0].into_iter().find(|factor| factor * power <= most);
    factor.unwrap_or(1.0) * power
}

fn length_in_words(um: f64) -> String {
    match um {
        _ if 1000.0 <= um => format!("{} mm", um / 1000.0),
        _ if 1.0 <= um => format!("{um} µm"),
        _ => format!("{} nm", (um * 1000.0).round()),
    }
}

impl Taken {
    /// Whether a box lies on the image and nothing was there; then it is taken.
    fn take(&mut self, (left, top): (u32, u32), (width, height): (u32, u32)) -> bool {
        let (right, bottom) = (left + width, top + height);
        let free = self.boxes.iter().all(|other| {
            right <= other[0] || other[2] <= left || bottom <= other[1] || other[3] <= top
        });
        let fits = free && right <= self.width && bottom <= self.height;
        if fits {
            self.boxes.push([left, top, right, bottom]);
        }
        fits
    }
}

/// 8 bits a channel, by the normalisation that the network got.
pub fn stretched(frame: &Frame, normalization: &AppliedNormalization) -> RgbImage {
    let AppliedNormalization { low, high, .. } = *normalization;
    let byte = |count: u32| {
        let unit = (f64::from(count) - low) / (high - low);
        (unit.clamp(0.0, 1.0) * 255.0).round() as u8
    };
    let channels = frame.channels();
    let mut pixels = Vec::with_capacity(3 * frame.width() as usize * frame.height() as usize);
    let mut samples = Vec::new();
    for y in 0..frame.height() {
        for pixel in frame.samples(y, &mut samples).chunks_exact(channels) {
            pixels.extend((0..3).map(|i| byte(u32::from(pixel[i % channels]))));
        }
    }
    RgbImage::from_vec(frame.width(), frame.height(), pixels)
        .expect("three bytes for each pixel of the frame")
}

fn mix(under: u8, over: u8) -> u8 {
    (f32::from(under) * (1.0 - FILL) + f32::from(over) * FILL).round() as u8
}

/// The same for a label in every frame. Bright and saturated: it stands out on grey phase contrast and on black alike.
pub(super) fn colour(label: u32) -> [u8; 3] {
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
    use crate::export::testing::{frame, one_cell};

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
    fn a_scale_bar_is_a_round_length_of_its_own_colour() {
        for (most, um, words) in [
            (173.0, 100.0, "100 µm"),
            (99.9, 50.0, "50 µm"),
            (2.5, 2.0, "2 µm"),
            (0.31, 0.2, "200 nm"),
            (7000.0, 5000.0, "5 mm"),
        ] {
            assert!((round_length(most) / um - 1.0).abs() < 1e-12, "{most}");
            assert_eq!(length_in_words(round_length(most)), words);
        }
        // 0.5 um a pixel: a fifth of 300 pixels is 30 um, 20 um are 40 pixels.
        let image = draw(&frame(300, 200, Some(0.5)), &one_cell(300, 200));
        let bar = (0..200).map(|y| {
            (0..300)
                .filter(|&x| x > 200 && image.get_pixel(x, y).0 == WHITE)
                .count()
        });
        assert!(bar.max() >= Some(40));
        assert_ne!(image, draw(&frame(300, 200, None), &one_cell(300, 200)));
    }

    #[test]
    fn ids_do_not_cover_one_another() {
        let mut taken = Taken {
            width: 100,
            height: 50,
            boxes: Vec::new(),
        };
        assert!(taken.take((10, 10), (20, 10)));
        assert!(!taken.take((29, 19), (20, 10)));
        assert!(taken.take((30, 10), (20, 10)));
        assert!(!taken.take((81, 0), (20, 10)), "outside");
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
