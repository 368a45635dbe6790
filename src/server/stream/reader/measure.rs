//! Frames that need no lane.

use std::time::Instant;

use super::{
    super::turns::{Due, ToMeasure},
    Reader, Stop,
};
use crate::{frame::Frame, server::convert};

impl Reader {
    /// Takes a frame that is measured in the cells of an earlier one: no lane has to run it.
    pub(super) async fn measure(
        &mut self,
        frame: Frame,
        on: u64,
        arrived: Instant,
        mut answer: convert::Answer,
    ) -> Result<(), Stop> {
        self.wait_for(|session| session.has_room(None)).await?;
        let admitted = self.admit(frame.data().len()).await?;
        answer.revision = self.revision;
        let id = answer.id;
        let due = Due::Measure(Box::new(ToMeasure {
            frame,
            on,
            arrived,
            answer,
            admitted,
        }));
        self.cell.with(|state| state.session.pass_by(id, due));
        Ok(())
    }
}
