//! From a lane's answer to a reply.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::{
        convert::{self, Analysed, Answer, Outputs, Times},
        observe::{Look, Share, Told},
    },
    cell::Cell,
    turns::Due,
};
use crate::{
    analysis::{AnalysisError, Followed, Place, Timeline},
    backend::LaneError,
    frame::{Frame, FrameMetadata},
    params::Params,
    proto as pb,
    segmentation::{Instance, RawSegmentation, Segmentation},
    session::Outcome,
};

/// Masks over this many 32-bit words are settled and encoded on the work pool; fewer take under 100 us, less than is worth a hop.
const WORDS_WORTH_A_HOP: usize = 8192;

/// A frame on a lane.
pub(super) struct Settling {
    pub(super) seq: u64,
    pub(super) arrived: Instant,
    pub(super) queued: Duration,
    pub(super) params: Arc<Params>,
    pub(super) outputs: Outputs,
    pub(super) metadata: FrameMetadata,
    /// Where counts are measured, with their share of the byte budget.
    pub(super) pixels: Option<(Frame, Share)>,
    pub(super) place: Option<Place>,
    pub(super) answer: Answer,
    pub(super) cell: Arc<Cell>,
    /// Of a frame that somebody is to be shown.
    pub(super) look: Option<Look>,
}

/// A frame whose cells are known.
pub(super) struct Settled {
    settling: Settling,
    cells: Segmentation,
    /// As decoded, where those are sent.
    raw: Option<RawSegmentation>,
    times: Times,
}

/// A frame whose cells are those of its answer.
struct Shown {
    settling: Settling,
    cells: Arc<Segmentation>,
    raw: Option<RawSegmentation>,
    times: Times,
}

impl Settling {
    /// On the lane's thread: small answers are made here, others on the work pool.
    pub(super) fn answer(self, result: Result<RawSegmentation, LaneError>) {
        match result {
            Err(error) => self.fail(convert::lane_failure(&error)),
            Ok(raw) => {
                if let Err(failed) = self.answer.check() {
                    return self.fail(failed);
                }
                if let Some(place) = &self.place {
                    let own = raw.own_span;
                    self.cell.with(|state| state.smoothing.settled(place, own));
                }
                match is_worth_a_hop(&raw, &self) {
                    true => rayon::spawn(move || self.settle(raw)),
                    false => self.settle(raw),
                }
            }
        }
    }

    fn settle(mut self, raw: RawSegmentation) {
        let measuring = Instant::now();
        let pixels = self.pixels.take();
        let frame = pixels.as_ref().map(|(frame, _)| frame);
        // The work pool ends the process if its work panics.
        let settled = catch_unwind(AssertUnwindSafe(|| self.cells(&raw, frame)));
        drop(pixels);
        let cells = match settled {
            Ok(Ok(cells)) => cells,
            Ok(Err(error)) => return self.fail(convert::not_analysed(&error)),
            Err(_) => return self.fail(convert::defect("settling its masks")),
        };
        // Its pixels were read again.
        if let Err(failed) = self.answer.check() {
            return self.fail(failed);
        }
        let times = Times {
            lane: raw.times,
            tiles: raw.tiles,
            measure: measuring.elapsed(),
            track: Duration::ZERO,
        };
        let settled = Settled {
            raw: self.outputs.raw_masks.then_some(raw),
            settling: self,
            cells,
            times,
        };
        let (seq, cell) = (settled.settling.seq, Arc::clone(&settled.settling.cell));
        if cell.analyst.needs_order() {
            let due = Due::Cells(Box::new(settled));
            return cell.with(|state| state.session.settle(seq, due));
        }
        settled.keep().finish();
    }

    /// The frame's cells; those that are hidden are still among them where they have to be identified first.
    fn cells(
        &self,
        raw: &RawSegmentation,
        frame: Option<&Frame>,
    ) -> Result<Segmentation, AnalysisError> {
        let analyst = &self.cell.analyst;
        let mut cells = analyst.settle(raw, &self.metadata, frame)?;
        if !analyst.needs_order() {
            let um = self.metadata.pixel_size_um;
            analyst.hide(&mut cells, &self.params.thresholds, um);
        }
        Ok(cells)
    }

    fn fail(self, failed: pb::Failed) {
        let reply = convert::failed(self.answer, failed);
        self.cell
            .finish(self.seq, self.arrived, Outcome::Failed, reply, None);
    }
}

impl Settled {
    /// In the order of the frames: who its cells are.
    pub(super) fn follow(mut self, timeline: &mut Timeline) {
        let tracking = Instant::now();
        let settling = &self.settling;
        let frame = Followed {
            metadata: &settling.metadata,
            received_at: settling.answer.received_at,
            thresholds: &settling.params.thresholds,
        };
        let cells = &mut self.cells;
        // As above.
        let followed = catch_unwind(AssertUnwindSafe(|| {
            timeline.follow(&settling.cell.analyst, &frame, cells);
        }));
        if followed.is_err() {
            timeline.give_up(&settling.metadata.series());
            return self.settling.fail(convert::defect("tracking its cells"));
        }
        self.times.track = tracking.elapsed();
        let shown = self.keep();
        match shown.is_large() {
            true => rayon::spawn(move || shown.finish()),
            false => shown.finish(),
        }
    }

    /// Keeps the cells for frames that are measured in them.
    fn keep(self) -> Shown {
        let Settled {
            settling,
            cells,
            raw,
            times,
        } = self;
        let cells = Arc::new(cells);
        if raw.is_none() {
            let (seq, id) = (settling.seq, settling.answer.id);
            settling.cell.with(|state| {
                let turn = state.session.next_turn_seq();
                state.kept.keep(seq, id, &cells, turn);
            });
        }
        Shown {
            settling,
            cells,
            raw,
            times,
        }
    }
}

impl Shown {
    fn is_large(&self) -> bool {
        let words = |cell: &Instance| cell.mask.words().len();
        self.settling.outputs.label_image
            || WORDS_WORTH_A_HOP < self.cells.instances.iter().map(words).sum()
    }

    /// Encodes the cells, and answers.
    fn finish(self) {
        let Shown {
            settling,
            cells,
            raw,
            times,
        } = self;
        let analysed = Analysed {
            cells: &cells,
            raw: raw.as_ref(),
            metadata: &settling.metadata,
            times,
        };
        // As above.
        let encoded = catch_unwind(AssertUnwindSafe(|| {
            convert::encode(&analysed, &settling.outputs)
        }));
        let Ok(encoded) = encoded else {
            return settling.fail(convert::defect("encoding its masks"));
        };
        let is_in_slot = settling.answer.slot.is_some();
        let reply = convert::segmented(settling.answer, encoded, settling.queued);
        let (seq, arrived) = (settling.seq, settling.arrived);
        // Once it is answered its pixels in shared memory are the client's again.
        let is_whole = |look: &Look| !is_in_slot || look.is_small();
        let look = settling.look.filter(is_whole).map(|look| {
            let told = Told::of(&reply, arrived);
            (look, told, Arc::clone(&cells))
        });
        settling
            .cell
            .finish(seq, arrived, Outcome::Segmented, reply, Some(cells));
        if let Some((look, told, cells)) = look {
            look.show(told, cells);
        }
    }
}

fn is_worth_a_hop(raw: &RawSegmentation, settling: &Settling) -> bool {
    let words = raw.instances.iter().map(|cell| cell.mask.words().len());
    let wishes = settling.cell.analyst.wishes();
    settling.outputs.label_image
        || wishes.measurements.any()
        // It is drawn over the whole frame.
        || wishes.region.is_some()
        || WORDS_WORTH_A_HOP < words.sum()
}
