//! `cellsegd demo`: the whole way on real frames. A daemon in this process, frames over gRPC as a controller sends them.

use std::{
    collections::BTreeMap,
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::runtime::Builder;

use super::{
    choices::EngineFlags,
    client::{Credentials, ServerUrl, Session},
    daemon::Daemon,
    latency::{Latencies, table},
    output::{self, Products},
    record::{Fate, Folder, FrameRecord, Provenance, RunRecord, Summary},
    segmenter::{Answer, Outcome, Wishes},
};
use crate::{
    config::Settings,
    export::{
        self, FrameCells,
        table::{CellTable, Format, channels},
    },
    frame::{Frame, FrameLimits, FrameMetadata, decode_image},
    params::{Analysis, Measurements, Tracking},
    segmentation::Segmentation,
    telemetry,
};

/// Of the bundled frames: `demo/README.md`.
const PIXEL_SIZE_UM: f64 = 0.8708;
const INTERVAL_MS: f64 = 10.0 * 60.0 * 1000.0;

/// Segment five real frames over gRPC and show what comes back
#[derive(Args, Debug)]
pub(super) struct Demo {
    /// Folder for overlays, label images, cells.csv and run.json
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    out: PathBuf,
    #[command(flatten)]
    engine: EngineFlags,
}

/// What the demo has seen so far.
struct Run<'a> {
    out: &'a Path,
    /// Six frames: few enough to be kept until the table is written.
    segmented: Vec<(String, Frame, Segmentation)>,
    latencies: Latencies,
}

impl Demo {
    pub(super) fn run(self) -> Result<ExitCode> {
        let files = demo_files(&folders())?;
        let settings = Settings::load(None, &self.engine.in_process())?;
        telemetry::start(&settings.log)?;
        fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot make the folder {}", self.out.display()))?;
        let frames = frames(&files, &settings.limits.frame())?;
        let daemon = Daemon::start(settings)?;
        let mut run = Run {
            out: &self.out,
            segmented: Vec::new(),
            latencies: Latencies::default(),
        };
        // The client shares the machine with the daemon as a controller would: one thread moves its bytes.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (provenance, record) = runtime.block_on(run.stream(daemon.url(), &files, &frames))?;
        daemon.stop()?;
        run.finish(&provenance, record)
    }
}

impl Run<'_> {
    /// One frame at a time, as they come every ten minutes.
    async fn stream(
        &mut self,
        url: &ServerUrl,
        files: &[PathBuf],
        frames: &[Frame],
    ) -> Result<(Provenance, Folder)> {
        let mut session =
            Session::open(url, &Credentials::default(), None, None, &wishes()).await?;
        let provenance = session.provenance().clone();
        let header = RunRecord::new(provenance.clone(), Some(PIXEL_SIZE_UM), None);
        let mut record = Folder::start(self.out, header)?;
        let named = output::provenance(&provenance, record.started_at());
        println!("cellsegd {} at {url}", env!("CARGO_PKG_VERSION"));
        println!(
            "model    {} ({})",
            provenance.model.name,
            provenance.model.classes.join(", ")
        );
        println!("engine   {}", provenance.backend);
        println!("device   {}\n", provenance.device);
        println!(
            "  {:<10}{:>13}{:>8}{:>12}{:>12}",
            "frame", "pixels", "cells", "confluence", "latency"
        );
        for (id, (path, frame)) in (0..).zip(files.iter().zip(frames)) {
            let sent_at = Instant::now();
            session.send(id, frame).await?;
            let reply = session.receive().await?;
            let round_trip = sent_at.elapsed();
            let stages_us = reply.stages_us();
            let stem = stem(path);
            let fate = match reply.outcome(&session)? {
                Outcome::Segmented(answer) => {
                    self.latencies.add(round_trip, stages_us);
                    let segmentation = &answer.segmentation;
                    println!(
                        "  {stem:<10}{:>13}{:>8}{:>10.1} %{:>9.1} ms",
                        format!("{} x {}", frame.width(), frame.height()),
                        segmentation.instances.len(),
                        100.0 * segmentation.confluence,
                        1e3 * round_trip.as_secs_f64(),
                    );
                    self.write(&stem, path, frame, &answer, &named)?;
                    let fate = Fate::Segmented(Box::new(Summary::new(&answer)));
                    self.segmented
                        .push((stem.clone(), frame.clone(), answer.segmentation));
                    fate
                }
                Outcome::Dropped(why) => {
                    println!("  {stem:<10} dropped: {why}");
                    Fate::Dropped(why)
                }
                Outcome::Measured(_) => {
                    Fate::Failed("answered as another kind of frame".to_owned())
                }
                Outcome::Failed(why) => {
                    println!("  {stem:<10} failed: {why}");
                    Fate::Failed(why)
                }
            };
            record.add(FrameRecord {
                image_id: stem,
                file: path.display().to_string(),
                page: 0,
                metadata: frame.metadata().clone(),
                fate,
            })?;
        }
        session.close().await?;
        Ok((provenance, record))
    }

    fn write(
        &self,
        stem: &str,
        path: &Path,
        frame: &Frame,
        answer: &Answer,
        provenance: &export::Provenance,
    ) -> Result<()> {
        let images = Products {
            labels: true,
            overlay: true,
            ..Products::default()
        };
        let cells = FrameCells {
            image_id: stem,
            file: &path.display().to_string(),
            stack: false,
            metadata: frame.metadata(),
            segmentation: &answer.segmentation,
        };
        images.write(self.out, frame, &cells, None, provenance)
    }

    /// One table for all frames.
    fn write_table(&self, provenance: &export::Provenance) -> Result<()> {
        let file = File::create(self.out.join("cells.csv")).context("cannot write cells.csv")?;
        let channels = self
            .segmented
            .iter()
            .flat_map(|(_, _, segmentation)| channels(segmentation))
            .collect();
        let mut table = CellTable::new(Format::Csv, file, &channels, provenance)?;
        for (stem, frame, segmentation) in &self.segmented {
            table.add(&FrameCells {
                image_id: stem,
                file: stem,
                stack: false,
                metadata: frame.metadata(),
                segmentation,
            })?;
        }
        Ok(table.finish()?)
    }

    fn finish(self, provenance: &Provenance, mut record: Folder) -> Result<ExitCode> {
        self.write_table(&output::provenance(provenance, record.started_at()))?;
        let totals = record.end()?;
        println!("\n{}", table(&self.latencies.rows()));
        println!(
            "{} frames, {} segmented, {} cells, by {}",
            totals.frames,
            totals.segmented,
            totals.cells,
            provenance.engine()
        );
        println!(
            "overlays, label images, cells.csv and run.json are in {}",
            self.out.display()
        );
        Ok(match totals.all_well() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Everything about a cell; no growth, which five frames in forty minutes do not tell.
fn wishes() -> Wishes {
    Wishes {
        analysis: Analysis {
            measurements: Measurements::ALL,
            tracking: Some(Tracking::default()),
            ..Analysis::default()
        },
        ..Wishes::default()
    }
}

/// Where the package puts them.
const PACKAGED: &str = "/usr/share/cellsegd/demo";

/// Where the frames may be: where the user says, else in the repository, beside the program, or where the package puts them.
fn folders() -> Vec<PathBuf> {
    if let Some(folder) = env::var_os("CELLSEGD_DEMO") {
        return vec![folder.into()];
    }
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("demo")));
    [Some("demo".into()), beside, Some(PACKAGED.into())]
        .into_iter()
        .flatten()
        .collect()
}

/// The PNG files of the first folder that has any, by name.
fn demo_files(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "png"))
            .collect();
        files.sort();
        if !files.is_empty() {
            return Ok(files);
        }
    }
    let looked: Vec<String> = folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    bail!(
        "the demo's frames (t01.png ...) are not in {}: run it where the folder demo is, or set CELLSEGD_DEMO to it",
        looked.join(" or ")
    )
}

fn frames(files: &[PathBuf], limits: &FrameLimits) -> Result<Vec<Frame>> {
    (0..)
        .zip(files)
        .map(|(t, path)| {
            let frame = || -> Result<Frame> {
                let (layout, pixels) = decode_image(&fs::read(path)?, 0, limits)?;
                let metadata = FrameMetadata {
                    index: BTreeMap::from([("t".to_owned(), t)]),
                    channel: "Phase".to_owned(),
                    position: "demo".to_owned(),
                    pixel_size_um: Some(PIXEL_SIZE_UM),
                    elapsed_ms: Some(f64::from(t) * INTERVAL_MS),
                    ..FrameMetadata::default()
                };
                Ok(Frame::new(layout, pixels, metadata, limits)?)
            };
            frame().with_context(|| format!("demo frame {}", path.display()))
        })
        .collect()
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_from_the_first_folder_that_has_any_in_order() {
        let (empty, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["t02.png", "t01.png", "README.md"] {
            File::create(full.path().join(name)).unwrap();
        }
        let folders = [
            PathBuf::from("/nowhere"),
            empty.path().into(),
            full.path().into(),
        ];
        let names: Vec<String> = demo_files(&folders)
            .unwrap()
            .iter()
            .map(|path| stem(path))
            .collect();
        assert_eq!(names, ["t01", "t02"]);
    }

    #[test]
    fn frames_that_are_nowhere_are_looked_for_by_name() {
        let error = demo_files(&["/nowhere".into()]).unwrap_err().to_string();
        assert!(
            error.contains("/nowhere") && error.contains("CELLSEGD_DEMO"),
            "{error}"
        );
    }
}
