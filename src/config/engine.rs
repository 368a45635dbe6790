//! `[engine]`: what runs ONNX models.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
