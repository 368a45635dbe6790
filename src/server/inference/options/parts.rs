//! Parameters that stand for a part of one of the contract's messages.

use tonic::Status;

use super::{InSequence, SequenceId};
use crate::proto as pb;

/// What they said, until all of them are known.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) sequence: Option<SequenceId>,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
    pub(super) tracks: bool,
    pub(super) tracking: pb::Tracking,
    pub(super) policy: Option<Policy>,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    pub(super) min_span: Option<f64>,
}

#[derive(Clone, Copy)]
pub(super) enum Policy {
    FullRange,
    Window,
    Percentiles,
}

impl Parts {
    pub(super) fn sequence(&self) -> Result<Option<InSequence>, Status> {
        let Some(id) = self.sequence.clone() else {
            return match self.is_first || self.is_last {
                true => Err(Status::invalid_argument(
                    "sequence_start and sequence_end need a sequence_id that is not 0 and not empty",
                )),
                false => Ok(None),
            };
        };
        Ok(Some(InSequence {
            id,
            is_first: self.is_first,
            is_last: self.is_last,
        }))
    }

    pub(super) fn tracking(&self) -> Result<Option<pb::Tracking>, Status> {
        match (self.tracks, self.tracking == pb::Tracking::default()) {
            (true, _) => Ok(Some(self.tracking.clone())),
            (false, true) => Ok(None),
            (false, false) => Err(Status::invalid_argument(
                "max_gap, max_distance_px, max_distance_um, divisions and z_plane need the parameter 'track' to be true",
            )),
        }
    }

    pub(super) fn normalization(&self) -> Result<Option<pb::Normalization>, Status> {
        use pb::normalization::{self, FullRange, Percentiles, Window};
        let numbers = (self.low, self.high, self.min_span);
        let policy = match (self.policy, numbers) {
            (None, (None, None, None)) => return Ok(None),
            (Some(Policy::FullRange), (None, None, None)) => {
                normalization::Policy::FullRange(FullRange {})
            }
            (Some(Policy::Window), (Some(low), Some(high), None)) => {
                normalization::Policy::Window(Window { low, high })
            }
            (Some(Policy::Percentiles), (Some(low), Some(high), min_span)) => {
                normalization::Policy::Percentiles(Percentiles {
                    low,
                    high,
                    smoothing: None,
                    min_span,
                })
            }
            _ => {
                return Err(Status::invalid_argument(
                    "normalization: \"full_range\" alone, \"window\" with low and high, or \"percentiles\" with low and high and, if need be, min_span",
                ));
            }
        };
        Ok(Some(pb::Normalization {
            policy: Some(policy),
        }))
    }
}
