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

/// Paints mask i as i + 1. Where masks overlap, the first one (the higher score) keeps the pixel.
pub fn label_image<'a>(
    masks: impl ExactSizeIterator<Item = &'a Mask>,
    width: u32,
    height: u32,
) -> LabelImage {
    let _ = (masks, width, height);
    todo!()
}
