//! `cellsegd serve`: the daemon, from its settings to its end.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing::{info, warn};

use super::{EXIT_DEVICE_LOST, choices::EngineFlags, daemon};
use crate::{
    backend::{OnGpu, cuda::device},
    config::{Listen, LogSettings, Overrides, Settings},
    pool::LanePool,
    server::{self, Ended, Server},
    telemetry,
};

/// Run the daemon until SIGTERM or SIGINT
#[derive(Args, Debug)]
pub(super) struct Serve {
    /// Settings, TOML; flags and CELLSEGD_... win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// tcp://IP:PORT or unix:///PATH; may be repeated [default: tcp://127.0.0.1:50051]
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
        let settings = Settings::load(self.config.as_deref(), &overrides)?;
        let log = match self.check {
            true => LogSettings {
                filter: "warn".to_owned(),
                ..settings.log.clone()
            },
            false => settings.log.clone(),
        };
        telemetry::start(&log)?;
        let backends = daemon::backends(&settings)?;
        if self.check {
            print!("{}\n{}", toml::to_string(&settings)?, worst_case(&settings));
            return Ok(ExitCode::SUCCESS);
        }
        for listen in settings.exposed() {
            warn!(address = %listen, "insecure: other machines can send frames; nothing is encrypted, nobody is asked who they are");
        }
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
        let pools = daemon::pools(&settings, backends)?;
        runtime(settings.io_threads)?.block_on(serve(&settings, pools))
    }
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

async fn serve(settings: &Settings, pools: Vec<LanePool>) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let listeners = server::bind(&settings.listen)?;
    let (stop, stopped) = oneshot::channel();
    let run = Server::new(settings, pools).run(listeners, async {
        stopped.await.ok();
    });
    let mut run = std::pin::pin!(run);
    let ended = tokio::select! {
        ended = &mut run => ended,
        name = signals.next() => {
            info!(signal = name, grace_s = settings.grace_s, "stopping");
            stop.send(()).ok();
            tokio::select! {
                ended = &mut run => ended,
                name = signals.next() => {
                    warn!(signal = name, "second signal: ending at once, frames in flight are lost");
                    std::process::exit(1);
                }
            }
        }
    };
    Ok(match ended? {
        Ended::Drained => ExitCode::SUCCESS,
        Ended::GraceOver => ExitCode::FAILURE,
        Ended::DeviceLost => ExitCode::from(EXIT_DEVICE_LOST),
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The most that clients can make the daemon hold, beside the models and the engine's own buffers.
fn worst_case(settings: &Settings) -> String {
    let limits = &settings.limits;
    // A stream's window is two frames; a third is being taken out of it.
    let receiving = limits.sessions as u64 * 3 * limits.max_frame_bytes;
    let admitted = limits.frames_in_flight_bytes;
    let line = |what: &str, bytes: u64| format!("# {what:<48}{:>9} MiB\n", bytes.div_ceil(1 << 20));
    [
        "# Worst case, every session sending its largest frames and reading nothing:\n".to_owned(),
        line(
            &format!("receiving: {} sessions x 3 frames", limits.sessions),
            receiving,
        ),
        line("frames admitted and not answered", admitted),
        line("in all, beside models and engine", receiving + admitted),
    ]
    .concat()
}
