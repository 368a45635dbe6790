//! A client's connection: bytes in and out, and what is known of who sends them.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Instant, Sleep, sleep_until},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{Origin, caller::Caller, places::Place};

/// Bytes by which HTTP has said who it is: HTTP/2's preface. No HTTP/1.1 request is shorter.
const FIRST_WORDS: usize = 24;

/// A connection in service.
pub(super) struct Connection {
    wire: Wire,
    caller: Arc<Caller>,
    patience: Option<Patience>,
    _place: Place<Origin>,
}

/// What carries the bytes.
pub(super) enum Wire {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// For a client that has not said anything yet, and for one of another machine that has not shown that it may do anything.
/// Afterwards HTTP/2's keepalive asks.
pub(super) struct Patience {
    /// Bytes of the first words.
    missing: usize,
    over: Pin<Box<Sleep>>,
    /// From the first words to the first call that its role allows.
    then: Duration,
    late: Box<dyn Fn() + Send>,
}

impl Connection {
    pub(super) fn new(
        wire: Wire,
        caller: Caller,
        patience: Patience,
        place: Place<Origin>,
    ) -> Self {
        Connection {
            wire,
            caller: Arc::new(caller),
            patience: Some(patience),
            _place: place,
        }
    }
}

impl Patience {
    /// The first words must come `until` then, and within `then` after them, from another machine, a call that its role allows. If
    /// they do not, `late` is called and the connection ends.
    pub(super) fn new(until: Instant, then: Duration, late: Box<dyn Fn() + Send>) -> Self {
        Patience {
            missing: FIRST_WORDS,
            over: Box::pin(sleep_until(until)),
            then,
            late,
        }
    }

    /// So many more bytes have come. Ready: nothing is waited for any more, or it is too late.
    fn poll(
        &mut self,
        read: usize,
        caller: &Caller,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if 0 < self.missing {
            self.missing = self.missing.saturating_sub(read);
            if self.missing == 0 {
                self.over.as_mut().reset(Instant::now() + self.then);
            }
        }
        if self.missing == 0 && caller.is_known() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.over.as_mut().poll(context));
        (self.late)();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Caller>;

    fn connect_info(&self) -> Arc<Caller> {
        Arc::clone(&self.caller)
    }
}

/// Calls the same method of whatever the wire is.
macro_rules! wire {
    ($connection:expr, $method:ident($($argument:expr),*)) => {
        match &mut $connection.get_mut().wire {
            Wire::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Wire::Tls(stream) => Pin::new(stream).$method($($argument),*),
            Wire::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = wire!(self.as_mut(), poll_read(context, buffer));
        let connection = self.get_mut();
        let Some(patience) = &mut connection.patience else {
            return polled;
        };
        let read = buffer.filled().len() - before;
        match patience.poll(read, &connection.caller, context) {
            Poll::Ready(Ok(())) => connection.patience = None,
            Poll::Ready(Err(late)) => return Poll::Ready(Err(late)),
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        wire!(self, poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        wire!(self, poll_write_vectored(context, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Tcp(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
            Wire::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        wire!(self, poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        wire!(self, poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::server::places::Places;

    /// What becomes of a connection from `from` that says its first words and makes, or does not make, a call.
    async fn is_ended(from: [u8; 4], calls: bool) -> bool {
        let (mut client, server) = UnixStream::pair().unwrap();
        let caller = Caller::new(Origin::Ip(IpAddr::from(from)), None);
        let place = Places::new(1).take(caller.origin, 1).ok().unwrap();
        let second = Duration::from_secs(1);
        let patience = Patience::new(Instant::now() + second, 30 * second, Box::new(|| {}));
        let mut connection = Connection::new(Wire::Unix(server), caller, patience, place);
        client.write_all(&[0; FIRST_WORDS]).await.unwrap();
        connection.read_exact(&mut [0; FIRST_WORDS]).await.unwrap();
        if calls {
            connection.caller.admit();
        }
        let more = tokio::time::timeout(60 * second, connection.read_u8());
        more.await.is_ok_and(|read| read.is_err())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_that_may_nothing_keeps_no_place() {
        assert!(is_ended([10, 0, 0, 1], false).await);
        assert!(!is_ended([10, 0, 0, 1], true).await);
        assert!(!is_ended([127, 0, 0, 1], false).await);
    }
}
