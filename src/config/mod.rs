//! Files, environment and flags -> valid [`Settings`].

mod check;
mod engine;
mod gpu;
mod keys;
mod limits;
mod load;
mod log;
mod models;
mod role;
mod security;
mod shared_memory;
mod words;

pub use check::SettingsError;
pub use engine::{EngineKind, EngineSettings};
pub use gpu::{GpuFallback, GpuPriority, GpuSettings, GpuWait};
pub use keys::{
    Digest, Key, KeyFile, NAME_RULE, Readers, is_name, refuse_open, regular, write_private,
};
pub use limits::LimitSettings;
pub use load::Overrides;
pub use log::{LogFormat, LogSettings, TraceSettings};
pub use models::{ReloadMode, TrustSettings};
pub use role::Role;
pub use security::{AuthSettings, ClientCertificates, Grant, PriorityCap, RoleLimits, TlsSettings};
pub use shared_memory::SharedMemorySettings;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Everything that an operator can choose. Checked before a socket is bound.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where to listen. Default: `tcp://127.0.0.1:50051`.
    pub listen: Vec<Listen>,
    /// Where HTTP is answered: `/metrics`, `/livez`, `/readyz`. Default: nowhere.
    pub http: Vec<Listen>,
    /// Whether `/` of HTTP shows a page with the sessions and their newest frames, to the role observe.
    pub page: bool,
    /// Listen with `tcp://` on other than loopback addresses, though nothing is encrypted there and nobody is asked who they are.
    pub insecure: bool,
    /// ONNX files and TensorRT engines, each with a manifest beside it.
    pub models: Vec<PathBuf>,
    /// A folder whose ONNX files and engines are served too, an engine before the ONNX file of its name. Without any model the
    /// bundled one is served.
    pub models_dir: Option<PathBuf>,
    /// Name of the model that clients get who name none. Empty: the first.
    pub default_model: String,
    /// How a model is exchanged for another while it is served.
    pub reload: ReloadMode,
    /// Whose model files are loaded.
    pub trust: TrustSettings,
    /// Lanes a model: frames that run at the same time.
    pub lanes: usize,
    /// Threads that move bytes. One is fastest up to several GB/s.
    pub io_threads: usize,
    /// Seconds that frames in flight get to be answered after SIGTERM.
    pub grace_s: u64,
    /// Seconds that a frame on a lane may give no sign of life before the daemon ends for a restart. Nothing beats within a run
    /// of the network: more than the slowest of those.
    pub hung_after_s: u64,
    /// What runs ONNX models, on the CPU.
    pub engine: EngineSettings,
    /// What runs TensorRT engines.
    pub gpu: GpuSettings,
    /// Bounds on what clients may send and hold.
    pub limits: LimitSettings,
    /// Which memory of other programs frames are read from.
    pub shared_memory: SharedMemorySettings,
    /// How `tls://` addresses prove who they are.
    pub tls: TlsSettings,
    /// Who calls, and what each may do.
    pub auth: AuthSettings,
    /// What is logged and how.
    pub log: LogSettings,
    /// Where traces go.
    pub traces: TraceSettings,
}

/// An address to listen on.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// `tcp://127.0.0.1:50051`; port 0 takes a free one.
    Tcp(SocketAddr),
    /// `tls://0.0.0.0:50051`: TCP with TLS.
    Tls(SocketAddr),
    /// `unix:///run/cellsegd/cellsegd.sock`.
    Unix(PathBuf),
}

impl Settings {
    /// How long a frame on a lane may give no sign of life.
    pub fn hung_after(&self) -> Duration {
        Duration::from_secs(self.hung_after_s)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 50051)))],
            http: Vec::new(),
            page: true,
            insecure: false,
            models: Vec::new(),
            models_dir: None,
            default_model: String::new(),
            reload: ReloadMode::default(),
            trust: TrustSettings::default(),
            lanes: 1,
            io_threads: 1,
            grace_s: 30,
            hung_after_s: 60,
            engine: EngineSettings::default(),
            gpu: GpuSettings::default(),
            limits: LimitSettings::default(),
            shared_memory: SharedMemorySettings::default(),
            tls: TlsSettings::default(),
            auth: AuthSettings::default(),
            log: LogSettings::default(),
            traces: TraceSettings::default(),
        }
    }
}
