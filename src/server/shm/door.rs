//! The memory socket: memory without a name, as memfd_create makes it, passed by its owner.
//!
//! A client connects, sends one line, what it calls the memory, with one descriptor beside it (SCM_RIGHTS), and reads one line of
//! JSON: `{"region": ID, "byte_size": N, "writable": true}`, or `{"error": WHY}` and the end. The id cannot be guessed; whoever
//! knows it and comes from this machine may name the region in frames. The region lives as long as that connection.

use std::{
    fs::Permissions,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::PathBuf,
    sync::Arc,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::UnixStream,
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, info};

use super::{
    super::{Origin, Shared, accept, caller::Caller, listen, places::Place, seldom::Seldom},
    MAX_NAME, RegionError,
    pin::pin,
};
use crate::{config::Role, telemetry::Bound};

/// A socket that was bound, with the path that is removed at the end.
#[derive(Debug)]
pub struct MemorySocket {
    listener: UnixListener,
    path: PathBuf,
}

impl MemorySocket {
    /// Binds it; a file that a daemon which died has left is replaced. The daemon's group may connect, as to the package's gRPC
    /// socket; who may what is settled for each who does. Errors: the system's, with the path.
    pub fn bind(path: PathBuf) -> io::Result<MemorySocket> {
        let context = |error: io::Error| {
            let text = format!("shared_memory.socket {}: {error}", path.display());
            io::Error::new(error.kind(), text)
        };
        let listener = listen::bind_unix(&path).map_err(context)?;
        // As that of gRPC, where the package's systemd binds it: the daemon's group.
        let rights = Permissions::from_mode(0o660);
        std::fs::set_permissions(&path, rights).map_err(context)?;
        listener.set_nonblocking(true).map_err(context)?;
        Ok(MemorySocket { listener, path })
    }
}

/// Takes memory until `stop` says so.
pub(in crate::server) async fn serve(
    socket: MemorySocket,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(socket.listener)?;
    info!(path = %socket.path.display(), "listening for shared memory");
    // Ends with this future, and with it every region that came this way.
    let mut connections = JoinSet::new();
    let shortages = Seldom::default();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept::accept_unix(&listener) => accepted,
        };
        match accepted {
            Ok((stream, origin, gid)) => {
                let caller = Caller::new(origin, Some(gid));
                if let Some(place) = accept::place(&shared, origin) {
                    connections.spawn(take(stream, caller, place, Arc::clone(&shared)));
                }
            }
            Err(error) => accept::pause_after(&error, &shortages).await,
        }
    }
    // Somebody may have removed it already.
    let _ = std::fs::remove_file(&socket.path);
    Ok(())
}

/// One client: its memory, while its connection lasts.
async fn take(mut stream: UnixStream, caller: Caller, _place: Place<Origin>, shared: Arc<Shared>) {
    let taken = match timeout(shared.limits.patience(), receive(&mut stream)).await {
        Ok(Ok(received)) => register(&shared, &caller, received).await,
        // It is gone.
        Ok(Err(_)) => return,
        Err(_) => {
            shared.metrics.refuse(Bound::FirstMessage);
            return;
        }
    };
    let (answer, id) = match taken {
        Ok(about) => {
            let answer = serde_json::json!({
                "region": about.name,
                "byte_size": about.byte_size,
                "writable": about.writable,
            });
            (answer, Some(about.name))
        }
        Err(error) => {
            debug!(peer = %caller.origin, %error, "shared memory refused");
            (serde_json::json!({ "error": error.to_string() }), None)
        }
    };
    let id = id.map(|id| Held(&shared, id));
    let line = format!("{answer}\n");
    if stream.write_all(line.as_bytes()).await.is_ok() && id.is_some() {
        // Until it closes. What it says meanwhile means nothing.
        let mut nothing = [0; 64];
        while stream.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
    }
}

/// A region that ends when this is dropped, also where its task is.
struct Held<'a>(&'a Shared, String);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.regions.forget_passed(&self.1);
    }
}

async fn register(
    shared: &Arc<Shared>,
    caller: &Caller,
    (line, file): (Vec<u8>, Option<OwnedFd>),
) -> Result<super::About, RegionError> {
    let what = "passing shared memory";
    let peer = shared
        .gate
        .admit_connection(caller, Role::Infer, what)
        .map_err(RegionError::Denied)?;
    let name = line
        .strip_suffix(b"\n")
        .and_then(|name| std::str::from_utf8(name).ok());
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
        RegionError::Invalid(format!(
            "a line is expected: what the memory is called, 1 to {MAX_NAME} bytes of UTF-8 that end with a newline"
        ))
    })?;
    let file = file.ok_or_else(|| {
        RegionError::Invalid(
            "no descriptor came with the line: send one with it, as SCM_RIGHTS".to_owned(),
        )
    })?;
    let about = shared.regions.register_passed(&peer, name, file)?;
    pin(shared, &peer, &about).await;
    Ok(about)
}

/// One line, and the descriptor that came with it. Errors: the client is gone.
async fn receive(stream: &mut UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let (mut line, mut file) = (Vec::new(), None);
    loop {
        let mut bytes = [0; MAX_NAME + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = stream
            .async_io(Interest::READABLE, || {
                let mut buffers = [IoSliceMut::new(&mut bytes)];
                recvmsg(
                    &*stream,
                    &mut buffers,
                    &mut control,
                    RecvFlags::CMSG_CLOEXEC,
                )
                .map_err(io::Error::from)
            })
            .await?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut files) = message {
                file = file.or(files.next());
            }
        }
        line.extend_from_slice(&bytes[..received.bytes]);
        if line.ends_with(b"\n") || line.len() > MAX_NAME || received.bytes == 0 {
            return Ok((line, file));
        }
    }
}
