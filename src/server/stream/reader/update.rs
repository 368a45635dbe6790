//! New settings for the frames that follow.

use super::{
    super::{UPDATE, cell::Frames, work_pool::on_work_pool},
    Reader, Stop,
};
use crate::{proto as pb, server::convert};

impl Reader {
    /// Settles what is asked for, and announces it; an error ends the stream.
    pub(super) async fn update(&mut self, update: pb::SessionUpdate) -> Result<(), Stop> {
        let forgotten = convert::forgotten(&update)?;
        let other_brightness = update.normalization.is_some();
        let mut settled = self.settled.clone();
        self.settled = match convert::Settled::is_slow_update(&update) {
            false => settled.update(&update).map(|()| settled)?,
            true => on_work_pool(move || settled.update(&update).map(|()| settled))
                .await
                .ok_or_else(|| {
                    let defect = convert::defect("settling its options");
                    convert::Refusal::Internal(defect.message)
                })??,
        };
        self.wait_for(Frames::has_room_for_note).await?;
        self.cell.with(|state| {
            if other_brightness {
                state.smoothing.forget();
            }
            for position in &forgotten {
                state.smoothing.forget_position(position);
            }
            if !forgotten.is_empty() {
                let seq = state.session.next_seq();
                state.forgotten.push_back((seq, forgotten));
            }
        });
        self.announce(UPDATE).await
    }
}
