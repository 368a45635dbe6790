//! PNG, TIFF and JPEG files as frames.

use bytes::Bytes;

use super::{FrameError, FrameLimits, Layout};

/// Decodes an image file, told by its content, into pixels as they are in it: 16 bits stay 16 bits. `page` is of a multi-page
/// TIFF. Sizes are checked against `limits` before anything is allocated.
pub fn decode_image(
    file: &[u8],
    page: u32,
    limits: &FrameLimits,
) -> Result<(Layout, Bytes), FrameError> {
    let _ = (file, page, limits);
    todo!()
}
