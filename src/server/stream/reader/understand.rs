//! From a message to a valid frame.

use std::time::{Duration, Instant};

use super::{super::work_pool::on_work_pool, Reader};
use crate::{frame::Frame, proto as pb, server::convert};

/// A frame and what to do with it.
pub(super) struct Understood {
    pub(super) frame: Frame,
    /// Its own.
    pub(super) thresholds: Option<pb::Thresholds>,
    pub(super) deadline: Option<Duration>,
    pub(super) measure_on: Option<u64>,
}

impl Reader {
    /// From a message to a valid frame and what to do with it. `Err`: what its reply says.
    pub(super) async fn understand(
        &self,
        message: &mut pb::Frame,
        answer: &mut convert::Answer,
    ) -> Result<Understood, pb::Failed> {
        let metadata = answer
            .metadata
            .insert(convert::echo(message.metadata.take())?);
        let limits = self.shared.limits.frame();
        let slots = convert::Slots {
            regions: &self.shared.regions,
            peer: &self.peer,
        };
        let incoming = convert::frame(std::mem::take(message), metadata, slots, &limits)?;
        answer.slot = incoming.slot().cloned();
        if self.cell.is_in_flight(answer.id) {
            return Err(convert::duplicate_id(answer.id));
        }
        // Looked at first, so that nothing waits for a frame that cannot be segmented.
        self.params_with(incoming.thresholds.as_ref())?;
        let thresholds = incoming.thresholds.clone();
        let deadline = incoming.deadline;
        let measure_on = incoming.measure_on;
        let flat_field = self.settled.flat_field.clone();
        let frame = match incoming.takes_long() || flat_field.is_some() {
            false => incoming.into_frame(&limits)?,
            true => {
                let started = Instant::now();
                let decoded = on_work_pool(move || {
                    let frame = incoming.into_frame(&limits)?;
                    match flat_field {
                        None => Ok(frame),
                        Some(flat_field) => flat_field
                            .apply(&frame)
                            .map_err(|error| convert::frame_failure(&error)),
                    }
                })
                .await;
                answer.unpack = started.elapsed();
                decoded.unwrap_or_else(|| Err(convert::defect("unpacking its pixels")))?
            }
        };
        Ok(Understood {
            frame,
            thresholds,
            deadline,
            measure_on,
        })
    }
}
