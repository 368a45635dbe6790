//! `cellsegd engine`: TensorRT engines from ONNX files, and what is in them.

mod batch;
mod build;
mod folder;
mod inspect;
mod manifest;
mod output;
mod progress;
mod rebuild;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

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
    Rebuild(rebuild::Rebuild),
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
            Command::Rebuild(rebuild) => rebuild.run(),
            Command::Inspect(inspect) => inspect.run(),
        }
    }
}

/// Where the package puts the daemon's settings.
const PACKAGED_SETTINGS: &str = "/etc/cellsegd/cellsegd.toml";

impl On {
    /// `[gpu]`. Starts the log, too.
    fn settings(&self) -> Result<GpuSettings> {
        Ok(self.load(self.config.as_deref())?.gpu)
    }

    /// All of those that the daemon has: the package's, where no others are named. Starts the log, too.
    fn daemon_settings(&self) -> Result<Settings> {
        let packaged = Path::new(PACKAGED_SETTINGS);
        let packaged = packaged.exists().then_some(packaged);
        self.load(self.config.as_deref().or(packaged))
    }

    fn load(&self, config: Option<&Path>) -> Result<Settings> {
        let overrides = Overrides {
            quiet: true,
            ..Overrides::default()
        };
        let mut settings = Settings::load(config, &overrides)?;
        crate::telemetry::start(&settings.log)?;
        if let Some(device) = &self.device {
            settings.gpu.device = device.clone();
        }
        if let Some(path) = &self.tensorrt {
            settings.gpu.tensorrt = Some(path.clone());
        }
        Ok(settings)
    }
}

/// "12.3 MB".
fn megabytes(n_bytes: usize) -> String {
    format!("{:.1} MB", n_bytes as f64 / 1e6)
}
