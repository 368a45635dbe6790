//! From a stream's first message to an open session.

use std::{sync::Arc, time::Duration};

use tokio::sync::OwnedSemaphorePermit;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use tracing::info;

use super::{
    super::{Shared, convert},
    cell::{Cell, Pending},
    reader::Reader,
};
use crate::{
    pool::Membership,
    proto::{self as pb, stream_reply::Reply, stream_request::Request as Event},
    session::Session,
};

/// A session while its reply stream lives.
pub(super) struct Opened {
    pub(super) cell: Arc<Cell>,
    session: String,
    _membership: Arc<Membership>,
    _place: OwnedSemaphorePermit,
}

/// Waits for the first message and opens the session that it asks for.
pub(super) async fn open<S>(shared: Arc<Shared>, mut requests: S) -> Result<Opened, Status>
where
    S: Stream<Item = Result<pb::StreamRequest, Status>> + Send + Unpin + 'static,
{
    let place = Arc::clone(&shared.sessions)
        .try_acquire_owned()
        .map_err(|_| {
            let most = shared.limits.sessions;
            Status::resource_exhausted(format!(
                "{most} sessions are open: no more are served; try again when one has ended"
            ))
        })?;
    let options = first_message(&shared, &mut requests).await?;
    let pool = shared.pool(&options.model).ok_or_else(|| {
        let (asked, known) = (&options.model, shared.model_names());
        convert::Refusal::NotFound(format!("no model {asked:?}; there are: {known}"))
    })?;
    let settled = convert::Settled::new(&options, pool.model(), &shared.limits)?;
    let opened = convert::opened(&settled, pool.model(), pool.description(), &shared.limits);
    info!(session = %opened.session, name = %settled.name, model = %pool.model().name, "session opened");

    let mut session = Session::new(settled.delivery, settled.window as usize);
    session.announce(Pending {
        reply: Reply::Opened(opened.clone()),
        arrived: None,
    });
    let cell = Cell::new(session);
    let membership = Arc::new(pool.join(Arc::clone(&cell) as _, settled.priority));
    let id = opened.session.clone();
    let reader = Reader::new(
        shared,
        Arc::clone(&cell),
        Arc::clone(&membership),
        settled,
        opened,
    );
    // Ends with the requests, when the client is gone, or when the daemon drains.
    tokio::spawn(reader.run(requests));
    Ok(Opened {
        cell,
        session: id,
        _membership: membership,
        _place: place,
    })
}

async fn first_message<S>(shared: &Shared, requests: &mut S) -> Result<pb::SessionOptions, Status>
where
    S: Stream<Item = Result<pb::StreamRequest, Status>> + Unpin,
{
    let mut draining = shared.draining.subscribe();
    let patience = Duration::from_secs(shared.limits.first_message_s);
    let first = tokio::select! {
        first = requests.next() => first,
        () = tokio::time::sleep(patience) => {
            return Err(Status::deadline_exceeded(format!("no first message within {} s", patience.as_secs())));
        }
        _ = draining.wait_for(Option::is_some) => return Err(Status::unavailable("the daemon is draining")),
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

impl Drop for Opened {
    fn drop(&mut self) {
        let counts = self.cell.with(|state| state.session.counts());
        self.cell.leave();
        info!(
            session = %self.session,
            segmented = counts.segmented,
            dropped = counts.dropped,
            failed = counts.failed,
            "session closed"
        );
    }
}
