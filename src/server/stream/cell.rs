//! What the ends of a stream and the lanes share.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use prost::Message;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tonic::Status;

use super::super::{
    account::Account,
    convert::{self, Answer, Outputs},
};
use crate::{
    backend::{LaneError, Ticket},
    frame::Frame,
    params::Params,
    pool::{Source, Work},
    proto::{self as pb, frame_reply::Outcome as FrameOutcome, stream_reply::Reply},
    segmentation::RawSegmentation,
    session::{self, Outcome, Session},
};

/// A session between its reader, the lanes and its reply stream.
pub(super) struct Cell {
    state: Mutex<State>,
    /// Something changed that the reader may wait for: room in the window, or the client is gone.
    pub(super) changed: Notify,
    /// Given up when the client is gone.
    ticket: Ticket,
    pub(super) account: Arc<Account>,
    /// For lanes' answers, which outlive any borrow.
    this: std::sync::Weak<Cell>,
}

pub(super) struct State {
    pub(super) session: Session<Box<Waiting>, Pending>,
    /// Of the reply stream's task.
    waker: Option<Waker>,
    /// How the stream ends once every frame is answered; set when nothing more is read.
    end: Option<Result<(), Status>>,
    /// The reader waits for room.
    reader_waits: bool,
    /// The reader waits until no frame waits.
    start_awaited: bool,
    gone: bool,
    /// Bytes of segmentations that the client has not taken.
    unread_bytes: u64,
}

/// A frame that waits for a lane.
pub(super) struct Waiting {
    pub(super) frame: Frame,
    pub(super) params: Arc<Params>,
    pub(super) outputs: Outputs,
    pub(super) answer: Answer,
    /// Its share of the byte budget.
    pub(super) admitted: OwnedSemaphorePermit,
}

/// A reply that was not taken yet.
pub(super) struct Pending {
    pub(super) reply: Reply,
    /// When its frame had come.
    pub(super) arrived: Option<Instant>,
}

/// What the transport gets next.
pub(super) struct Next {
    pub(super) item: Result<pb::StreamReply, Status>,
    pub(super) is_last: bool,
}

/// Masks over this many 32-bit words are settled and encoded on the work pool; fewer take under 100 us, less than is worth a hop.
const WORDS_WORTH_A_HOP: usize = 8192;

impl Cell {
    pub(super) fn new(session: Session<Box<Waiting>, Pending>, account: Arc<Account>) -> Arc<Self> {
        Arc::new_cyclic(|this| Cell {
            state: Mutex::new(State {
                session,
                waker: None,
                end: None,
                reader_waits: false,
                start_awaited: false,
                gone: false,
                unread_bytes: 0,
            }),
            changed: Notify::new(),
            ticket: Ticket::default(),
            account,
            this: this.clone(),
        })
    }

    /// Changes the state, then wakes the reply stream if there is something to take.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let waker = if state.has_next() {
            state.waker.take()
        } else {
            None
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    /// Whether the session has what the reader waits for; if not, the next reply that is taken wakes it.
    pub(super) fn has(&self, what: impl Fn(&Session<Box<Waiting>, Pending>) -> bool) -> bool {
        let mut state = self.lock();
        let has = what(&state.session);
        state.reader_waits = !has;
        has
    }

    /// Whether the client has left fewer bytes of segmentations unread; if not, the next reply that is taken wakes the reader.
    pub(super) fn has_fewer_unread_than(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        let has = state.unread_bytes < bytes;
        state.reader_waits = !has;
        has
    }

    /// Whether every frame was taken by a lane or needs none; if not, the reader is woken when the last one is taken.
    pub(super) fn all_started(&self) -> bool {
        let mut state = self.lock();
        let all = state.session.waiting_since().is_none();
        state.start_awaited = !all;
        all
    }

    pub(super) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    pub(super) fn is_in_flight(&self, id: u64) -> bool {
        self.lock().session.is_in_flight(id)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.lock().session.next_deadline()
    }

    /// Drops what is past its deadline.
    pub(super) fn expire(&self) {
        self.with(|state| state.session.expire(Instant::now()));
    }

    /// Nothing more is read: the stream ends so, after every answer.
    pub(super) fn end(&self, end: Result<(), Status>) {
        self.with(|state| state.end = Some(end));
    }

    /// The client is gone.
    pub(super) fn leave(&self) {
        self.ticket.cancel();
        let mut state = self.lock();
        state.gone = true;
        state.session.close();
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn poll_reply(&self, context: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.lock();
        if let Some(reply) = state.session.next_reply() {
            if let session::Reply::Ready(Pending { reply, .. }) = &reply {
                state.unread_bytes -= weight(reply);
            }
            let reader_waits = std::mem::take(&mut state.reader_waits);
            drop(state);
            if reader_waits {
                self.changed.notify_one();
            }
            let message = message(reply);
            if let Some(Reply::Frame(reply)) = &message.reply {
                self.account.answered(reply);
            }
            return Poll::Ready(Next {
                item: Ok(message),
                is_last: false,
            });
        }
        if state.session.is_idle()
            && let Some(end) = state.end.take()
        {
            let closed = Reply::Closed(convert::closed(state.session.counts()));
            let item = end.map(|()| pb::StreamReply {
                reply: Some(closed),
            });
            return Poll::Ready(Next {
                item,
                is_last: true,
            });
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A session's methods leave it whole even where they panic in debug builds.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, seq: u64, arrived: Instant, outcome: Outcome, reply: pb::FrameReply) {
        let pending = Pending {
            reply: Reply::Frame(reply),
            arrived: Some(arrived),
        };
        let weight = weight(&pending.reply);
        self.with(|state| {
            state.session.finish(seq, outcome, pending);
            state.unread_bytes += weight;
        });
    }
}

impl State {
    fn has_next(&self) -> bool {
        self.session.has_reply() || self.session.is_idle() && self.end.is_some()
    }
}

impl Source for Cell {
    fn waiting_since(&self) -> Option<Instant> {
        self.lock().session.waiting_since()
    }

    fn waiting(&self) -> usize {
        self.lock().session.waiting()
    }

    fn start(&self, now: Instant) -> Option<Work> {
        // With `with`: frames past their deadline are dropped here, which is a reply.
        let (started, awaited) = self.with(|state| {
            let started = state.session.start(now);
            let is_last = state.session.waiting_since().is_none();
            let awaited = is_last && std::mem::take(&mut state.start_awaited);
            (started, awaited)
        });
        if awaited {
            self.changed.notify_one();
        }
        let started = started?;
        let session::Started {
            seq,
            arrived,
            frame,
        } = started;
        let Waiting {
            frame,
            params,
            outputs,
            answer,
            admitted,
        } = *frame;
        let cell = self.this.upgrade()?;
        let settling = Settling {
            seq,
            arrived,
            queued: now.saturating_duration_since(arrived + answer.unpack),
            params: Arc::clone(&params),
            outputs,
            pixel_size_um: frame.metadata().pixel_size_um,
            answer,
            cell,
        };
        let answer = move |result| {
            drop(admitted);
            settling.answer(result);
        };
        Some(Work {
            frame,
            params,
            ticket: self.ticket.of_frame(),
            answer: Box::new(answer),
        })
    }
}

/// From a lane's answer to a reply.
struct Settling {
    seq: u64,
    arrived: Instant,
    queued: Duration,
    params: Arc<Params>,
    outputs: Outputs,
    pixel_size_um: Option<f64>,
    answer: Answer,
    cell: Arc<Cell>,
}

impl Settling {
    /// On the lane's thread: small answers are made here, others on the work pool.
    fn answer(self, result: Result<RawSegmentation, LaneError>) {
        match result {
            Err(error) => {
                let reply = convert::failed(self.answer, convert::lane_failure(&error));
                self.cell
                    .finish(self.seq, self.arrived, Outcome::Failed, reply);
            }
            Ok(raw) => {
                let words: usize = raw
                    .instances
                    .iter()
                    .map(|cell| cell.mask.words().len())
                    .sum();
                match words > WORDS_WORTH_A_HOP || self.outputs.label_image {
                    true => rayon::spawn(move || self.settle(raw)),
                    false => self.settle(raw),
                }
            }
        }
    }

    fn settle(self, raw: RawSegmentation) {
        // The work pool ends the process if its work panics.
        let encoded = catch_unwind(AssertUnwindSafe(|| {
            convert::encode(
                &raw,
                &self.params.thresholds,
                &self.outputs,
                self.pixel_size_um,
            )
        }));
        let (outcome, reply) = match encoded {
            Ok(encoded) => (
                Outcome::Segmented,
                convert::segmented(self.answer, encoded, self.queued),
            ),
            Err(_) => (
                Outcome::Failed,
                convert::failed(self.answer, convert::defect("settling its masks")),
            ),
        };
        self.cell.finish(self.seq, self.arrived, outcome, reply);
    }
}

/// What a reply that waits holds, bytes: only those with cells are worth counting, and only they come by `Cell::finish`.
fn weight(reply: &Reply) -> u64 {
    match reply {
        Reply::Frame(reply) if matches!(reply.outcome, Some(FrameOutcome::Segmentation(_))) => {
            reply.encoded_len() as u64
        }
        _ => 0,
    }
}

/// A session's reply as a message; its total time ends here.
fn message(reply: session::Reply<Pending>) -> pb::StreamReply {
    let reply = match reply {
        session::Reply::Dropped { id, reason } => Reply::Frame(convert::dropped(id, reason)),
        session::Reply::Ready(Pending { mut reply, arrived }) => {
            if let (Reply::Frame(frame), Some(arrived)) = (&mut reply, arrived)
                && let Some(timing) = &mut frame.timing
            {
                timing.total = convert::micros(arrived.elapsed());
            }
            reply
        }
    };
    pb::StreamReply { reply: Some(reply) }
}
