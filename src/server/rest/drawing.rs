//! How many overlays are drawn at the same time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::LimitSettings;

/// One that takes long does not hold up the others; more would take cores from the frames of those who measure.
const AT_A_TIME: usize = 2;

/// Of a picture, the labels that it is drawn by, and its file.
const PICTURE_BYTES_PER_PIXEL: u64 = 12;

/// The places of overlays that are being made. The bytes of frames in flight are left alone: who looks holds up nobody's frames.
pub(in crate::server) struct Drawing(Arc<Semaphore>);

impl Drawing {
    /// A place for one, which holds the frame decoded once more and its picture. Waits while others have them.
    pub(super) async fn begin(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.0).acquire_owned().await;
        place.expect("it is never closed")
    }
}

impl Default for Drawing {
    fn default() -> Self {
        Drawing(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

/// The most that overlays hold while they are made, bytes: so many of the largest frames and their pictures.
pub(crate) fn drawing_bytes(limits: &LimitSettings) -> u64 {
    let side = u64::from(limits.max_side);
    // A pixel has a byte at least.
    let pixels = side.saturating_mul(side).min(limits.max_frame_bytes);
    let picture = pixels.saturating_mul(PICTURE_BYTES_PER_PIXEL);
    (AT_A_TIME as u64).saturating_mul(limits.max_frame_bytes.saturating_add(picture))
}
