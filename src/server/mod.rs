//! The doors: listeners, gRPC services, health, and an orderly end.

mod convert;
mod grpc;
mod health;
mod listen;
mod stream;

use std::{collections::BTreeMap, future::Future, io, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tracing::{info, warn};

pub use listen::{Listener, bind};

use crate::{
    config::{LimitSettings, Settings},
    pool::LanePool,
    proto,
};

/// What a peer may send in one HTTP/2 frame: 1 MiB halves the round trip of an 8 MiB camera frame against the default 16 KiB.
const HTTP2_FRAME: u32 = 1 << 20;

/// Room beside the pixels in a message: metadata and options.
const MESSAGE_OVERHEAD: u64 = 1 << 20;

/// How long a client that was asked for a sign of life has to give it.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a unary call may take, from its first byte to its answer: a message that is never finished holds memory.
const UNARY_TIMEOUT: Duration = Duration::from_secs(120);

/// How long connections without a session get to close.
const FLUSH: Duration = Duration::from_secs(1);

/// The daemon's services over a set of models.
pub struct Server {
    shared: Arc<Shared>,
    grace: Duration,
}

/// What every session shares.
struct Shared {
    limits: LimitSettings,
    /// The first is the default.
    pools: Vec<LanePool>,
    sessions: Arc<Semaphore>,
    budget: Budget,
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
        let shared = Shared {
            pools,
            sessions: Arc::new(Semaphore::new(limits.sessions)),
            budget: Budget::new(limits.frames_in_flight_bytes),
            draining: watch::Sender::new(None),
            limits,
        };
        Server {
            shared: Arc::new(shared),
            grace: Duration::from_secs(settings.grace_s),
        }
    }

    /// Serves until `shutdown` completes or a device is lost; then answers what is in flight, within the grace period.
    pub async fn run(
        self,
        listeners: Vec<Listener>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Ended, ServerError> {
        let Server { shared, grace } = self;
        let (mut health, health_service) = health::Reporter::new(&shared.pools).await;
        let mut doors = JoinSet::new();
        for listener in listeners {
            info!(address = %listener.address(), "listening");
            let router = grpc::router(&shared, health_service.clone())?;
            let mut draining = shared.draining.subscribe();
            let stop = async move {
                // An error means that the server is gone, which ends the door too.
                let _ = draining.wait_for(Option::is_some).await;
            };
            doors.spawn(listener.serve(router, stop)?);
        }
        let ended = tokio::select! {
            () = shutdown => Ended::Drained,
            () = health.watch() => Ended::DeviceLost,
            Some(door) = doors.join_next() => match door {
                Ok(result) => return result.map(|()| Ended::Drained).map_err(Into::into),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            },
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
        // Last bytes leave; a client that watches our health would stay for ever.
        let _ =
            tokio::time::timeout(FLUSH, async { while doors.join_next().await.is_some() {} }).await;
        doors.shutdown().await;
        Ok(match (ended, answered) {
            (Ended::Drained, false) => Ended::GraceOver,
            (ended, _) => ended,
        })
    }
}

impl Shared {
    /// The pool of a model; the empty name is the default.
    fn pool(&self, model: &str) -> Option<&LanePool> {
        match model.is_empty() {
            true => self.pools.first(),
            false => self.pools.iter().find(|pool| pool.model().name == model),
        }
    }

    fn model_names(&self) -> String {
        let names: BTreeMap<&str, ()> = self
            .pools
            .iter()
            .map(|pool| (pool.model().name.as_str(), ()))
            .collect();
        names.into_keys().collect::<Vec<_>>().join(", ")
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

    fn units(bytes: usize) -> u32 {
        u32::try_from((bytes as u64).div_ceil(Self::UNIT)).unwrap_or(u32::MAX)
    }
}

/// The contract's file descriptors and those of the health service, for reflection.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
