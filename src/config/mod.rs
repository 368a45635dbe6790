//! Files, environment and flags -> valid [`Settings`].

mod check;
mod load;
mod words;

pub use check::SettingsError;
pub use load::Overrides;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::frame::FrameLimits;

/// Everything that an operator can choose. Checked before a socket is bound.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where to listen. Default: `tcp://127.0.0.1:50051`.
    pub listen: Vec<Listen>,
    /// Listen on other than loopback addresses though nothing is encrypted and nobody is asked who they are.
    pub insecure: bool,
    /// ONNX files and TensorRT engines, each with a manifest beside it; the first is the default. Empty: the bundled model.
    pub models: Vec<PathBuf>,
    /// Lanes a model: frames that run at the same time.
    pub lanes: usize,
    /// Threads that move bytes. One is fastest up to several GB/s.
    pub io_threads: usize,
    /// Seconds that frames in flight get to be answered after SIGTERM.
    pub grace_s: u64,
    /// What runs ONNX models, on the CPU.
    pub engine: EngineSettings,
    /// What runs TensorRT engines.
    pub gpu: GpuSettings,
    /// Bounds on what clients may send and hold.
    pub limits: LimitSettings,
    /// What is logged and how.
    pub log: LogSettings,
}

/// An address to listen on.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// `tcp://127.0.0.1:50051`; port 0 takes a free one.
    Tcp(SocketAddr),
    /// `unix:///run/cellsegd/cellsegd.sock`.
    Unix(PathBuf),
}

/// What runs ONNX models.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSettings {
    /// Which engine.
    pub kind: EngineKind,
    /// Threads of one lane; 0: all cores but one, which is left to the acquisition, shared by the lanes.
    pub threads: usize,
    /// ONNX Runtime's library. Unset: `ORT_DYLIB_PATH`, then the folder that `tools/get-onnxruntime` fills.
    pub onnxruntime: Option<PathBuf>,
}

/// Which engine runs a model on the CPU.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum EngineKind {
    /// ONNX Runtime where its library is found, else rten.
    #[default]
    Auto,
    /// Embedded; needs nothing.
    Rten,
    /// About twice as fast; needs its library.
    OnnxRuntime,
}

/// What runs TensorRT engines: on which GPU, and how it lives beside other programs there.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GpuSettings {
    /// An index, as `cellsegd doctor` lists them, or a UUID or its beginning: `GPU-5c1b`.
    pub device: String,
    /// TensorRT's library, or its folder. Unset: the usual names and places.
    pub tensorrt: Option<PathBuf>,
    /// Most device memory of one model, all lanes together; 0: no limit.
    pub memory_limit_mib: u64,
    /// How a lane waits for its GPU.
    pub wait: GpuWait,
    /// Of the lanes' work against other work on the GPU.
    pub priority: GpuPriority,
    /// What happens to an engine that cannot be used.
    pub fallback: GpuFallback,
}

/// How a lane waits for its GPU.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum GpuWait {
    /// Spin where there are cores to spare, else block.
    #[default]
    Auto,
    /// Ask again and again: the answer comes some tens of microseconds earlier, and each lane keeps a core busy.
    Spin,
    /// Sleep until the GPU is done.
    Block,
}

/// Of the lanes' work against other work on the GPU.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum GpuPriority {
    /// Last in line.
    Low,
    /// CUDA's default, which today's drivers put last too.
    #[default]
    Normal,
    /// First in line: before the work of programs that say nothing.
    High,
}

/// What happens to an engine that cannot be used.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum GpuFallback {
    /// The daemon does not start: a GPU that silently is none would be found out by its slowness.
    #[default]
    Never,
    /// The ONNX file that it was built from runs on the CPU; the log, health and every session's opening say so.
    Cpu,
}

/// Bounds on what clients may send and hold.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Bytes of a frame's pixels, as sent and as decoded.
    pub max_frame_bytes: u64,
    /// Pixels, width and height of a frame.
    pub max_side: u32,
    /// Most that a client may ask for as `max_cells`.
    pub max_cells: u32,
    /// Sessions at the same time.
    pub sessions: usize,
    /// Streams of one connection.
    pub streams_per_connection: u32,
    /// Most frames in flight of one session.
    pub window: u32,
    /// Bytes of all frames admitted and not yet answered.
    pub frames_in_flight_bytes: u64,
    /// Seconds that a client may take to send its first message.
    pub first_message_s: u64,
    /// Seconds between HTTP/2 pings to a silent client; one that does not answer in 20 s is gone.
    pub keepalive_s: u64,
}

/// What is logged and how.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// As `RUST_LOG`: `info`, `cellsegd=debug,tonic=info`.
    pub filter: String,
    /// For a person or for a program.
    pub format: LogFormat,
}

/// For a person or for a program.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum LogFormat {
    /// Lines for a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 50051)))],
            insecure: false,
            models: Vec::new(),
            lanes: 1,
            io_threads: 1,
            grace_s: 30,
            engine: EngineSettings::default(),
            gpu: GpuSettings::default(),
            limits: LimitSettings::default(),
            log: LogSettings::default(),
        }
    }
}

impl Default for GpuSettings {
    fn default() -> Self {
        GpuSettings {
            device: "0".to_owned(),
            tensorrt: None,
            memory_limit_mib: 0,
            wait: GpuWait::Auto,
            priority: GpuPriority::Normal,
            fallback: GpuFallback::Never,
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        let frame = FrameLimits::default();
        LimitSettings {
            max_frame_bytes: frame.max_frame_bytes,
            max_side: frame.max_side,
            max_cells: 20_000,
            sessions: 64,
            streams_per_connection: 4,
            window: 16,
            frames_in_flight_bytes: 1 << 30,
            first_message_s: 30,
            keepalive_s: 30,
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl LimitSettings {
    /// What a single frame is held to.
    pub fn frame(&self) -> FrameLimits {
        FrameLimits {
            max_frame_bytes: self.max_frame_bytes,
            max_side: self.max_side,
        }
    }

    /// How often a silent client is asked for a sign of life.
    pub fn keepalive(&self) -> Duration {
        Duration::from_secs(self.keepalive_s)
    }
}
