//! A session for doors that ask and wait: each frame's own reply, whoever asked for the others.
//!
//! The same session as a gRPC stream's, with the same bounds; a task takes its replies and hands each to who waits for it.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::AbortHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    Peer, Served, Shared,
    stream::{Replies, Taken, UPDATE, Unread, Use},
};
use crate::{
    proto::{self as pb, stream_reply::Reply, stream_request::Request},
    segmentation::Segmentation,
};

/// A session that is asked. Dropping it ends the session.
pub(super) struct Dialog {
    /// None once it is closed.
    requests: Mutex<Option<Requests>>,
    waiting: Arc<Mutex<Waiting>>,
    replies: AbortHandle,
}

type Requests = mpsc::Sender<Result<pb::StreamRequest, Status>>;

/// The answer to one frame, and the cells that it was made of where there are any.
#[derive(Debug)]
pub(super) struct FrameAnswer {
    pub(super) reply: pb::FrameReply,
    pub(super) cells: Option<Arc<Segmentation>>,
    /// What the session stood at with this frame: which model found the cells, under which settings.
    pub(super) opened: Arc<pb::SessionOpened>,
    /// The model that was asked; gone with its last session.
    pub(super) served: Weak<Served>,
    /// Kept until what is made of it was written.
    pub(super) unread: Unread,
}

/// A frame that was sent and is not answered yet.
pub(super) struct Answering {
    id: u64,
    /// None if the session was closed meanwhile.
    requests: Option<mpsc::WeakSender<Result<pb::StreamRequest, Status>>>,
    waiting: Arc<Mutex<Waiting>>,
    /// None once it is answered.
    receiver: Option<oneshot::Receiver<Result<FrameAnswer, Status>>>,
}

/// Who waits for what, in the order of the requests, and what the session stands at.
#[derive(Default)]
struct Waiting {
    /// As opened, or as the last update or reload changed it.
    opened: Arc<pb::SessionOpened>,
    /// Whether a frame was sent, ever.
    has_had_a_frame: bool,
    served: Weak<Served>,
    frames: VecDeque<oneshot::Sender<Result<FrameAnswer, Status>>>,
    updates: VecDeque<oneshot::Sender<Result<pb::SessionChanged, Status>>>,
    closing: Option<oneshot::Sender<Result<pb::SessionClosed, Status>>>,
    /// How the stream ended: nobody is answered any more.
    ended: Option<Status>,
}

impl Dialog {
    /// Opens a session. Errors: as a stream's.
    pub(super) async fn open(
        shared: Arc<Shared>,
        peer: Peer,
        options: pb::SessionOptions,
    ) -> Result<Self, Status> {
        Dialog::of(shared, peer, options, Use::Dialog).await
    }

    /// The same, for one frame.
    pub(super) async fn once(
        shared: Arc<Shared>,
        peer: Peer,
        options: pb::SessionOptions,
    ) -> Result<Self, Status> {
        Dialog::of(shared, peer, options, Use::OneFrame).await
    }

    async fn of(
        shared: Arc<Shared>,
        peer: Peer,
        options: pb::SessionOptions,
        used: Use,
    ) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(1);
        let mut replies = Replies::of(shared, peer, ReceiverStream::new(receiver), used);
        let open = Ok(message(Request::Open(options)));
        // There is room for one, and the receiver lives.
        let _ = requests.try_send(open);
        let first = poll_fn(|context| replies.poll_answer(context)).await;
        let first = first.unwrap_or_else(|| Err(gone()))?;
        let (Some(Reply::Opened(opened)), Some(served)) = (first.message.reply, first.served)
        else {
            return Err(Status::internal(
                "the session answered `open` with something else",
            ));
        };
        let waiting = Arc::new(Mutex::new(Waiting {
            opened: Arc::new(opened),
            served,
            ..Waiting::default()
        }));
        let replies = tokio::spawn(hand_out(replies, Arc::clone(&waiting))).abort_handle();
        Ok(Dialog {
            requests: Mutex::new(Some(requests)),
            waiting,
            replies,
        })
    }

    /// What the session stands at.
    pub(super) fn opened(&self) -> Arc<pb::SessionOpened> {
        Arc::clone(&lock(&self.waiting).opened)
    }

    /// Whether it was sent a frame so far.
    pub(super) fn has_had_a_frame(&self) -> bool {
        lock(&self.waiting).has_had_a_frame
    }

    /// The model that its frames are for.
    pub(super) fn served(&self) -> Option<Arc<Served>> {
        lock(&self.waiting).served.upgrade()
    }

    /// Segments a frame; waits for its answer. `id` must tell it from the others in flight. Errors: how the session ended.
    pub(super) async fn frame(&self, frame: pb::Frame) -> Result<FrameAnswer, Status> {
        self.offer(frame).await?.answer().await
    }

    /// The same in two steps: the frame is sent when this completes, in the order of the calls. A frame whose answer nobody waits
    /// for any more is given up.
    pub(super) async fn offer(&self, frame: pb::Frame) -> Result<Answering, Status> {
        let id = frame.id;
        let receiver = self
            .send(Request::Frame(frame), |waiting| {
                waiting.has_had_a_frame = true;
                &mut waiting.frames
            })
            .await?;
        let requests = lock(&self.requests).as_ref().map(mpsc::Sender::downgrade);
        Ok(Answering {
            id,
            requests,
            waiting: Arc::clone(&self.waiting),
            receiver: Some(receiver),
        })
    }

    /// New settings for the frames after it. Errors: how the session ended, for bad settings too.
    pub(super) async fn update(
        &self,
        update: pb::SessionUpdate,
    ) -> Result<pb::SessionChanged, Status> {
        self.ask(Request::Update(update), |waiting| &mut waiting.updates)
            .await
    }

    /// Ends the session once every frame is answered. Errors: how it ended before.
    pub(super) async fn close(&self) -> Result<pb::SessionClosed, Status> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if let Some(ended) = &waiting.ended {
                return Err(ended.clone());
            }
            waiting.closing = Some(sender);
        }
        lock(&self.requests).take();
        receiver.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn ask<T>(
        &self,
        request: Request,
        queue: impl FnOnce(&mut Waiting) -> &mut VecDeque<oneshot::Sender<Result<T, Status>>>,
    ) -> Result<T, Status> {
        let receiver = self.send(request, queue).await?;
        receiver.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Sends a request once there is room. What comes back is its answer.
    async fn send<T>(
        &self,
        request: Request,
        queue: impl FnOnce(&mut Waiting) -> &mut VecDeque<oneshot::Sender<Result<T, Status>>>,
    ) -> Result<oneshot::Receiver<Result<T, Status>>, Status> {
        let requests = lock(&self.requests).clone().ok_or_else(gone)?;
        let (sender, receiver) = oneshot::channel();
        let Ok(permit) = requests.reserve().await else {
            return Err(self.ended());
        };
        // One permit at a time: who waits stands in the order of what was sent.
        {
            let mut waiting = lock(&self.waiting);
            if let Some(ended) = &waiting.ended {
                return Err(ended.clone());
            }
            queue(&mut waiting).push_back(sender);
        }
        permit.send(Ok(message(request)));
        Ok(receiver)
    }

    fn ended(&self) -> Status {
        ended(&self.waiting)
    }
}

impl Answering {
    /// Waits for the frame's answer. Errors: how the session ended.
    pub(super) async fn answer(mut self) -> Result<FrameAnswer, Status> {
        let Some(receiver) = &mut self.receiver else {
            return Err(gone());
        };
        let answer = receiver.await;
        self.receiver = None;
        answer.unwrap_or_else(|_| Err(ended(&self.waiting)))
    }
}

impl Drop for Answering {
    /// Nobody waits for the frame any more: it need not be segmented.
    fn drop(&mut self) {
        let requests = self.requests.as_ref().and_then(mpsc::WeakSender::upgrade);
        let (Some(_), Some(requests)) = (&self.receiver, requests) else {
            return;
        };
        let cancel = message(Request::Cancel(pb::Cancel { frame_id: self.id }));
        if let Err(TrySendError::Full(cancel)) = requests.try_send(Ok(cancel)) {
            // Ends when the session has room or is over.
            tokio::spawn(async move { requests.send(cancel).await });
        }
    }
}

impl Drop for Dialog {
    fn drop(&mut self) {
        // What is in flight is given up, as where a stream's client is gone.
        self.replies.abort();
        lock(&self.waiting).end(&gone());
    }
}

impl Waiting {
    fn hand_out(&mut self, taken: Taken) {
        let Taken {
            message,
            cells,
            served,
            unread,
        } = taken;
        if let Some(served) = served {
            self.served = served;
        }
        // Who does not wait any more has gone; the frame was answered all the same.
        match message.reply {
            Some(Reply::Frame(reply)) => {
                if let Some(sender) = self.frames.pop_front() {
                    let _ = sender.send(Ok(FrameAnswer {
                        reply,
                        cells,
                        opened: Arc::clone(&self.opened),
                        served: Weak::clone(&self.served),
                        unread,
                    }));
                }
            }
            Some(Reply::Changed(changed)) => {
                self.change(&changed);
                // A reload's nobody has asked for.
                if changed.why == UPDATE
                    && let Some(sender) = self.updates.pop_front()
                {
                    let _ = sender.send(Ok(changed));
                }
            }
            Some(Reply::Closed(closed)) => {
                if let Some(sender) = self.closing.take() {
                    let _ = sender.send(Ok(closed));
                }
            }
            Some(Reply::Opened(_)) | None => {}
        }
    }

    /// What holds for the frames after it.
    fn change(&mut self, changed: &pb::SessionChanged) {
        let opened = Arc::make_mut(&mut self.opened);
        opened.revision = changed.revision;
        opened.settled.clone_from(&changed.settled);
        opened.model.clone_from(&changed.model);
        opened.backend.clone_from(&changed.backend);
        opened.device.clone_from(&changed.device);
    }

    fn end(&mut self, status: &Status) {
        self.ended = Some(status.clone());
        for sender in self.frames.drain(..) {
            let _ = sender.send(Err(status.clone()));
        }
        for sender in self.updates.drain(..) {
            let _ = sender.send(Err(status.clone()));
        }
        if let Some(sender) = self.closing.take() {
            let _ = sender.send(Err(status.clone()));
        }
    }
}

/// Takes replies until the session is over.
async fn hand_out(mut replies: Replies, waiting: Arc<Mutex<Waiting>>) {
    loop {
        let status = match poll_fn(|context| replies.poll_answer(context)).await {
            Some(Ok(taken)) => {
                lock(&waiting).hand_out(taken);
                continue;
            }
            Some(Err(status)) => status,
            None => gone(),
        };
        return lock(&waiting).end(&status);
    }
}

fn message(request: Request) -> pb::StreamRequest {
    pb::StreamRequest {
        request: Some(request),
    }
}

fn ended(waiting: &Mutex<Waiting>) -> Status {
    lock(waiting).ended.clone().unwrap_or_else(gone)
}

/// For who comes after the end.
fn gone() -> Status {
    Status::failed_precondition("the session is closed")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under it can panic halfway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
