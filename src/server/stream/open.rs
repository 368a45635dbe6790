//! From a stream's first message to an open session.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::{
    super::{Peer, Shared, account::Who, convert, places::Place},
    Use,
    cell::{Cell, Frames},
    reader::Reader,
    seat::Seat,
    taken::Pending,
    work_pool::on_work_pool,
};
use crate::{
    analysis::{Analyst, Kept, Smoothing, Timeline},
    config::LimitSettings,
    model::ModelSpec,
    proto::{self as pb, stream_reply::Reply, stream_request::Request as Event},
    telemetry::Bound,
};

/// A session while its reply stream lives.
pub(super) struct Opened {
    pub(super) cell: Arc<Cell>,
    _place: OwnedSemaphorePermit,
    _own_place: Place<String>,
}

/// Waits for the first message and opens the session that it asks for.
pub(super) async fn open<S>(
    shared: Arc<Shared>,
    peer: Peer,
    mut requests: S,
    used: Use,
) -> Result<Opened, Status>
where
    S: Stream<Item = Result<pb::StreamRequest, Status>> + Send + Unpin + 'static,
{
    let place = Arc::clone(&shared.sessions).try_acquire_owned();
    // A daemon that drains waits for every place: that there is none then says nothing of other sessions.
    if shared.draining.borrow().is_some() {
        return Err(too_late());
    }
    let place = place.map_err(|_| {
        shared.metrics.refuse(Bound::Sessions);
        let most = shared.limits.sessions;
        no_place(
            &shared,
            None,
            &format!("{most} sessions are open: no more are served"),
        )
    })?;
    let (name, most) = (peer.to_string(), peer.max_sessions());
    let own_place = shared.peers.take(name, most).map_err(|_| {
        shared.metrics.refuse(Bound::SessionsPerPeer);
        no_place(
            &shared,
            Some(&peer),
            &format!("{peer} has {most} sessions open: no more are served to one peer"),
        )
    })?;
    let options = first_message(&shared, &mut requests).await?;
    let served = shared.models.get(&options.model).ok_or_else(|| {
        let (asked, known) = (&options.model, shared.models.names());
        convert::Refusal::NotFound(format!("no model {asked:?}; there are: {known}"))
    })?;
    let pool = served.pool();
    let Wishes {
        settled,
        analyst,
        timeline,
    } = settle(options, pool.model(), &shared.limits).await?;
    let settled = settled.capped(peer.max_priority());
    let opened = convert::opened(&settled, pool.model(), pool.description(), &shared.limits);
    let who = Who {
        session: opened.session.clone(),
        name: settled.name.clone(),
        peer: peer.to_string(),
        priority: settled.to_options().priority(),
        delivery: settled.to_options().delivery(),
        is_brief: used == Use::OneFrame,
    };
    let account = shared
        .accounts
        .open(who, peer.parent(), served.name(), opened.revision);

    let mut session = Frames::new(settled.delivery, settled.window as usize);
    if analyst.needs_order() {
        session = session.in_order();
    }
    session.announce(Pending::of_model(Reply::Opened(opened.clone()), &served));
    let kept = Kept::new(shared.limits.frames_kept);
    let smoothing = Smoothing::new(settled.window as usize);
    let cell = Cell::new(
        session,
        account,
        used != Use::Stream,
        (analyst, timeline),
        (kept, smoothing),
    );
    let seat = Seat::take(served, &cell, settled.priority);
    let reader = Reader::new((shared, peer), Arc::clone(&cell), seat, settled, opened);
    // Ends with the requests, when the client is gone, or when the daemon drains.
    tokio::spawn(reader.run(requests));
    Ok(Opened {
        cell,
        _place: place,
        _own_place: own_place,
    })
}

/// What a session asked for, settled.
struct Wishes {
    settled: convert::Settled,
    analyst: Analyst,
    timeline: Timeline,
}

impl Wishes {
    fn new(
        options: &pb::SessionOptions,
        model: &ModelSpec,
        limits: &LimitSettings,
    ) -> Result<Self, convert::Refusal> {
        let settled = convert::Settled::new(options, model, limits)?;
        let analyst = Analyst::new(&settled.analysis)?;
        let mut timeline = Timeline::new(&settled.analysis);
        for (metadata, resumed) in convert::resumed(options.tracking.as_ref(), limits)? {
            timeline.resume(&metadata, resumed)?;
        }
        Ok(Wishes {
            settled,
            analyst,
            timeline,
        })
    }
}

async fn settle(
    options: pb::SessionOptions,
    model: &Arc<ModelSpec>,
    limits: &LimitSettings,
) -> Result<Wishes, Status> {
    if !convert::Settled::is_slow(&options) {
        return Ok(Wishes::new(&options, model, limits)?);
    }
    let (model, limits) = (Arc::clone(model), limits.clone());
    on_work_pool(move || Wishes::new(&options, &model, &limits))
        .await
        .ok_or_else(|| {
            let defect = convert::defect("settling its options");
            convert::Refusal::Internal(defect.message)
        })?
        .map_err(Into::into)
}

async fn first_message<S>(shared: &Shared, requests: &mut S) -> Result<pb::SessionOptions, Status>
where
    S: Stream<Item = Result<pb::StreamRequest, Status>> + Unpin,
{
    let mut draining = shared.draining.subscribe();
    let patience = shared.limits.patience();
    let first = tokio::select! {
        first = requests.next() => first,
        () = tokio::time::sleep(patience) => {
            shared.metrics.refuse(Bound::FirstMessage);
            return Err(Status::deadline_exceeded(format!("no first message within {} s", patience.as_secs())));
        }
        _ = draining.wait_for(Option::is_some) => return Err(too_late()),
    };
    let kind = match first {
        Some(message) => match message?.request {
            Some(Event::Open(options)) => return Ok(options),
            Some(Event::Frame(_)) => "a frame",
            Some(Event::Update(_)) => "an update",
            Some(Event::Cancel(_)) => "a cancel",
            None => "empty",
        },
        None => "none",
    };
    Err(Status::invalid_argument(format!(
        "the first message must be `open`, but it was {kind}"
    )))
}

/// `why` there is no place for a session, and when there may be one again: of those that are open between calls (of `peer`'s, or of
/// anybody's) it is known when they end.
fn no_place(shared: &Shared, peer: Option<&Peer>, why: &str) -> Status {
    let its = peer.map(Peer::to_string);
    let why = format!("{why}; try again when one has ended");
    match shared.next_end(its.as_deref()) {
        Some((left, said)) => convert::full(format!("{why}. {said}"), left),
        None => Status::resource_exhausted(why),
    }
}

/// For a client that comes too late.
fn too_late() -> Status {
    Status::unavailable("the daemon is draining")
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.cell.leave();
        self.cell.account.close();
    }
}
