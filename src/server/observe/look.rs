//! A frame that was picked to be shown, from its lane to the pages.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use super::{LINES_BYTES, Share, Watch, drawn, preview::Small};
use crate::{
    frame::Frame,
    proto::{self as pb, frame_reply::Outcome},
    segmentation::Segmentation,
    server::{convert, json},
};

/// A frame that is to be shown once its cells are known. Dropped, it is not.
pub(in crate::server) struct Look(Arc<Meeting>);

/// A frame made small, and its cells: whoever comes last shows them.
struct Meeting {
    watch: Arc<Watch>,
    halves: Mutex<Halves>,
    _making: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Halves {
    small: Option<(Small, String)>,
    told: Option<(Told, Arc<Segmentation>)>,
}

/// A frame's reply as a page is told it: without cells, which come as lines.
pub(in crate::server) struct Told(pb::FrameReply);

impl Told {
    /// Of a reply that leaves now, to a frame that had come at `arrived`.
    pub(in crate::server) fn of(reply: &pb::FrameReply, arrived: Instant) -> Self {
        let outcome = match &reply.outcome {
            Some(Outcome::Segmentation(full)) => Some(Outcome::Segmentation(pb::Segmentation {
                width: full.width,
                height: full.height,
                instances: Vec::new(),
                label_image: None,
                summary: full.summary.clone(),
                normalization: full.normalization.clone(),
                truncated: full.truncated,
            })),
            _ => None,
        };
        let timing = reply.timing.map(|timing| pb::Timing {
            total: convert::micros(arrived.elapsed()),
            ..timing
        });
        Told(pb::FrameReply {
            id: reply.id,
            outcome,
            metadata: reply.metadata.clone(),
            timing,
            revision: reply.revision,
            received_at: reply.received_at,
            notices: reply.notices.clone(),
        })
    }
}

impl Look {
    /// Makes `frame` small at once, on the work pool, beside the lane that has it. `share` counts for as long as that takes.
    pub(super) fn new(
        watch: Arc<Watch>,
        frame: Frame,
        share: Share,
        making: OwnedSemaphorePermit,
    ) -> Self {
        let meeting = Arc::new(Meeting {
            watch,
            halves: Mutex::default(),
            _making: making,
        });
        let other = Arc::clone(&meeting);
        on_work_pool(move || {
            let small = Small::of(&frame);
            let series = frame.metadata().series().to_string();
            // What makes room for other frames goes first.
            drop((frame, share));
            let both = other.bring(|halves| halves.small = Some((small, series)));
            if let Some(both) = both {
                other.show(both);
            }
        });
        Look(meeting)
    }

    /// Whether nobody looks at the frame's pixels any more.
    pub(in crate::server) fn is_small(&self) -> bool {
        self.0.lock().small.is_some()
    }

    /// Shows the frame with its cells, on the work pool.
    pub(in crate::server) fn show(self, told: Told, cells: Arc<Segmentation>) {
        let Look(meeting) = self;
        let both = meeting.bring(|halves| halves.told = Some((told, cells)));
        if let Some(both) = both {
            on_work_pool(move || meeting.show(both));
        }
    }
}

type Both = ((Small, String), (Told, Arc<Segmentation>));

impl Meeting {
    /// Adds a half; gives both to whoever brings the second.
    fn bring(&self, half: impl FnOnce(&mut Halves)) -> Option<Both> {
        let mut halves = self.lock();
        half(&mut halves);
        match (halves.small.take(), halves.told.take()) {
            (Some(small), Some(told)) => Some((small, told)),
            (small, told) => {
                *halves = Halves { small, told };
                None
            }
        }
    }

    fn show(&self, ((small, series), (told, cells)): Both) {
        let picture = match small.jpeg(&cells.normalization) {
            Ok(picture) => picture,
            Err(error) => return tracing::debug!(%error, "a frame cannot be shown"),
        };
        // It has said so where it cannot.
        let Ok(reply) = json::value("FrameReply", &told.0) else {
            return;
        };
        let Some(lines) = drawn::cells(&cells, LINES_BYTES) else {
            return tracing::debug!(most = LINES_BYTES, "a frame has too many lines to be shown");
        };
        self.watch.show(picture, |seq| {
            let (width, height, scale) = (small.width, small.height, small.scale);
            format!(
                r#"{{"seq":{seq},"series":{},"picture":{{"width":{width},"height":{height},"scale":{scale}}},"reply":{reply},"cells":{lines}}}"#,
                Value::String(series)
            )
        });
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        // Halves are put there and taken, nothing else.
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn on_work_pool(work: impl FnOnce() + Send + 'static) {
    rayon::spawn(move || {
        // The work pool ends the process if its work panics; a page that misses a frame is no loss.
        let _ = catch_unwind(AssertUnwindSafe(work));
    });
}
