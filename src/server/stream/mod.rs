//! One client's stream: its messages into a [`Session`], the session's replies out.
//!
//! Two ends share a [`Cell`]: a task that reads ([`read`](super::stream::Reader)) and the reply stream that the transport
//! polls ([`Replies`]). Lanes come in from the side as the session's [`Source`]. Nobody holds the cell's lock while waiting.

mod cell;
mod open;
mod reader;
mod seat;
mod settling;
mod source;
mod taken;
mod turns;
mod work_pool;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio_stream::Stream;
use tonic::Status;

use super::{Peer, Shared};
use crate::proto as pb;
use open::Opened;
pub(super) use taken::{Taken, Unread};
pub(super) use work_pool::on_work_pool;

/// Why a session's own updates are answered, as [`pb::SessionChanged`] says it.
pub(super) const UPDATE: &str = "update";

/// A session's replies, as the transport takes them. Dropping it ends the session: the client is gone.
pub(super) struct Replies(Phase);

/// A reply, or how the stream ends.
pub(super) type Answered = Result<Taken, Status>;

/// What a session is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A stream of the contract.
    Stream,
    /// A door that asks and waits: the cells behind each reply are handed out.
    Dialog,
    /// The same, for one frame: nothing that the log tells where nobody asks for more.
    OneFrame,
}

enum Phase {
    /// Waiting for the first message.
    Opening(Pin<Box<dyn Future<Output = Result<Opened, Status>> + Send>>),
    Open(Opened),
    Over,
}

impl Replies {
    pub(super) fn new<S>(shared: Arc<Shared>, peer: Peer, requests: S) -> Self
    where
        S: Stream<Item = Result<pb::StreamRequest, Status>> + Send + Unpin + 'static,
    {
        Replies::of(shared, peer, requests, Use::Stream)
    }

    /// Those of a session that is used so.
    pub(super) fn of<S>(shared: Arc<Shared>, peer: Peer, requests: S, used: Use) -> Self
    where
        S: Stream<Item = Result<pb::StreamRequest, Status>> + Send + Unpin + 'static,
    {
        Replies(Phase::Opening(Box::pin(open::open(
            shared, peer, requests, used,
        ))))
    }

    /// The next reply. None: it was the last.
    pub(super) fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Option<Answered>> {
        if let Phase::Opening(opening) = &mut self.0 {
            match opening.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(opened)) => self.0 = Phase::Open(opened),
                Poll::Ready(Err(status)) => {
                    self.0 = Phase::Over;
                    return Poll::Ready(Some(Err(status)));
                }
            }
        }
        let Phase::Open(opened) = &self.0 else {
            return Poll::Ready(None);
        };
        let Poll::Ready(next) = opened.cell.poll_reply(context) else {
            return Poll::Pending;
        };
        if next.is_last {
            self.0 = Phase::Over;
        }
        Poll::Ready(Some(next.item))
    }
}

impl Stream for Replies {
    type Item = Result<pb::StreamReply, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let answer = self.poll_answer(context);
        answer.map(|next| next.map(|answer| answer.map(|taken| taken.message)))
    }
}
