//! For those who have one frame after the other: every step at once.

use std::time::SystemTime;

use super::{AnalysisError, Analyst, Followed, Timeline};
use crate::{
    frame::{Frame, FrameMetadata},
    params::Thresholds,
    segmentation::{RawSegmentation, Segmentation},
    track::Resumed,
};

/// An [`Analyst`] and its [`Timeline`], for frames that come in their order.
#[derive(Debug)]
pub struct InOrder {
    analyst: Analyst,
    timeline: Timeline,
}

impl InOrder {
    /// Before the first frame.
    pub fn new(analyst: Analyst) -> Self {
        let timeline = Timeline::new(analyst.wishes());
        InOrder { analyst, timeline }
    }

    /// As [`Timeline::resume`].
    pub fn resume(
        &mut self,
        metadata: &FrameMetadata,
        resumed: Resumed,
    ) -> Result<(), AnalysisError> {
        self.timeline.resume(metadata, resumed)
    }

    /// What is made of the next frame, that came at `received_at`. `Err`: the region does not lie in a frame of this size; the
    /// frame counts as missed.
    pub fn segmented(
        &mut self,
        raw: &RawSegmentation,
        frame: &Frame,
        thresholds: &Thresholds,
        received_at: SystemTime,
    ) -> Result<Segmentation, AnalysisError> {
        let metadata = frame.metadata();
        let settled = self.analyst.settle(raw, metadata, Some(frame));
        let mut settled = settled.inspect_err(|_| self.missed(metadata))?;
        let followed = Followed {
            metadata,
            received_at,
            thresholds,
        };
        self.timeline.follow(&self.analyst, &followed, &mut settled);
        Ok(settled)
    }

    /// A frame was dropped or failed.
    pub fn missed(&mut self, metadata: &FrameMetadata) {
        self.timeline.missed(&metadata.series());
    }
}
