//! `cellsegd serve`: the daemon, from its settings to its end.

mod doors;
mod run;
mod signals;
mod start;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Result;
use clap::Args;
use doors::Doors;
use signals::Signals;
use start::Starting;
use tokio::runtime::{Builder, Runtime};
use tracing::{info, warn};

use super::{choices::EngineFlags, daemon, worst_case::worst_case};
use crate::{
    backend::{OnGpu, cuda::device},
    config::{Listen, LogSettings, Overrides, Settings},
    pool::LanePool,
    server::{MemorySocket, Security, Server},
    systemd::{self, Notifier},
    telemetry,
};

/// Run the daemon until SIGTERM or SIGINT
#[derive(Args, Debug)]
pub(super) struct Serve {
    /// Settings, TOML; flags and CELLSEGD_... win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// tcp://IP:PORT, tls://IP:PORT or unix:///PATH; may be repeated [default: tcp://127.0.0.1:50051]
    #[arg(long, value_name = "URL")]
    listen: Vec<Listen>,
    /// ONNX file (CPU) or TensorRT engine (GPU); may be repeated, the first is the default [default: the bundled one]
    #[arg(long = "model", value_name = "FILE")]
    models: Vec<PathBuf>,
    /// Frames of a model that run at the same time [default: 1]
    #[arg(long, value_name = "N")]
    lanes: Option<usize>,
    #[command(flatten)]
    engine: EngineFlags,
    /// Check settings and models, print the settings in force and the most memory they allow, and end
    #[arg(long)]
    check: bool,
}

impl Serve {
    pub(super) fn run(self) -> Result<ExitCode> {
        let overrides = Overrides {
            listen: self.listen,
            models: self.models,
            lanes: self.lanes,
            threads: self.engine.threads,
            engine: self.engine.engine,
            quiet: false,
        };
        let read = Settings::load(self.config.as_deref(), &overrides)?;
        let mut settings = read.clone();
        let doors = Doors::new(&mut settings, systemd::take()?)?;
        let log = match self.check {
            true => LogSettings {
                filter: "warn".to_owned(),
                ..settings.log.clone()
            },
            false => settings.log.clone(),
        };
        telemetry::start(&log)?;
        let security = Security::load(&settings)?;
        let notifier = Arc::new(Notifier::from_env());
        let starting = Starting::new(&notifier, format!("loading {}", daemon::names(&settings)?))?;
        if self.check {
            daemon::backends(&settings)?;
            print!("{}\n{}", toml::to_string(&settings)?, worst_case(&settings));
            return Ok(ExitCode::SUCCESS);
        }
        for listen in settings.exposed() {
            warn!(address = %listen, "insecure: other machines can send frames; nothing is encrypted, nobody is asked who they are");
        }
        let runtime = runtime(settings.io_threads)?;
        let (pools, signals) = runtime.block_on(async {
            let mut signals = Signals::new()?;
            let settings = settings.clone();
            let pools = run::load(move || load(&settings), &mut signals, &notifier).await?;
            anyhow::Ok((pools, signals))
        })?;
        drop(starting);
        let files = daemon::Files::new(self.config, overrides, read);
        let listeners = doors.grpc.open()?;
        let socket = settings.shared_memory.socket.clone();
        let memory = socket.map(MemorySocket::bind).transpose()?;
        let server = Server::new(&settings, pools)
            .secured(security)
            .reloading(Arc::new(files))
            .with_http(doors.http.open()?)
            .with_memory(memory);
        let serve = run::serve(server, listeners, signals, &notifier, settings.grace_s);
        runtime.block_on(serve)
    }
}

/// Models with lanes that have run a frame; may take minutes.
fn load(settings: &Settings) -> Result<Vec<LanePool>> {
    let backends = daemon::backends(settings)?;
    if backends
        .iter()
        .all(|backend| backend.description().gpu == OnGpu::NotMeant)
    {
        match device::driver() {
            Ok(cuda) => info!(
                cuda,
                "an NVIDIA driver is there and no model is an engine: the CPU is used; see cellsegd engine build"
            ),
            Err(why) => info!(%why, "no NVIDIA GPU: the CPU is used"),
        }
    }
    daemon::pools(settings, backends)
}

/// One thread is faster on the round trip than two (0.09 against 0.16 ms): no hand-over.
fn runtime(io_threads: usize) -> std::io::Result<Runtime> {
    match io_threads {
        1 => Builder::new_current_thread().enable_all().build(),
        n => Builder::new_multi_thread()
            .worker_threads(n)
            .enable_all()
            .build(),
    }
}
