//! `cellsegd eval`: how well models find the cells that somebody labelled.

mod dataset;
mod files;
mod picture;
mod report;
mod subject;
mod table;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use super::{
    UsageError,
    choices::{Choices, EngineFlags},
    client::OptionsFile,
};
use crate::{config::Settings, telemetry};
use dataset::Dataset;
use report::Report;
use subject::{Plan, Subject};

/// Hold models against labelled images: precision, recall, F1, mAP, AJI, panoptic quality
#[derive(Args, Debug)]
pub(super) struct Eval {
    /// Folder of the images (PNG, TIFF, JPEG)
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Folder of label images (PNG or TIFF of 8 or 16 bit, 0 = background) of the same names; cells of every class count as one
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "coco",
        conflicts_with = "coco"
    )]
    masks: Option<PathBuf>,
    /// Labels in COCO's JSON, with classes; its file names are relative to --images
    #[arg(long, value_name = "FILE")]
    coco: Option<PathBuf>,
    /// ONNX file or TensorRT engine; may be repeated: others are also held against the first [default: the bundled one]
    #[arg(long = "model", value_name = "FILE")]
    models: Vec<PathBuf>,
    /// Do not tell classes apart
    #[arg(long)]
    one_class: bool,
    /// A pair of a labelled and a found cell has at least this IoU; several, separated by commas
    #[arg(long, value_name = "F", value_delimiter = ',', default_values_t = [0.5, 0.75], value_parser = iou)]
    match_iou: Vec<f64>,
    /// Also at each confidence from 0.05 to 0.95, and say which is best
    #[arg(long)]
    sweep: bool,
    /// Say the figures of every image
    #[arg(long)]
    per_image: bool,
    /// Folder for eval.json, truth.json, detections of each model (COCO) and pictures of the worst frames
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many of the worst frames are named, and drawn into --out
    #[arg(long, value_name = "N", default_value_t = 3)]
    worst: usize,
    /// Print a JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Micrometres a pixel of all images, whatever their files say: large images are cut into tiles by it
    #[arg(long, value_name = "UM", value_parser = micrometres)]
    pixel_size: Option<f64>,
    /// Options as TOML, named as in SessionOptions of the contract: which cells are kept, brightness, tiles; flags win over it
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineFlags,
    #[command(flatten)]
    choices: Choices,
}

impl Eval {
    pub(super) fn run(mut self) -> Result<ExitCode> {
        telemetry::start(&Settings::load(None, &self.engine.overrides(None))?.log)?;
        if let Some(path) = &self.options {
            OptionsFile::read(path)?.fill_cells(&mut self.choices);
        }
        if self
            .choices
            .smoothing
            .is_some_and(|smoothing| smoothing > 0.0)
        {
            let why = "--smoothing, also in a file of options, is of a series of frames: images are held against labels \
                       each by itself";
            return Err(UsageError(why.to_owned()).into());
        }
        let dataset = match (&self.coco, &self.masks) {
            (Some(coco), _) => Dataset::of_coco(&self.images, coco, self.one_class)?,
            (None, Some(masks)) => Dataset::of_masks(&self.images, masks)?,
            (None, None) => unreachable!("clap asks for one of them"),
        };
        if let Some(out) = &self.out {
            fs::create_dir_all(out)
                .with_context(|| format!("cannot make the folder {}", out.display()))?;
        }
        let plan = Plan {
            dataset: &dataset,
            engine: &self.engine,
            choices: &self.choices,
            sweep: self.sweep,
            pixel_size_um: self.pixel_size,
        };
        // One after the other: two may not have room on a GPU, and each is timed alone.
        let subjects: Vec<Subject> = subject::labels(&self.models)
            .into_iter()
            .map(|(path, label)| Subject::of_model(path, label, &plan))
            .collect::<Result<_>>()?;
        let report = Report::new(&dataset, &subjects, &self.match_iou, self.worst);
        if let Some(out) = &self.out {
            files::write(out, &dataset, &subjects, &report)?;
            picture::write(out, &dataset, &subjects, &report, &plan)?;
        }
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(&report)?),
            false => print!("{}", table::text(&report, self.per_image)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn iou(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(iou) if 0.0 < iou && iou <= 1.0 => Ok(iou),
        _ => Err("must be above 0 and at most 1".to_owned()),
    }
}

fn micrometres(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(um) if 0.0 < um && um < 1e6 => Ok(um),
        _ => Err("must be micrometres a pixel, above 0, as 0.65".to_owned()),
    }
}
