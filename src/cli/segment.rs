//! `cellsegd segment`: image files in, masks out.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, Result};
use clap::Args;

use super::{
    UsageError,
    choices::{Choices, EngineFlags},
    client::{CredentialFlags, ServerUrl},
    output::Products,
    progress::Progress,
    record::{FileFate, FileRecord, FileSummary, Record},
    segmenter::{Outcome, Segmenter},
};
use crate::frame::{Frame, FrameLimits, FrameMetadata, decode_image};

/// Segment image files (PNG, TIFF, JPEG; 8 and 16 bit)
#[derive(Args, Debug)]
pub(super) struct Segment {
    /// Images; of a multi-page TIFF the first page
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder for what is written
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH [default: a lane in this process]
    #[arg(long, value_name = "URL")]
    server: Option<ServerUrl>,
    #[command(flatten)]
    credentials: CredentialFlags,
    /// ONNX file or TensorRT engine [default: the bundled one]; with --server: the name of one of its models
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineFlags,
    #[command(flatten)]
    choices: Choices,
    #[command(flatten)]
    products: Products,
    /// Micrometres a pixel, for areas in square micrometres
    #[arg(long, value_name = "UM", value_parser = micrometres)]
    pixel_size: Option<f64>,
}

/// One image file and the name of what it becomes.
#[derive(Clone, Debug, PartialEq)]
struct Input {
    path: PathBuf,
    stem: String,
}

/// Files on their way through a segmenter.
struct Run<'a> {
    out: &'a Path,
    products: Products,
    segmenter: Segmenter,
    classes: Vec<String>,
    /// Sent and not answered.
    in_flight: VecDeque<(&'a Input, Frame)>,
    done: Vec<FileRecord>,
    progress: Progress,
}

impl Segment {
    pub(super) fn run(self) -> Result<ExitCode> {
        let inputs = inputs(&self.files)?;
        let started = SystemTime::now();
        let segmenter = Segmenter::open(
            self.server.as_ref(),
            &self.credentials.read()?,
            self.model,
            &self.engine,
            &self.choices,
        )?;
        fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot make the folder {}", self.out.display()))?;
        let provenance = segmenter.provenance().clone();
        let mut run = Run {
            out: &self.out,
            products: self.products.or_all(),
            segmenter,
            classes: provenance.model.classes.clone(),
            in_flight: VecDeque::new(),
            done: Vec::new(),
            progress: Progress::new(inputs.len()),
        };
        let ended = match run.all(&inputs, self.pixel_size) {
            Ok(()) => run.segmenter.close(),
            Err(error) => Err(error),
        };
        let record = Record::new(
            &provenance,
            self.pixel_size,
            started,
            in_order(run.done, &inputs, &ended),
        );
        record.write(&self.out)?;
        let totals = record.totals();
        run.progress.finish(&format!(
            "{} of {} files segmented, {} cells, by {}; results are in {}",
            totals.segmented,
            totals.files,
            totals.cells,
            provenance.engine(),
            self.out.display(),
        ));
        ended?;
        Ok(match totals.segmented == totals.files {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

impl<'a> Run<'a> {
    /// An error here ends the run; what a file alone suffers is in its record.
    fn all(&mut self, inputs: &'a [Input], pixel_size_um: Option<f64>) -> Result<()> {
        let limits = self.segmenter.limits();
        for input in inputs {
            match read(&input.path, pixel_size_um, &limits) {
                Ok(frame) => {
                    self.segmenter.send(&frame)?;
                    self.in_flight.push_back((input, frame));
                }
                Err(error) => self.note(input, FileFate::Failed(format!("{error:#}"))),
            }
            while self.in_flight.len() >= self.segmenter.window() {
                self.finish_oldest()?;
            }
        }
        while !self.in_flight.is_empty() {
            self.finish_oldest()?;
        }
        Ok(())
    }

    fn finish_oldest(&mut self) -> Result<()> {
        let outcome = self.segmenter.receive()?;
        let (input, frame) = self
            .in_flight
            .pop_front()
            .expect("an answer belongs to a frame sent");
        let fate = match outcome {
            Outcome::Segmented(answer) => {
                match self
                    .products
                    .write(self.out, &input.stem, &frame, &answer, &self.classes)
                {
                    Ok(()) => FileFate::Segmented(FileSummary::new(&answer)),
                    Err(error) => FileFate::Failed(format!("{error:#}")),
                }
            }
            Outcome::Dropped(why) => FileFate::Dropped(why),
            Outcome::Failed(why) => FileFate::Failed(why),
        };
        self.note(input, fate);
        Ok(())
    }

    fn note(&mut self, input: &Input, fate: FileFate) {
        let record = input.record(fate);
        self.progress.file(&record);
        self.done.push(record);
    }
}

impl Input {
    fn record(&self, fate: FileFate) -> FileRecord {
        FileRecord {
            file: self.path.display().to_string(),
            image_id: self.stem.clone(),
            fate,
        }
    }
}

/// Refuses files whose results would overwrite one another.
fn inputs(files: &[PathBuf]) -> Result<Vec<Input>, UsageError> {
    let mut by_stem = BTreeMap::from([(
        "run".to_owned(),
        PathBuf::from("run.json, the record of the run"),
    )]);
    files
        .iter()
        .map(|path| {
            let stem = path
                .file_stem()
                .ok_or_else(|| UsageError(format!("{} is not a file", path.display())))?
                .to_string_lossy()
                .into_owned();
            match by_stem.insert(stem.clone(), path.clone()) {
                None => Ok(Input {
                    path: path.clone(),
                    stem,
                }),
                Some(other) => Err(UsageError(format!(
                    "{} and {} would both be written as {stem}.json: give them different names or segment them into different folders",
                    other.display(),
                    path.display(),
                ))),
            }
        })
        .collect()
}

fn read(path: &Path, pixel_size_um: Option<f64>, limits: &FrameLimits) -> Result<Frame> {
    let file = fs::read(path).context("cannot be read")?;
    let (layout, pixels) = decode_image(&file, 0, limits)?;
    let metadata = FrameMetadata {
        pixel_size_um,
        ..FrameMetadata::default()
    };
    Ok(Frame::new(layout, pixels, metadata, limits)?)
}

/// Every input has a record, in the order of the command line: those that an ended run never came to failed with it.
fn in_order(done: Vec<FileRecord>, inputs: &[Input], ended: &Result<()>) -> Vec<FileRecord> {
    let mut done: BTreeMap<String, FileRecord> = done
        .into_iter()
        .map(|record| (record.image_id.clone(), record))
        .collect();
    let why = || match ended {
        Ok(()) => "not answered".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    inputs
        .iter()
        .map(|input| {
            done.remove(&input.stem)
                .unwrap_or_else(|| input.record(FileFate::Failed(why())))
        })
        .collect()
}

fn micrometres(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(um) if 0.0 < um && um < 1e6 => Ok(um),
        _ => Err("must be micrometres a pixel, above 0, as 0.65".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(files: &[&str]) -> String {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        inputs(&files).unwrap_err().to_string()
    }

    #[test]
    fn results_that_would_overwrite_one_another_are_refused_up_front() {
        let error = refusal(&["a/t01.png", "b/t02.png", "b/t01.tif"]);
        for word in ["a/t01.png", "b/t01.tif", "t01.json", "different"] {
            assert!(error.contains(word), "{error}");
        }
        assert!(refusal(&["run.png"]).contains("run.json"));
    }

    #[test]
    fn what_has_no_name_is_refused() {
        assert!(refusal(&["a/.."]).contains("not a file"));
    }

    #[test]
    fn files_that_an_ended_run_never_came_to_failed_with_it() {
        let inputs = inputs(&["a.png".into(), "b.png".into()]).unwrap();
        let done = vec![inputs[1].record(FileFate::Dropped("deadline".to_owned()))];
        let records = in_order(done, &inputs, &Err(anyhow::anyhow!("the server is gone")));
        assert_eq!(records[0].image_id, "a");
        assert!(matches!(&records[0].fate, FileFate::Failed(why) if why == "the server is gone"));
        assert!(matches!(&records[1].fate, FileFate::Dropped(_)));
    }

    #[test]
    fn a_pixel_size_is_a_length() {
        assert_eq!(micrometres("0.8708"), Ok(0.8708));
        for text in ["0", "-1", "NaN", "inf", "um"] {
            assert!(micrometres(text).is_err(), "{text}");
        }
    }
}
