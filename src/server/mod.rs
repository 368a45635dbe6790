//! The doors: listeners, gRPC services, health, and an orderly end.

mod accept;
mod account;
mod admin;
mod auth;
mod caller;
mod connection;
mod control;
mod convert;
mod dialog;
mod gate;
mod grpc;
mod health;
mod held;
mod http;
mod inference;
mod json;
mod linger;
mod listen;
mod logins;
mod machine;
mod models;
mod observe;
mod origin;
mod page;
mod peer;
mod places;
mod problem;
mod rate;
mod reload;
mod rest;
#[cfg(test)]
mod rig;
mod security;
mod seldom;
mod shm;
mod status;
mod stream;
mod tls;
mod users;
mod wording;

use std::{
    future::Future,
    io,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::{Mutex, Semaphore, watch},
    task::{JoinError, JoinSet},
    time::MissedTickBehavior,
};
use tokio_stream::Stream;
use tracing::{info, warn};

use account::Accounts;
pub use control::Control;
pub use convert::Asked;
pub use listen::{Listener, bind};
use machine::Machine;
pub use models::{Models, Served};
pub(crate) use observe::SHOWN_BYTES;
pub use peer::Peer;
pub use reload::{Found, Loader, Outlook, Reload, ReloadOutcome, Reloaded};
pub use rest::description as openapi;
pub(crate) use rest::drawing_bytes;
pub use security::Security;
pub use shm::MemorySocket;

use caller::Origin;
use gate::Gate;
use held::BEFORE_A_FRAME;
use places::Places;
use seldom::Seldom;
use shm::Regions;

use crate::{
    config::{LimitSettings, Settings, SettingsError},
    pool::LanePool,
    proto,
    telemetry::{Bound, Metrics, Traces},
};

/// What a peer may send in one HTTP/2 frame: 1 MiB halves the round trip of an 8 MiB camera frame against the default 16 KiB.
const HTTP2_FRAME: u32 = 1 << 20;

/// Room beside the pixels in a message: metadata and options.
const MESSAGE_OVERHEAD: u64 = 1 << 20;

/// What a call without a frame may send, in bytes.
pub(crate) const SMALL_MESSAGE: usize = 64 << 10;

/// How long a client that was asked for a sign of life has to give it.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How often the daemon looks whether a series fell silent.
const ATTEND_EVERY: Duration = Duration::from_secs(1);

/// How long connections without a session get to close.
const FLUSH: Duration = Duration::from_secs(1);

/// The daemon's services over a set of models.
pub struct Server {
    shared: Arc<Shared>,
    http: Vec<Listener>,
    memory: Option<MemorySocket>,
}

/// What every session shares.
struct Shared {
    limits: LimitSettings,
    /// Whether HTTP shows the page.
    has_page: bool,
    /// Where programs of this machine reach gRPC, once it is listened for, if they do without TLS.
    local_address: OnceLock<Option<String>>,
    /// How long what is in flight gets to be answered.
    grace: Duration,
    models: Models,
    /// Of a server that can load other models.
    loader: OnceLock<Arc<dyn Loader>>,
    /// One reload at a time.
    reloading: Mutex<()>,
    metrics: Arc<Metrics>,
    accounts: Arc<Accounts>,
    machine: Machine,
    started_at: SystemTime,
    sessions: Arc<Semaphore>,
    /// Of each peer, by its name.
    peers: Arc<Places<String>>,
    connections: Arc<Places<Origin>>,
    gate: Arc<Gate>,
    /// What strangers make the log say.
    refused_connections: Seldom,
    failed_handshakes: Seldom,
    /// What the Open Inference Protocol's requests share.
    inference: inference::State,
    /// Shared memory that frames may lie in.
    regions: Regions,
    budget: Budget,
    /// Those that were opened by HTTP.
    rest: rest::Sessions,
    /// Of overlays that are made for HTTP.
    drawing: rest::Drawing,
    /// Why the daemon stops, once it does.
    draining: watch::Sender<Option<Draining>>,
}

/// Why a daemon takes no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draining {
    /// Somebody asked it to end.
    Asked,
    /// It ends because a device broke.
    DeviceLost,
}

/// Bytes of all frames admitted and not yet segmented.
struct Budget(Arc<Semaphore>);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Asked to; everything in flight was answered.
    Drained,
    /// Asked to; the grace period was over first.
    GraceOver,
    /// A device broke: the process must end and start afresh.
    DeviceLost,
}

/// Why a server could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The contract's descriptors cannot be offered.
    #[error("server reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A listener broke.
    #[error("listening")]
    Transport(#[from] tonic::transport::Error),
    /// A listener could not be handed to the runtime.
    #[error("listener")]
    Listener(#[from] io::Error),
}

impl Draining {
    /// For a client whose stream it ends.
    fn status(self) -> tonic::Status {
        tonic::Status::unavailable(match self {
            Draining::Asked => "the daemon is draining; every answer has been sent",
            Draining::DeviceLost => {
                "the device that segments was lost, and the daemon ends; every answer has been sent"
            }
        })
    }
}

impl Server {
    /// A server over `pools`, the first being the default. Their models' names are unique.
    pub fn new(settings: &Settings, pools: Vec<LanePool>) -> Self {
        let limits = settings.limits.clone();
        let metrics = Arc::<Metrics>::default();
        let otlp = settings.traces.otlp.as_deref();
        let traces = otlp.map_or_else(Traces::default, Traces::to);
        let security = Security::without_files(&settings.auth);
        let shared = Shared {
            has_page: settings.page,
            local_address: OnceLock::new(),
            grace: Duration::from_secs(settings.grace_s),
            models: Models::new(pools),
            loader: OnceLock::new(),
            reloading: Mutex::default(),
            accounts: Accounts::new(Arc::clone(&metrics), traces),
            machine: Machine::default(),
            started_at: SystemTime::now(),
            sessions: Arc::new(Semaphore::new(limits.sessions)),
            peers: Places::new(limits.sessions),
            connections: Places::new(limits.connections),
            gate: Arc::new(Gate::new(security, &limits, Arc::clone(&metrics))),
            refused_connections: Seldom::default(),
            failed_handshakes: Seldom::default(),
            inference: inference::State::default(),
            regions: Regions::new(&settings.shared_memory),
            metrics,
            budget: Budget::new(limits.frames_in_flight_bytes),
            rest: rest::Sessions::default(),
            drawing: rest::Drawing::default(),
            draining: watch::Sender::new(None),
            limits,
        };
        Server {
            shared: Arc::new(shared),
            http: Vec::new(),
            memory: None,
        }
    }

    /// With certificates, tokens and roles: without, `tls://` answers nobody, and roles go by where a caller comes from.
    pub fn secured(self, security: Security) -> Self {
        self.shared.gate.exchange(security);
        self
    }

    /// The same, and `loader` finds other models when somebody asks for a reload.
    pub fn reloading(self, loader: Arc<dyn Loader>) -> Self {
        // A second one would be a mistake of the program; the first keeps its place.
        let _ = self.shared.loader.set(loader);
        self
    }

    /// The same, and `listeners` answer to HTTP: metrics, and whether the daemon lives and is ready.
    pub fn with_http(self, listeners: Vec<Listener>) -> Self {
        Server {
            http: listeners,
            ..self
        }
    }

    /// The same, and clients pass memory over `socket`.
    pub fn with_memory(self, socket: Option<MemorySocket>) -> Self {
        Server {
            memory: socket,
            ..self
        }
    }

    /// What the program asks the server while it runs.
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.shared))
    }

    /// A session without a transport: `requests` as a client sends them, the replies as it gets them. For a daemon inside another
    /// program, and for tests. Must be polled on a tokio runtime; dropping the replies ends the session.
    pub fn in_process<S>(
        &self,
        requests: S,
    ) -> impl Stream<Item = Result<proto::StreamReply, tonic::Status>> + Send + Unpin + use<S>
    where
        S: Stream<Item = Result<proto::StreamRequest, tonic::Status>> + Send + Unpin + 'static,
    {
        stream::Replies::new(Arc::clone(&self.shared), Peer::in_process(), requests)
    }

    /// Serves until `shutdown` completes or a device is lost; then answers what is in flight, within the grace period.
    pub async fn run(
        self,
        listeners: Vec<Listener>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Ended, ServerError> {
        let Server {
            shared,
            http,
            memory,
        } = self;
        let grace = shared.grace;
        // It runs once: nothing was there.
        let _ = shared
            .local_address
            .set(listeners.iter().find_map(Listener::local_address));
        let (mut health, health_service) = health::Reporter::new(&shared.models).await;
        // Who supervises the daemon is answered while it drains.
        let closing = watch::Sender::new(false);
        let mut doors = JoinSet::new();
        for listener in http {
            info!(address = %listener.address(), "listening for HTTP");
            let mut closing = closing.subscribe();
            let stop = async move {
                let _ = closing.wait_for(|closing| *closing).await;
            };
            doors.spawn(listener.serve(Arc::clone(&shared), http::router(&shared), stop)?);
        }
        for listener in listeners {
            info!(address = %listener.address(), "listening");
            let router = grpc::router(&shared, health_service.clone())?;
            let mut draining = shared.draining.subscribe();
            let stop = async move {
                // An error means that the server is gone, which ends the door too.
                let _ = draining.wait_for(Option::is_some).await;
            };
            doors.spawn(listener.serve(Arc::clone(&shared), router, stop)?);
        }
        let mut memory_door = JoinSet::new();
        if let Some(socket) = memory {
            memory_door.spawn(shm::serve(socket, Arc::clone(&shared), closing.subscribe()));
        }
        let ended = tokio::select! {
            () = shutdown => Ended::Drained,
            () = health.watch(&shared.models) => Ended::DeviceLost,
            () = shared.attend() => unreachable!("it never ends"),
            Some(door) = memory_door.join_next() => return over(door),
            Some(door) = doors.join_next() => return over(door),
        };
        info!("draining");
        health.stop_serving().await;
        shared.draining.send_replace(Some(match ended {
            Ended::DeviceLost => Draining::DeviceLost,
            _ => Draining::Asked,
        }));
        let every_session = shared.sessions.acquire_many(shared.limits.sessions as u32);
        let answered = tokio::time::timeout(grace, every_session).await.is_ok();
        if !answered {
            warn!(
                grace_s = grace.as_secs(),
                "grace period over: sessions are ended with frames in flight"
            );
        }
        let models = shared.models.living();
        let hangs = models.iter().any(|served| served.pool().hung().is_some());
        if hangs || !answered {
            // Lanes on the same device may hang too, and nobody waits for what they do.
            models.iter().for_each(|served| served.pool().abandon());
        }
        closing.send_replace(true);
        // Last bytes leave; a client that watches our health would stay for ever.
        let _ =
            tokio::time::timeout(FLUSH, async { while doors.join_next().await.is_some() {} }).await;
        doors.shutdown().await;
        while memory_door.join_next().await.is_some() {}
        let accounts = Arc::clone(&shared.accounts);
        // It cannot panic, and it ends by itself.
        let _ = tokio::task::spawn_blocking(move || accounts.end_traces()).await;
        Ok(match (ended, answered) {
            (Ended::Drained, false) => Ended::GraceOver,
            (ended, _) => ended,
        })
    }
}

/// A door ended while the daemon serves.
fn over<E: Into<ServerError>>(
    door: Result<Result<(), E>, JoinError>,
) -> Result<Ended, ServerError> {
    match door {
        Ok(result) => result.map(|()| Ended::Drained).map_err(Into::into),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

impl Shared {
    /// Reads the files of `[tls]` and `[auth]` again. `Err`: why what was in force stays so.
    fn secure(&self, settings: &Settings) -> Result<(), SettingsError> {
        self.gate.exchange(Security::load(settings)?);
        Ok(())
    }

    /// Tells from time to time what somebody should know of the sessions. Never ends.
    async fn attend(&self) {
        let mut times = tokio::time::interval(ATTEND_EVERY);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            times.tick().await;
            let now = Instant::now();
            self.accounts.attend(now);
            self.regions
                .attend(now, |origin| self.connections.has(&origin));
            let idle = self.limits.session_idle();
            let of_sequences = self.inference.close_idle(now, idle);
            for session in self
                .rest
                .close_idle(now, idle)
                .into_iter()
                .chain(of_sequences)
            {
                self.metrics.refuse(Bound::SessionIdle);
                info!(%session, "session given up: nobody has asked for it in a while");
            }
        }
    }

    /// When the next session between calls of `peer`, or of anybody, ends unless somebody asks for it, and as it is said to who
    /// waits for that. None: there is none.
    fn next_end(&self, peer: Option<&str>) -> Option<(Duration, String)> {
        let (now, idle) = (Instant::now(), self.limits.session_idle());
        let of_rest = self.rest.next_end(peer, now, idle);
        let of_sequences = self.inference.next_end(peer, now, idle);
        let left = of_rest.into_iter().chain(of_sequences).min()?;
        let (left_s, idle_s) = (left.as_secs() + 1, self.limits.session_idle_s);
        let unused_s = BEFORE_A_FRAME.as_secs().min(idle_s);
        let said = format!(
            "Sessions of REST and sequences stay open between calls, until nobody has asked for one in {idle_s} s \
             (limits.session_idle_s; {unused_s} s before its first frame): the next ends in {left_s} s. DELETE /v1/sessions/ID or a \
             request with sequence_end ends one now; /v1/status lists them"
        );
        Some((left, said))
    }

    fn max_message(&self) -> usize {
        (self.limits.max_frame_bytes + MESSAGE_OVERHEAD) as usize
    }
}

impl Budget {
    /// Semaphores count to 2^29 on 32-bit machines: KiB reach far enough.
    const UNIT: u64 = 1024;

    fn new(bytes: u64) -> Self {
        Budget(Arc::new(Semaphore::new((bytes / Self::UNIT) as usize)))
    }

    /// Bytes that could be admitted now.
    fn free(&self) -> u64 {
        self.0.available_permits() as u64 * Self::UNIT
    }

    fn units(bytes: usize) -> u32 {
        u32::try_from((bytes as u64).div_ceil(Self::UNIT)).unwrap_or(u32::MAX)
    }
}

/// The file descriptors of the contract, the Open Inference Protocol and the health service, for reflection.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(crate::inference::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
