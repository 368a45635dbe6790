//! Words on images, in the font that comes with the program: what is drawn does not depend on the machine.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};
use image::{Rgb, RgbImage};

/// DejaVu Sans, what of it we need: `font/LICENCE.txt`.
pub(super) const FONT_FILE: &[u8] = include_bytes!("font/CellsegdSans.ttf");

static FONT: LazyLock<FontRef<'static>> =
    LazyLock::new(|| FontRef::try_from_slice(FONT_FILE).expect("our own font"));

/// Of the dark rim that keeps words legible on any ground.
const RIM: i32 = 1;
const RIM_STRENGTH: f32 = 0.75;

/// Words as they will stand on an image.
pub(super) struct Text {
    /// Of words and rim, pixels.
    pub(super) width: u32,
    /// Of words and rim, pixels.
    pub(super) height: u32,
    /// 0..1, row by row.
    coverage: Vec<f32>,
}

impl Text {
    /// One line, `px` pixels from the top of the highest letter to the bottom of the lowest.
    pub(super) fn new(words: &str, px: f32) -> Text {
        let font = FONT.as_scaled(PxScale::from(px));
        let mut at = RIM as f32;
        let mut before: Option<GlyphId> = None;
        let mut glyphs = Vec::new();
        for letter in words.chars() {
            let id = font.glyph_id(letter);
            at += before.map_or(0.0, |before| font.kern(before, id));
            let baseline = RIM as f32 + font.ascent();
            glyphs.push(id.with_scale_and_position(PxScale::from(px), point(at, baseline)));
            at += font.h_advance(id);
            before = Some(id);
        }
        let width = at.ceil() as u32 + RIM as u32;
        let height = font.height().ceil() as u32 + 2 * RIM as u32;
        let mut coverage = vec![0.0f32; width as usize * height as usize];
        for outline in glyphs.into_iter().filter_map(|it| FONT.outline_glyph(it)) {
            let corner = outline.px_bounds().min;
            outline.draw(|x, y, c| {
                let (x, y) = (corner.x as i32 + x as i32, corner.y as i32 + y as i32);
                if (0..width as i32).contains(&x) && (0..height as i32).contains(&y) {
                    let there = &mut coverage[y as usize * width as usize + x as usize];
                    *there = there.max(c);
                }
            });
        }
        Text {
            width,
            height,
            coverage,
        }
    }

    /// Draws it with its top left corner at (`left`, `top`); what does not fit on the image is left out.
    pub(super) fn draw(&self, image: &mut RgbImage, (left, top): (u32, u32), colour: [u8; 3]) {
        for y in 0..self.height.min(image.height().saturating_sub(top)) {
            for x in 0..self.width.min(image.width().saturating_sub(left)) {
                let Rgb(pixel) = image.get_pixel_mut(left + x, top + y);
                let rim = self.rim(x as i32, y as i32) * RIM_STRENGTH;
                let letter = self.at(x as i32, y as i32);
                for (sample, colour) in pixel.iter_mut().zip(colour) {
                    let dark = f32::from(*sample) * (1.0 - rim);
                    *sample = (dark + (f32::from(colour) - dark) * letter).round() as u8;
                }
            }
        }
    }

    fn at(&self, x: i32, y: i32) -> f32 {
        match 0 <= x && x < self.width as i32 && 0 <= y && y < self.height as i32 {
            true => self.coverage[y as usize * self.width as usize + x as usize].min(1.0),
            false => 0.0,
        }
    }

    /// The strongest letter within the rim's reach.
    fn rim(&self, x: i32, y: i32) -> f32 {
        let around = (-RIM..=RIM).flat_map(|dy| (-RIM..=RIM).map(move |dx| (dx, dy)));
        around.fold(0.0, |most, (dx, dy)| most.max(self.at(x + dx, y + dy)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_that_is_written_is_in_the_font() {
        for letter in (' '..='~').chain("µ²±–".chars()) {
            assert_ne!(FONT.glyph_id(letter), GlyphId(0), "{letter:?}");
        }
    }

    #[test]
    fn words_are_bright_with_a_dark_rim_and_may_stick_out() {
        let mut image = RgbImage::from_pixel(60, 20, Rgb([128; 3]));
        let words = Text::new("I I I I I I I I I I I", 16.0);
        assert!(words.width > 60);
        words.draw(&mut image, (1, 1), [255; 3]);
        let is = |wanted: fn(u8) -> bool| image.pixels().filter(|it| wanted(it.0[0])).count();
        assert!(is(|sample| 200 < sample) > 20 && is(|sample| sample < 64) > 20);
        assert_eq!(image.get_pixel(0, 10).0, [128; 3]);
    }
}
