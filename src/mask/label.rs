//! One integer image of all cells.

use super::Mask;

/// One integer a pixel, 0 = background; row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelImage {
    /// Up to 65,535 labels.
    U16(Vec<u16>),
    /// More.
    U32(Vec<u32>),
}

impl LabelImage {
    /// The same cells, label i called `names[i]`; 16 bits where all names fit. As many names as there are labels, and one for the
    /// background.
    pub fn renamed(&self, names: &[u32]) -> LabelImage {
        fn each<From: Copy + Into<u32>, To: Copy>(labels: &[From], names: &[To]) -> Vec<To> {
            let name = |&label: &From| names[label.into() as usize];
            labels.iter().map(name).collect()
        }
        let small: Option<Vec<u16>> = names.iter().map(|&name| u16::try_from(name).ok()).collect();
        match (self, small) {
            (LabelImage::U16(labels), Some(small)) => LabelImage::U16(each(labels, &small)),
            (LabelImage::U32(labels), Some(small)) => LabelImage::U16(each(labels, &small)),
            (LabelImage::U16(labels), None) => LabelImage::U32(each(labels, names)),
            (LabelImage::U32(labels), None) => LabelImage::U32(each(labels, names)),
        }
    }
}

/// Paints mask i as i + 1. Where masks overlap, the first one (the higher score) keeps the pixel.
pub fn label_image<'a>(
    masks: impl ExactSizeIterator<Item = &'a Mask>,
    width: u32,
    height: u32,
) -> LabelImage {
    match u16::try_from(masks.len()) {
        Ok(_) => LabelImage::U16(painted(masks.zip(1..=u16::MAX), width, height)),
        Err(_) => LabelImage::U32(painted(masks.zip(1..=u32::MAX), width, height)),
    }
}

fn painted<'a, Label: Copy + Default + PartialEq>(
    masks: impl Iterator<Item = (&'a Mask, Label)>,
    width: u32,
    height: u32,
) -> Vec<Label> {
    let background = Label::default();
    let mut image = vec![background; width as usize * height as usize];
    for (mask, label) in masks {
        for y in 0..mask.height() {
            let start = (mask.y() + y) as usize * width as usize + mask.x() as usize;
            for xs in mask.row_runs(y) {
                for pixel in &mut image[start + xs.start as usize..start + xs.end as usize] {
                    if *pixel == background {
                        *pixel = label;
                    }
                }
            }
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::{LabelImage, label_image};
    use crate::mask::{Mask, testing::drawn};

    #[test]
    fn the_first_mask_keeps_a_shared_pixel() {
        let masks = [drawn(0, 0, &["##", "#."]), drawn(1, 0, &["##", ".#"])];
        let LabelImage::U16(image) = label_image(masks.iter(), 4, 2) else {
            panic!("two labels fit 16 bits");
        };
        assert_eq!(image, [1, 1, 2, 0, 1, 0, 2, 0]);
    }

    #[test]
    fn names_past_16_bits_make_an_image_of_32() {
        let image = LabelImage::U16(vec![0, 2, 1]);
        let small = image.renamed(&[0, 7, 65_535]);
        assert_eq!(small, LabelImage::U16(vec![0, 65_535, 7]));
        let large = image.renamed(&[0, 7, 65_536]);
        assert_eq!(large, LabelImage::U32(vec![0, 65_536, 7]));
    }

    #[test]
    fn past_65_535_masks_labels_have_32_bits() {
        let dots = |n: u32| {
            let dot = |i| {
                let mut mask = Mask::empty(i % 300, i / 300, 1, 1);
                mask.set(0, 0);
                mask
            };
            (0..n).map(dot).collect::<Vec<_>>()
        };
        let LabelImage::U16(image) = label_image(dots(65_535).iter(), 300, 219) else {
            panic!("65,535 labels fit 16 bits");
        };
        assert_eq!(image[65_534], 65_535);
        let LabelImage::U32(image) = label_image(dots(65_536).iter(), 300, 219) else {
            panic!("65,536 labels need 32 bits");
        };
        assert_eq!(image[65_535], 65_536);
    }
}
