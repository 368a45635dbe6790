//! What the lane's thread does with each frame.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender},
    },
    time::SystemTime,
};

use anyhow::Result;

use crate::{
    analysis::{Analyst, InOrder, Kept, NotKept, Smoothing},
    backend::{Backend, Lane, LaneError, Ticket, tiled},
    cli::segmenter::{Answer, Job, Outcome, Wishes},
    frame::{FlatField, Frame},
    mask::Mask,
    measure,
    params::Params,
};

/// Earlier frames in whose cells others can be measured: a server's default.
const FRAMES_KEPT: u32 = 8;
/// Frames in flight of a server's session, by default: smoothed percentiles are the same here and there.
const SMOOTHED_WINDOW: usize = 4;

/// Frames to answers, in their order.
pub(super) struct Work {
    params: Params,
    raw_masks: bool,
    background: bool,
    /// Others will be measured in the cells.
    keeps: bool,
    flat_field: Option<FlatField>,
    smoothing: Smoothing,
    in_order: InOrder,
    /// Cells of the last segmented frames.
    kept: Kept,
    /// Of the next frame.
    seq: u64,
}

impl Work {
    /// Refuses regions and resumptions that cannot be meant.
    pub(super) fn new(
        params: Params,
        wishes: &Wishes,
        flat_field: Option<FlatField>,
    ) -> Result<Work> {
        let mut in_order = InOrder::new(Analyst::new(&wishes.analysis)?);
        for (metadata, resumed) in &wishes.resumed {
            in_order.resume(metadata, resumed.clone())?;
        }
        Ok(Work {
            params,
            raw_masks: wishes.choices.raw_masks,
            background: wishes.analysis.measurements.background,
            keeps: wishes.other_channels,
            flat_field,
            smoothing: Smoothing::new(SMOOTHED_WINDOW),
            in_order,
            kept: Kept::new(FRAMES_KEPT),
            seq: 0,
        })
    }

    /// Until there are no more frames. A lost lane is opened again; an error ends the run.
    pub(super) fn all(
        &mut self,
        backend: &dyn Backend,
        jobs: &Receiver<Job>,
        answers: &SyncSender<Result<Outcome>>,
    ) -> Result<()> {
        let mut lane = backend.open_lane()?;
        for job in jobs {
            let metadata = job.frame.metadata().clone();
            let is_measured = job.measure_on.is_some();
            let outcome = match self.one(&mut *lane, backend, job) {
                Ok(outcome) => outcome,
                Err(LaneError::Frame(why)) => Outcome::Failed(why),
                Err(error @ LaneError::Lane(_)) => {
                    // First closed: two lanes may not have room on a GPU.
                    drop(lane);
                    lane = backend.open_lane()?;
                    Outcome::Failed(error.to_string())
                }
                Err(error @ LaneError::Device(_)) => return Err(error.into()),
            };
            if !is_measured && !matches!(outcome, Outcome::Segmented(_)) {
                self.in_order.missed(&metadata);
            }
            if answers.send(Ok(outcome)).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        lane: &mut dyn Lane,
        backend: &dyn Backend,
        job: Job,
    ) -> Result<Outcome, LaneError> {
        let frame = match &self.flat_field {
            None => job.frame,
            Some(flat_field) => match flat_field.apply(&job.frame) {
                Ok(frame) => frame,
                Err(why) => return Ok(Outcome::Failed(why.to_string())),
            },
        };
        let seq = self.seq;
        self.seq += 1;
        if let Some(on) = job.measure_on {
            return Ok(self.measured(on, &frame));
        }
        let series = frame.metadata().series();
        let (place, smoothed) = self.smoothing.offered(&series, self.params.smoothing);
        self.params.smoothed = smoothed.filter(|_| self.params.smoothing > 0.0);
        let ticket = Ticket::default();
        let raw = tiled::segment(lane, backend.model(), &frame, &self.params, &ticket)?;
        self.smoothing.settled(&place, raw.own_span);
        let thresholds = &self.params.thresholds;
        let settled = self
            .in_order
            .segmented(&raw, &frame, thresholds, SystemTime::now());
        let segmentation = match settled {
            Ok(segmentation) => segmentation,
            Err(why) => return Ok(Outcome::Failed(why.to_string())),
        };
        if self.keeps {
            let cells = Arc::new(segmentation.clone());
            self.kept.keep(seq, job.id, &cells, seq + 1);
        }
        let notices = segmentation.notices.iter();
        Ok(Outcome::Segmented(Box::new(Answer {
            notices: notices.map(|notice| notice.message.clone()).collect(),
            segmentation,
            tiles: raw.tiles,
            raw: self.raw_masks.then_some(raw.instances),
        })))
    }

    fn measured(&self, on: u64, frame: &Frame) -> Outcome {
        let size = (frame.width(), frame.height());
        let cells = match self.kept.find(on, self.seq, size) {
            Ok(cells) => cells,
            Err(NotKept::Unknown { .. }) => {
                return Outcome::Failed(
                    "the frame in whose cells it would be measured was not segmented".to_owned(),
                );
            }
            Err(NotKept::OtherSize { size, kept }) => {
                return Outcome::Failed(format!(
                    "{}x{} pixels: the cells in which it would be measured are of a frame of {}x{}",
                    size.0, size.1, kept.0, kept.1
                ));
            }
        };
        let masks: Vec<&Mask> = cells.instances.iter().map(|cell| &cell.mask).collect();
        Outcome::Measured(measure::intensities(frame, &masks, self.background))
    }
}
