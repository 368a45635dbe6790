//! `cellsegd bench`: a load client. Every session keeps its window full; nothing is sent that is not waited for.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use tokio::{runtime::Builder, task::JoinSet};

use super::{
    choices::EngineFlags,
    client::{CredentialFlags, Fate, ServerUrl, Session},
    daemon::Daemon,
    latency::{Latencies, Row, table},
    segmenter::Wishes,
    speed::{self, Speed},
    synthetic::{FrameShape, cells},
};
use crate::{
    config::{Overrides, Settings},
    frame::{Frame, FrameLimits},
    telemetry,
};

/// Measure latency and throughput under load
#[derive(Args, Debug)]
pub(super) struct Bench {
    /// tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH [default: a daemon in this process]
    #[arg(long, value_name = "URL")]
    server: Option<ServerUrl>,
    #[command(flatten)]
    credentials: CredentialFlags,
    /// Size and pixel format of the frames
    #[arg(long, value_name = "WxH:FORMAT", default_value = "1024x1024:Mono16")]
    frame: FrameShape,
    /// Sessions at the same time, each on its own connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    sessions: u32,
    /// Frames in flight of each session
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    window: u32,
    /// How long
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// ONNX or engine file that the daemon in this process runs; several, one after the other, are compared [default: the
    /// bundled model]
    #[arg(long = "model", value_name = "FILE", conflicts_with = "server")]
    models: Vec<PathBuf>,
    /// Lanes of the daemon in this process: frames that run at the same time [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "server")]
    lanes: Option<usize>,
    /// Print a JSON object instead of a table; of several models a list of them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineFlags,
}

/// What one session, then all of them, saw.
#[derive(Default)]
struct Tally {
    latencies: Latencies,
    segmented: u64,
    dropped: u64,
    failed: u64,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    server: String,
    backend: String,
    device: String,
    model: String,
    frame: String,
    sessions: u32,
    window: u32,
    seconds: f64,
    segmented: u64,
    dropped: u64,
    failed: u64,
    frames_per_s: f64,
    megabytes_per_s: f64,
    speed: Speed,
    latency_ms: Vec<Row>,
}

impl Bench {
    pub(super) fn run(self) -> Result<ExitCode> {
        if self.server.is_none() {
            // Once a process, however many daemons it starts.
            telemetry::start(&self.settings(None)?.log)?;
        }
        let reports = match (&self.server, self.models.as_slice()) {
            (Some(url), _) => vec![self.load(url)?],
            (None, []) => vec![self.load_daemon_with(None)?],
            (None, models) => models
                .iter()
                .map(|model| self.load_daemon_with(Some(model)))
                .collect::<Result<_>>()?,
        };
        match (self.json, reports.as_slice()) {
            (true, [report]) => println!("{}", serde_json::to_string_pretty(report)?),
            (true, reports) => println!("{}", serde_json::to_string_pretty(reports)?),
            (false, reports) => {
                reports
                    .iter()
                    .for_each(|report| println!("{}", report.text()));
                let lines: Vec<_> = reports.iter().map(|report| &report.speed).collect();
                print!("{}", speed::table(&lines));
            }
        }
        let lost = |report: &Report| report.failed + report.dropped > 0;
        Ok(match reports.iter().any(lost) {
            false => ExitCode::SUCCESS,
            true => ExitCode::FAILURE,
        })
    }

    /// A daemon in this process, from its start to its end.
    fn load_daemon_with(&self, model: Option<&PathBuf>) -> Result<Report> {
        let daemon = Daemon::start(self.settings(model)?)?;
        let report = self.load(daemon.url())?;
        daemon.stop()?;
        Ok(report)
    }

    /// One thread: what is measured is the server, so the client takes no more of the machine than it must.
    fn load(&self, url: &ServerUrl) -> Result<Report> {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_all().build()?;
        runtime.block_on(self.measure(url))
    }

    fn settings(&self, model: Option<&PathBuf>) -> Result<Settings> {
        let overrides = Overrides {
            models: model.cloned().into_iter().collect(),
            lanes: self.lanes,
            ..self.engine.in_process()
        };
        let mut settings = Settings::load(None, &overrides)?;
        // All of them are ours.
        let sessions = &mut settings.auth.infer.sessions;
        *sessions = (*sessions).max(self.sessions as usize);
        Ok(settings)
    }

    async fn measure(&self, url: &ServerUrl) -> Result<Report> {
        let frame = cells(&self.frame, &FrameLimits::default())?;
        let credentials = self.credentials.read()?;
        let mut sessions = Vec::new();
        for _ in 0..self.sessions {
            let (window, wishes) = (Some(self.window), Wishes::default());
            let mut session = Session::open(url, &credentials, None, window, &wishes).await?;
            ensure!(
                session.window() >= self.window as usize,
                "--window {}: the server grants {} frames in flight",
                self.window,
                session.window()
            );
            // Connection, buffers and caches are warm before the clock starts.
            session.send(0, &frame).await?;
            session.receive().await?;
            sessions.push(session);
        }
        let provenance = sessions[0].provenance().clone();
        let start = Instant::now();
        let end = start + Duration::from_secs(self.seconds);
        let mut running: JoinSet<Result<Tally>> = sessions
            .into_iter()
            .map(|session| load(session, frame.clone(), self.window as usize, end))
            .collect();
        let mut all = Tally::default();
        while let Some(tally) = running.join_next().await {
            all.merge(tally??);
        }
        let seconds = start.elapsed().as_secs_f64();
        let frames_per_s = all.segmented as f64 / seconds;
        let speed = Speed {
            model: provenance.model.name.clone(),
            precision: provenance.model.precision.clone(),
            images_per_s: frames_per_s,
            ms_per_image: all.latencies.median_ms("round trip"),
            network_ms: all.latencies.median_ms("infer"),
            device: provenance.device.clone(),
            backend: provenance.backend.clone(),
        };
        Ok(Report {
            server: url.to_string(),
            backend: provenance.backend,
            device: provenance.device,
            model: provenance.model.name,
            frame: self.frame.to_string(),
            sessions: self.sessions,
            window: self.window,
            seconds,
            segmented: all.segmented,
            dropped: all.dropped,
            failed: all.failed,
            frames_per_s,
            megabytes_per_s: frames_per_s * frame.data().len() as f64 / 1e6,
            speed,
            latency_ms: all.latencies.rows(),
        })
    }
}

/// Sends a frame whenever there is room in the window, until `end`; then waits for what is in flight.
async fn load(mut session: Session, frame: Frame, window: usize, end: Instant) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut sent_at: HashMap<u64, Instant> = HashMap::new();
    for id in 1.. {
        let now = Instant::now();
        if now >= end {
            break;
        }
        session.send(id, &frame).await?;
        sent_at.insert(id, now);
        if sent_at.len() >= window {
            tally.answer(&mut session, &mut sent_at).await?;
        }
    }
    while !sent_at.is_empty() {
        tally.answer(&mut session, &mut sent_at).await?;
    }
    session.close().await?;
    Ok(tally)
}

impl Tally {
    async fn answer(
        &mut self,
        session: &mut Session,
        sent_at: &mut HashMap<u64, Instant>,
    ) -> Result<()> {
        let reply = session.receive().await?;
        let sent_at = sent_at.remove(&reply.id());
        match (reply.fate(), sent_at) {
            (Fate::Segmented, Some(sent_at)) => {
                self.segmented += 1;
                self.latencies.add(sent_at.elapsed(), reply.stages_us());
            }
            (Fate::Dropped, Some(_)) => self.dropped += 1,
            (Fate::Failed, Some(_)) => self.failed += 1,
            (_, None) => anyhow::bail!(
                "the server answered frame {}, which was not sent",
                reply.id()
            ),
        }
        Ok(())
    }

    fn merge(&mut self, other: Tally) {
        self.latencies.merge(other.latencies);
        self.segmented += other.segmented;
        self.dropped += other.dropped;
        self.failed += other.failed;
    }
}

impl Report {
    fn text(&self) -> String {
        format!(
            "{} on {} at {}\nmodel {}\n{} sessions x {} frames of {} in flight, {:.1} s\n\n\
             {}\n  segmented {:>8}   {:>10.1} frames/s {:>10.1} MB/s\n  dropped   {:>8}\n  failed    {:>8}\n",
            self.backend,
            self.device,
            self.server,
            self.model,
            self.sessions,
            self.window,
            self.frame,
            self.seconds,
            table(&self.latency_ms),
            self.segmented,
            self.frames_per_s,
            self.megabytes_per_s,
            self.dropped,
            self.failed,
        )
    }
}
