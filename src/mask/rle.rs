//! COCO's compressed run lengths.

use super::Mask;

/// Why counts are not a mask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RleError(String);

/// pycocotools' compressed counts of `mask` in a frame of `width` x `height` pixels: column-major runs, zeros first.
pub fn encode_coco(mask: &Mask, width: u32, height: u32) -> Vec<u8> {
    let _ = (mask, width, height);
    todo!()
}

/// The mask that `counts` describe, with a tight box.
pub fn decode_coco(counts: &[u8], width: u32, height: u32) -> Result<Mask, RleError> {
    let _ = (counts, width, height);
    todo!()
}
