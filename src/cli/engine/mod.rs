//! `cellsegd engine`: TensorRT engines from ONNX files, and what is in them.

mod batch;
mod build;
mod inspect;
mod manifest;
mod output;
mod progress;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::config::{GpuSettings, Overrides, Settings};

/// Build TensorRT engines from ONNX files, and say what is in one
#[derive(Args, Debug)]
pub(super) struct Engine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(build::Build),
    Inspect(inspect::Inspect),
}

/// Which library and which GPU.
#[derive(Args, Clone, Debug)]
struct On {
    /// Settings, TOML: its [gpu] section
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Index or UUID of the GPU [default: the settings']
    #[arg(long, value_name = "GPU")]
    device: Option<String>,
    /// TensorRT's library, or its folder [default: the settings', else the usual names and places]
    #[arg(long, value_name = "PATH")]
    tensorrt: Option<PathBuf>,
}

impl Engine {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Build(build) => build.run(),
            Command::Inspect(inspect) => inspect.run(),
        }
    }
}

impl On {
    /// Starts the log, too.
    fn settings(&self) -> Result<GpuSettings> {
        let overrides = Overrides {
            quiet: true,
            ..Overrides::default()
        };
        let settings = Settings::load(self.config.as_deref(), &overrides)?;
        crate::telemetry::start(&settings.log)?;
        let mut gpu = settings.gpu;
        if let Some(device) = &self.device {
            gpu.device = device.clone();
        }
        if let Some(path) = &self.tensorrt {
            gpu.tensorrt = Some(path.clone());
        }
        Ok(gpu)
    }
}

/// "12.3 MB".
fn megabytes(n_bytes: usize) -> String {
    format!("{:.1} MB", n_bytes as f64 / 1e6)
}
