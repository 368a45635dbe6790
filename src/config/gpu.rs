//! `[gpu]`: what runs TensorRT engines.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::check::{SettingsError, in_range, wrong};

/// 16 TiB, which no GPU has: what is more was not meant.
const MAX_MEMORY_MIB: u64 = 1 << 24;

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
    /// Most device memory of all models together; 0: no limit.
    pub total_memory_mib: u64,
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

impl Default for GpuSettings {
    fn default() -> Self {
        GpuSettings {
            device: "0".to_owned(),
            tensorrt: None,
            memory_limit_mib: 0,
            total_memory_mib: 0,
            wait: GpuWait::Auto,
            priority: GpuPriority::Normal,
            fallback: GpuFallback::Never,
        }
    }
}

impl GpuSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let device = &self.device;
        let is_index = !device.is_empty()
            && device.len() <= 4
            && device.bytes().all(|byte| byte.is_ascii_digit());
        in_range(
            "gpu.memory_limit_mib",
            self.memory_limit_mib,
            0..=MAX_MEMORY_MIB,
        )?;
        in_range(
            "gpu.total_memory_mib",
            self.total_memory_mib,
            0..=MAX_MEMORY_MIB,
        )?;
        match is_index || device.to_ascii_uppercase().starts_with("GPU-") {
            true => Ok(()),
            false => Err(wrong(
                "gpu.device",
                format!("{device:?}"),
                "must be an index, as \"0\", or a UUID or its beginning, as \"GPU-5c1b\": cellsegd doctor lists them",
            )),
        }
    }
}
