//! Who is refused while it still sends is listened to for a while.
//!
//! A connection that is closed over bytes nobody has read is reset, and many clients then never see what they were told. So a body
//! that its call left unread is read before the refusal leaves, for a bounded time, and nothing of it is kept.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody},
    extract::Request,
    http::header::EXPECT,
    middleware::Next,
    response::Response,
};
use tokio::sync::oneshot;
use tokio_stream::{Stream, StreamExt};

/// How much longer.
const LINGER: Duration = Duration::from_secs(2);

/// A body that comes back when nobody reads it any more.
struct Lent {
    body: Option<BodyDataStream>,
    /// Whether anybody began to read it, by which a client that asked is told to send.
    was_read: bool,
    back: Option<oneshot::Sender<Returned>>,
}

/// What is left of a body.
struct Returned {
    rest: BodyDataStream,
    was_read: bool,
}

/// Answers once the client has stopped sending, or has been listened to for long enough. Who asks before it sends
/// (`Expect: 100-continue`), and was not told to, is answered at once.
pub(super) async fn listen_out(request: Request, next: Next) -> Response {
    let asks_first = request.headers().contains_key(EXPECT);
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (back, mut unread) = oneshot::channel();
    let request = request.map(|body| {
        Body::from_stream(Lent {
            body: Some(body.into_data_stream()),
            was_read: false,
            back: Some(back),
        })
    });
    let response = next.run(request).await;
    // It has not come back where somebody reads it still.
    if !response.status().is_success()
        && let Ok(Returned { mut rest, was_read }) = unread.try_recv()
        && (was_read || !asks_first)
    {
        let listen = async { while let Some(Ok(_)) = rest.next().await {} };
        // It is refused in any case.
        let _ = tokio::time::timeout(LINGER, listen).await;
    }
    response
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.was_read = true;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_next(context),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(rest), Some(back)) = (self.body.take(), self.back.take()) {
            let was_read = self.was_read;
            // Nobody waits for it where the call was given up.
            let _ = back.send(Returned { rest, was_read });
        }
    }
}
