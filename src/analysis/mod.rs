//! From a lane's raw masks to what a client gets: region, one truth about each cell, measurements, identities, filters, growth.
//!
//! Three steps. What a frame's cells are ([`Analyst::settle`]) depends on that frame alone: any thread, any order. Who they are
//! ([`Timeline::follow`]) depends on the frames before: one after the other. Then filters hide cells from the output, never from
//! identities or confluence. Measurements depend on no other frame, so they are made in the first step, of hidden cells too:
//! neighbours are all accepted cells.

mod in_order;
mod kept;
mod moment;
mod smoothing;
#[cfg(test)]
mod tests;
mod timeline;
mod wells;

use std::sync::{Arc, Mutex, PoisonError};

pub use in_order::InOrder;
pub use kept::{KEPT_BYTES, Kept, NotKept};
pub use smoothing::{Place, Smoothing};
use timeline::MAX_SERIES;
pub use timeline::{Followed, MOST_BYTES, Timeline};

use crate::{
    decode,
    frame::{Frame, FrameMetadata},
    mask::{self, Mask, RegionError},
    measure,
    params::{Analysis, Distance, Thresholds},
    segmentation::{Notice, NoticeCode, RawSegmentation, Segmentation},
    track::ResumeError,
};

/// Frame sizes for which the region is kept drawn: as many cameras may share a session.
const MOST_DRAWN: usize = 4;

/// What is made of each frame by itself.
#[derive(Debug)]
pub struct Analyst {
    wishes: Analysis,
    /// The region in frames of the last sizes seen: a camera rarely changes its own.
    drawn: Mutex<Vec<Drawn>>,
}

/// The region in frames of one size.
#[derive(Clone, Debug)]
struct Drawn {
    size: (u32, u32),
    mask: Arc<Mask>,
}

/// A wish that cannot be meant: names the value and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// Of a region.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// Of where an earlier session stopped.
    #[error("tracking.resume: {0}")]
    Resume(#[from] ResumeError),
}

impl Analyst {
    /// Refuses a region that cannot be meant.
    pub fn new(wishes: &Analysis) -> Result<Self, AnalysisError> {
        if let Some(rings) = &wishes.region {
            mask::check_region(rings)?;
        }
        Ok(Analyst {
            wishes: wishes.clone(),
            drawn: Mutex::default(),
        })
    }

    /// What was asked for.
    pub fn wishes(&self) -> &Analysis {
        &self.wishes
    }

    /// Whether [`Analyst::settle`] looks at pixels.
    pub fn needs_pixels(&self) -> bool {
        self.wishes.measurements.needs_pixels()
    }

    /// Whether frames have to pass a [`Timeline`], in their order.
    pub fn needs_order(&self) -> bool {
        self.wishes.tracking.is_some() || self.wishes.growth.is_some()
    }

    /// Every accepted cell, in one piece and apart from the others, cut at the region and measured; none is hidden yet. `frame`
    /// may be left out where no pixels are needed. `Err`: the region does not lie in a frame of this size.
    pub fn settle(
        &self,
        raw: &RawSegmentation,
        metadata: &FrameMetadata,
        frame: Option<&Frame>,
    ) -> Result<Segmentation, AnalysisError> {
        let region = self.region_in(raw.width, raw.height)?;
        let mut settled = decode::disjoint(raw, region.as_deref());
        let wishes = &self.wishes.measurements;
        let um = metadata.pixel_size_um;
        if wishes.any() {
            settled.neighbourhood = measure::measure(frame, &mut settled.instances, wishes, um);
            if um.is_none() && matches!(wishes.neighbour_radius, Some(Distance::Um(_))) {
                settled.notices.push(Notice {
                    code: NoticeCode::NoPixelSize,
                    message: "neighbours within neighbour_radius_um are not counted: the frame has no pixel_size_um".to_owned(),
                });
            }
        }
        Ok(settled)
    }

    /// Hides the cells of a settled frame that `thresholds` hide.
    pub fn hide(
        &self,
        settled: &mut Segmentation,
        thresholds: &Thresholds,
        pixel_size_um: Option<f64>,
    ) {
        // A region that is not in a frame of this size was refused when the frame was settled.
        let region = self.region_in(settled.width, settled.height).ok().flatten();
        decode::hide(settled, region.as_deref(), thresholds, pixel_size_um);
    }

    fn region_in(&self, width: u32, height: u32) -> Result<Option<Arc<Mask>>, AnalysisError> {
        let Some(rings) = &self.wishes.region else {
            return Ok(None);
        };
        let size = (width, height);
        // Not held while it is drawn: somebody else's frame may have another size.
        if let Some(drawn) = self.lock().iter().find(|drawn| drawn.size == size) {
            return Ok(Some(Arc::clone(&drawn.mask)));
        }
        let mask = Arc::new(mask::region(rings, width, height)?);
        let mut drawn = self.lock();
        if drawn.len() == MOST_DRAWN {
            drawn.remove(0);
        }
        drawn.push(Drawn {
            size,
            mask: Arc::clone(&mask),
        });
        Ok(Some(mask))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Drawn>> {
        // Nothing panics under the lock.
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
