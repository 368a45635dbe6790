//! Reads one client's messages, no faster than its session takes them.
//!
//! A frame for which there is no room is held here, one at a time, and nothing more is read until there is: HTTP/2 flow
//! control then holds the client back. So a client within its window can always update and cancel.

mod follow;
mod measure;
mod understand;
mod update;

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Status};

use super::{
    super::{Budget, Draining, Peer, Served, Shared, convert},
    cell::{Cell, Frames, Waiting},
    seat::Seat,
    taken::Pending,
};
use crate::{
    backend::tiled,
    frame::{Frame, SeriesKey},
    params::Params,
    proto::{self as pb, stream_reply::Reply, stream_request::Request as Event},
    session::{DropReason, Offer},
    telemetry::Bound,
};
use understand::Understood;

/// The reading end of a session.
pub(super) struct Reader {
    shared: Arc<Shared>,
    peer: Peer,
    cell: Arc<Cell>,
    seat: Seat,
    /// A newer model that this session's options do not fit.
    declined: Weak<Served>,
    models: watch::Receiver<Arc<[Arc<Served>]>>,
    draining: watch::Receiver<Option<Draining>>,
    settled: convert::Settled,
    /// The settled parameters as frames share them.
    params: Arc<Params>,
    opened: pb::SessionOpened,
    revision: u32,
}

/// Why nothing more is read.
enum Stop {
    /// The client is gone: nobody reads an answer.
    Gone,
    /// The daemon stops.
    Draining,
    /// The client did what ends a stream.
    Refused(Status),
}

impl From<convert::Refusal> for Stop {
    fn from(refusal: convert::Refusal) -> Self {
        Stop::Refused(refusal.into())
    }
}

impl Reader {
    pub(super) fn new(
        (shared, peer): (Arc<Shared>, Peer),
        cell: Arc<Cell>,
        seat: Seat,
        settled: convert::Settled,
        opened: pb::SessionOpened,
    ) -> Self {
        let draining = shared.draining.subscribe();
        let models = shared.models.changes();
        let params = Arc::new(settled.params.clone());
        let revision = opened.revision;
        Reader {
            shared,
            peer,
            cell,
            seat,
            declined: Weak::new(),
            models,
            draining,
            settled,
            params,
            opened,
            revision,
        }
    }

    /// Reads until the client half-closes, breaks the contract or is gone, or the daemon drains.
    pub(super) async fn run<S>(mut self, mut requests: S)
    where
        S: Stream<Item = Result<pb::StreamRequest, Status>> + Unpin,
    {
        let end = loop {
            match self.next(&mut requests).await {
                Ok(Some(event)) => {
                    if let Err(stop) = self.take(event).await {
                        break self.end_of(stop);
                    }
                }
                Ok(None) => break Ok(()),
                Err(stop) => break self.end_of(stop),
            }
        };
        // What was accepted is still answered, also before an error.
        self.cell.end(end);
        self.discard(requests).await;
    }

    fn end_of(&self, stop: Stop) -> Result<(), Status> {
        match stop {
            Stop::Gone => Ok(()),
            Stop::Draining => Err(self.draining.borrow().unwrap_or(Draining::Asked).status()),
            Stop::Refused(status) => Err(status),
        }
    }

    async fn next<S>(&mut self, requests: &mut S) -> Result<Option<Event>, Stop>
    where
        S: Stream<Item = Result<pb::StreamRequest, Status>> + Unpin,
    {
        loop {
            // A client that floods must not outrun the end.
            if self.draining.borrow().is_some() {
                return Err(Stop::Draining);
            }
            self.keep_up().await?;
            let deadline = self.cell.next_deadline();
            tokio::select! {
                biased;
                message = requests.next() => return match message {
                    None => Ok(None),
                    Some(Err(status)) => {
                        if status.code() == Code::OutOfRange {
                            self.shared.metrics.refuse(Bound::MessageBytes);
                        }
                        Err(Stop::Refused(status))
                    }
                    Some(Ok(pb::StreamRequest { request: Some(event) })) => Ok(Some(event)),
                    Some(Ok(pb::StreamRequest { request: None })) => {
                        let text = "a message without open, frame, update or cancel";
                        Err(Stop::Refused(Status::invalid_argument(text)))
                    }
                },
                stop = self.disturbed(deadline) => stop?,
            }
        }
    }

    /// Completes when somebody who waits has to look again: a deadline, room, other models, or the end.
    async fn disturbed(&mut self, deadline: Option<Instant>) -> Result<(), Stop> {
        self.step_aside();
        let mut draining = self.draining.clone();
        tokio::select! {
            _ = self.models.changed() => Ok(()),
            () = self.cell.changed.notified() => match self.cell.is_gone() {
                true => Err(Stop::Gone),
                false => Ok(()),
            },
            _ = draining.wait_for(Option::is_some) => Err(Stop::Draining),
            () = until(deadline) => {
                self.cell.expire();
                Ok(())
            }
        }
    }

    /// Waits until the session has what is asked for.
    async fn wait_for(&mut self, what: impl Fn(&Frames) -> bool) -> Result<(), Stop> {
        while !self.cell.has(&what) {
            self.disturbed(self.cell.next_deadline()).await?;
        }
        Ok(())
    }

    /// No frame is taken of a client that has not read its answers, once they hold too many bytes. One is held meanwhile: who sends
    /// none is heard, also that it ends.
    async fn wait_for_client(&mut self) -> Result<(), Stop> {
        let most = self.shared.limits.unread_answers_bytes;
        if self.cell.has_fewer_unread_than(most) {
            return Ok(());
        }
        self.shared.metrics.refuse(Bound::UnreadAnswersBytes);
        while !self.cell.has_fewer_unread_than(most) {
            self.disturbed(self.cell.next_deadline()).await?;
        }
        Ok(())
    }

    async fn take(&mut self, event: Event) -> Result<(), Stop> {
        match event {
            Event::Open(_) => {
                let text = "a second `open`: a session is opened once; send an update, or open another stream";
                Err(Stop::Refused(Status::invalid_argument(text)))
            }
            Event::Frame(frame) => self.frame(frame).await,
            Event::Update(update) => self.update(update).await,
            Event::Cancel(pb::Cancel { frame_id }) => {
                self.cell.with(|state| state.session.cancel(frame_id));
                Ok(())
            }
        }
    }

    /// Tells the client what holds for the frames after it.
    async fn announce(&mut self, why: &str) -> Result<(), Stop> {
        self.wait_for(Frames::has_room_for_note).await?;
        self.params = Arc::new(self.settled.params.clone());
        self.revision += 1;
        let model = self.seat.served().name();
        self.cell.account.changed(model, self.revision);
        let changed = convert::changed(self.revision, self.settled.to_options(), &self.opened, why);
        self.cell.with(|state| {
            let changed = Pending::of_model(Reply::Changed(changed), self.seat.served());
            state.session.announce(changed);
        });
        Ok(())
    }

    /// Takes a frame; also while the daemon drains it is answered.
    async fn frame(&mut self, message: pb::Frame) -> Result<(), Stop> {
        let id = message.id;
        let taken = match self.wait_for_client().await {
            Ok(()) => self.offer(message).await,
            Err(stop) => Err(stop),
        };
        if let Err(Stop::Draining) = taken {
            self.cell
                .with(|state| state.session.drop_on_arrival(id, DropReason::Draining));
        }
        taken
    }

    async fn offer(&mut self, mut message: pb::Frame) -> Result<(), Stop> {
        let arrived = Instant::now();
        let id = message.id;
        let mut answer = convert::Answer {
            id,
            metadata: None,
            revision: self.revision,
            received_at: SystemTime::now(),
            unpack: Duration::ZERO,
            slot: None,
        };
        let understood = self.understand(&mut message, &mut answer).await;
        let Understood {
            mut frame,
            thresholds,
            deadline,
            measure_on,
        } = match understood {
            Ok(understood) => understood,
            Err(failed) => {
                self.cell.account.arrived(None, arrived);
                let series = convert::series(answer.metadata.as_ref());
                let reply = convert::failed(answer, failed);
                return self.refuse(id, series, arrived, reply).await;
            }
        };
        let series = frame.metadata().series();
        self.cell.account.arrived(Some(series.clone()), arrived);
        if let Some(on) = measure_on {
            return self.measure(frame, on, arrived, answer).await;
        }
        let deadline = deadline.and_then(|patience| arrived.checked_add(patience));
        loop {
            let admitted = self.room_for(&frame, &series).await?;
            answer.revision = self.revision;
            // Of the model that is served by now.
            let params = self.params_with(thresholds.as_ref()).and_then(|params| {
                tiled::check(self.seat.served().pool().model(), &frame, &params.tiling)
                    .map_err(convert::invalid)?;
                Ok(params)
            });
            let params = match params {
                Ok(params) => params,
                Err(failed) => {
                    drop(admitted);
                    let reply = convert::failed(answer, failed);
                    return self.refuse(id, Some(series), arrived, reply).await;
                }
            };
            let offer = Offer {
                id,
                series: series.clone(),
                arrived,
                deadline,
                frame: Box::new(Waiting {
                    frame,
                    params,
                    outputs: self.settled.outputs,
                    answer,
                    admitted,
                    place: None,
                }),
            };
            let Err(back) = self.cell.with(|state| state.offer(offer)) else {
                self.seat.wake();
                return Ok(());
            };
            // A lane has started the frame that this one would have replaced. Its share of the budget goes back meanwhile.
            Waiting { frame, answer, .. } = *back;
        }
    }

    /// Waits until the session had room for a frame and the budget has its bytes, with the settings and the model up to date.
    async fn room_for(
        &mut self,
        frame: &Frame,
        series: &SeriesKey,
    ) -> Result<OwnedSemaphorePermit, Stop> {
        loop {
            self.keep_up().await?;
            // In this order: what holds a share of the budget runs, so every share comes back.
            self.wait_for(|session| session.has_room(Some(series)))
                .await?;
            let admitted = self.admit(frame.data().len()).await?;
            // Another model may be served since.
            if self.is_up_to_date() {
                return Ok(admitted);
            }
        }
    }

    /// The session's parameters, with a frame's own thresholds over them. `Err`: what its reply says.
    fn params_with(&self, over: Option<&pb::Thresholds>) -> Result<Arc<Params>, pb::Failed> {
        let Some(over) = over else {
            return Ok(Arc::clone(&self.params));
        };
        let thresholds = self.settled.thresholds_with(over);
        Ok(Arc::new(Params {
            thresholds: thresholds.map_err(|refusal| convert::failure_of(&refusal))?,
            ..(*self.params).clone()
        }))
    }

    /// A frame that fails by itself: its reply takes its turn.
    async fn refuse(
        &mut self,
        id: u64,
        series: Option<SeriesKey>,
        arrived: Instant,
        reply: pb::FrameReply,
    ) -> Result<(), Stop> {
        self.wait_for(|session| session.has_room(None)).await?;
        let pending = Pending::of_frame(reply, arrived);
        self.cell
            .with(|state| state.session.refuse(id, series, pending));
        Ok(())
    }

    /// Takes a frame's bytes out of the budget; waits while others hold them.
    async fn admit(&mut self, bytes: usize) -> Result<OwnedSemaphorePermit, Stop> {
        let budget = Arc::clone(&self.shared.budget.0);
        if budget.available_permits() < Budget::units(bytes) as usize {
            self.shared.metrics.refuse(Bound::FramesInFlightBytes);
        }
        let mut admitted = std::pin::pin!(budget.acquire_many_owned(Budget::units(bytes)));
        loop {
            tokio::select! {
                biased;
                permit = &mut admitted => return Ok(permit.expect("the budget is never closed")),
                stop = self.disturbed(self.cell.next_deadline()) => stop?,
            }
        }
    }

    /// After the end: what the client goes on sending is thrown away until the last reply has left, for a connection that is
    /// closed over unread bytes loses what was sent on it. Deadlines still drop what waits.
    async fn discard<S>(&mut self, mut requests: S)
    where
        S: Stream<Item = Result<pb::StreamRequest, Status>> + Unpin,
    {
        let mut is_open = true;
        while !self.cell.is_gone() {
            self.step_aside();
            tokio::select! {
                _ = self.models.changed() => {}
                message = requests.next(), if is_open => is_open = matches!(message, Some(Ok(_))),
                () = self.cell.changed.notified() => {}
                () = until(self.cell.next_deadline()) => self.cell.expire(),
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
