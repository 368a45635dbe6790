//! What the ends of a stream and the lanes share.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tonic::Status;

use super::{
    super::{
        account::Account,
        convert::{self, Answer, Outputs},
    },
    taken::{Pending, Taken},
    turns::Due,
};
use crate::{
    analysis::{Analyst, Kept, Place, Smoothing, Timeline},
    backend::Ticket,
    frame::Frame,
    params::Params,
    proto::{self as pb, stream_reply::Reply},
    segmentation::Segmentation,
    session::{self, Offer, Outcome, Session},
};

/// A client's frames, and what becomes of them here.
pub(super) type Frames = Session<Box<Waiting>, Pending, Due>;

/// A session between its reader, the lanes and its reply stream.
pub(super) struct Cell {
    state: Mutex<State>,
    /// Something changed that the reader may wait for: room in the window, or the client is gone.
    pub(super) changed: Notify,
    /// Given up when the client is gone.
    pub(super) ticket: Ticket,
    pub(super) account: Arc<Account>,
    /// Whoever takes the replies wants the cells behind them too.
    pub(super) hands_out_cells: bool,
    /// What is made of each frame by itself.
    pub(super) analyst: Analyst,
    /// What is made of the frames one after the other. Locked by whoever takes turns: one at a time.
    pub(super) timeline: Mutex<Timeline>,
    /// For lanes' answers, which outlive any borrow.
    pub(super) this: std::sync::Weak<Cell>,
}

pub(super) struct State {
    pub(super) session: Frames,
    /// Earlier frames' cells, for those that are measured in them.
    pub(super) kept: Kept,
    pub(super) smoothing: Smoothing,
    /// Positions whose series start afresh after the frames before this one's place.
    pub(super) forgotten: VecDeque<(u64, Vec<String>)>,
    /// Somebody takes turns.
    pub(super) takes_turns: bool,
    /// Of the reply stream's task.
    waker: Option<Waker>,
    /// How the stream ends once every frame is answered; set when nothing more is read.
    end: Option<Result<(), Status>>,
    /// The reader waits for room.
    reader_waits: bool,
    /// The reader waits until no frame waits.
    pub(super) start_awaited: bool,
    gone: bool,
    /// Bytes of answers that the client has not got.
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
    /// Where its percentiles belong, if its series is smoothed.
    pub(super) place: Option<Place>,
}

/// What the transport gets next.
pub(super) struct Next {
    pub(super) item: Result<Taken, Status>,
    pub(super) is_last: bool,
}

impl Cell {
    /// Of a session before its first frame.
    pub(super) fn new(
        session: Frames,
        account: Arc<Account>,
        hands_out_cells: bool,
        (analyst, timeline): (Analyst, Timeline),
        (kept, smoothing): (Kept, Smoothing),
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Cell {
            analyst,
            timeline: Mutex::new(timeline),
            state: Mutex::new(State {
                session,
                kept,
                smoothing,
                forgotten: VecDeque::new(),
                takes_turns: false,
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
            hands_out_cells,
            this: this.clone(),
        })
    }

    /// Changes the state, then wakes the reply stream if there is something to take, and sees to it that turns are taken.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let takes_turns = !state.takes_turns && state.has_turn();
        state.takes_turns |= takes_turns;
        let waker = if state.has_next() {
            state.waker.take()
        } else {
            None
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if takes_turns && let Some(cell) = self.this.upgrade() {
            rayon::spawn(move || cell.take_turns());
        }
        result
    }

    /// Whether the session has what the reader waits for; if not, the next reply that is taken wakes it.
    pub(super) fn has(&self, what: impl Fn(&Frames) -> bool) -> bool {
        let mut state = self.lock();
        let has = what(&state.session);
        state.reader_waits = !has;
        has
    }

    /// Whether the client has left fewer bytes of answers unread; if not, the next one that it gets wakes the reader.
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
        let mut state = self.lock();
        state.gone = true;
        state.session.close();
        drop(state);
        // After that: a lane that gives its frame up at once must not find the next one.
        self.ticket.cancel();
        self.changed.notify_one();
    }

    pub(super) fn poll_reply(&self, context: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.lock();
        if let Some(reply) = state.session.next_reply() {
            self.wake_reader(state);
            let taken = self.taken(reply);
            if let Some(Reply::Frame(reply)) = &taken.message.reply {
                self.account.answered(reply);
            }
            return Poll::Ready(Next {
                item: Ok(taken),
                is_last: false,
            });
        }
        if state.session.is_idle()
            && let Some(end) = state.end.take()
        {
            let closed = Reply::Closed(convert::closed(state.session.counts()));
            let closed = session::Reply::Ready(Pending::beside_frames(closed));
            return Poll::Ready(Next {
                item: end.map(|()| self.taken(closed)),
                is_last: true,
            });
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn taken(&self, reply: session::Reply<Pending>) -> Taken {
        let pending = match reply {
            session::Reply::Dropped { id, reason } => {
                Pending::beside_frames(Reply::Frame(convert::dropped(id, reason)))
            }
            session::Reply::Ready(pending) => pending,
        };
        pending.taken(&self.this)
    }

    /// The client has got an answer of so many bytes.
    pub(super) fn was_read(&self, bytes: u64) {
        let mut state = self.lock();
        state.unread_bytes -= bytes;
        self.wake_reader(state);
    }

    fn wake_reader(&self, mut state: MutexGuard<'_, State>) {
        let reader_waits = std::mem::take(&mut state.reader_waits);
        drop(state);
        if reader_waits {
            self.changed.notify_one();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A session's methods leave it whole even where they panic in debug builds.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn finish(
        &self,
        seq: u64,
        arrived: Instant,
        outcome: Outcome,
        reply: pb::FrameReply,
        cells: Option<Arc<Segmentation>>,
    ) {
        let cells = cells.filter(|_| self.hands_out_cells);
        let pending = Pending::of_cells(reply, arrived, cells);
        let bytes = pending.bytes;
        self.with(|state| {
            state.session.finish(seq, outcome, pending);
            state.unread_bytes += bytes;
        });
    }
}

impl State {
    /// Takes a frame, or gives it back if there is no room.
    pub(super) fn offer(&mut self, mut offer: Offer<Box<Waiting>>) -> Result<(), Box<Waiting>> {
        let smoothing = offer.frame.params.smoothing;
        if 0.0 < smoothing && self.session.has_room(Some(&offer.series)) {
            let (place, smoothed) = self.smoothing.offered(&offer.series, smoothing);
            let waiting = &mut *offer.frame;
            waiting.place = Some(place);
            if smoothed.is_some() {
                waiting.params = Arc::new(Params {
                    smoothed,
                    ..(*waiting.params).clone()
                });
            }
        }
        self.session.offer(offer)
    }

    /// Whether somebody has to take turns.
    fn has_turn(&self) -> bool {
        let turn = self.session.next_turn_seq();
        self.session.has_turn() || self.forgotten.front().is_some_and(|&(seq, _)| seq < turn)
    }

    fn has_next(&self) -> bool {
        self.session.has_reply() || self.session.is_idle() && self.end.is_some()
    }
}
