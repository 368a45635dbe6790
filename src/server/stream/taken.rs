//! Answers on their way out, and what of them counts as unread.

use std::{
    mem,
    sync::{Arc, Weak},
    time::Instant,
};

use prost::Message;

use super::{
    super::{Served, convert},
    cell::Cell,
};
use crate::{
    proto::{self as pb, frame_reply::Outcome, stream_reply::Reply},
    segmentation::Segmentation,
};

/// A reply that was not taken yet.
pub(super) struct Pending {
    pub(super) reply: Reply,
    /// When its frame had come.
    arrived: Option<Instant>,
    /// What it was made of, where that is handed out.
    cells: Option<Arc<Segmentation>>,
    /// The model of the frames after it, where the reply says which that is.
    served: Option<Weak<Served>>,
    /// What counts as unread, bytes.
    pub(super) bytes: u64,
}

/// A reply that was taken, and what it was made of.
pub(in crate::server) struct Taken {
    pub(in crate::server) message: pb::StreamReply,
    /// Of a frame's reply, where they are handed out.
    pub(in crate::server) cells: Option<Arc<Segmentation>>,
    /// The model of the frames after it, where the reply says which that is.
    pub(in crate::server) served: Option<Weak<Served>>,
    pub(in crate::server) unread: Unread,
}

/// An answer that the client has not got. Its session is held back by it until this is dropped: by the transport once it takes the
/// reply, by other doors once they have written what they make of it.
#[derive(Debug)]
pub(in crate::server) struct Unread {
    /// Gone with its session: then nothing is held back any more.
    cell: Weak<Cell>,
    bytes: u64,
}

impl Pending {
    /// The reply to a frame that had come then, and the cells that are handed out with it.
    pub(super) fn of_cells(
        reply: pb::FrameReply,
        arrived: Instant,
        cells: Option<Arc<Segmentation>>,
    ) -> Self {
        let reply = Reply::Frame(reply);
        let held = cells.as_ref().map_or(0, |cells| cells.bytes());
        Pending {
            bytes: weight(&reply) + held as u64,
            reply,
            arrived: Some(arrived),
            cells,
            served: None,
        }
    }

    /// The reply to a frame that never was on a lane: it weighs next to nothing.
    pub(super) fn of_frame(reply: pb::FrameReply, arrived: Instant) -> Self {
        Pending {
            reply: Reply::Frame(reply),
            arrived: Some(arrived),
            cells: None,
            served: None,
            bytes: 0,
        }
    }

    /// A reply to something else.
    pub(super) fn beside_frames(reply: Reply) -> Self {
        Pending {
            reply,
            arrived: None,
            cells: None,
            served: None,
            bytes: 0,
        }
    }

    /// A reply that says which model the frames after it are for.
    pub(super) fn of_model(reply: Reply, served: &Arc<Served>) -> Self {
        Pending {
            served: Some(Arc::downgrade(served)),
            ..Pending::beside_frames(reply)
        }
    }

    /// It leaves `cell`: a frame's total time ends here.
    pub(super) fn taken(mut self, cell: &Weak<Cell>) -> Taken {
        if let (Reply::Frame(frame), Some(arrived)) = (&mut self.reply, self.arrived)
            && let Some(timing) = &mut frame.timing
        {
            timing.total = convert::micros(arrived.elapsed());
        }
        Taken {
            message: pb::StreamReply {
                reply: Some(self.reply),
            },
            cells: self.cells,
            served: self.served,
            unread: Unread {
                cell: Weak::clone(cell),
                bytes: self.bytes,
            },
        }
    }
}

impl Unread {
    /// It holds nothing back any more.
    pub(in crate::server) fn release(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        if 0 < bytes
            && let Some(cell) = self.cell.upgrade()
        {
            cell.was_read(bytes);
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.release();
    }
}

/// What a reply that waits holds, bytes: only those with cells are worth counting.
fn weight(reply: &Reply) -> u64 {
    match reply {
        Reply::Frame(reply) => match reply.outcome {
            Some(Outcome::Segmentation(_) | Outcome::Measured(_)) => reply.encoded_len() as u64,
            _ => 0,
        },
        _ => 0,
    }
}
