//! `run.json`: the provenance that every export names.

use std::{fs::File, io::BufWriter, path::Path, time::SystemTime};

use anyhow::{Context, Result};
use serde::Serialize;

use super::segmenter::Answer;
use crate::{
    backend::Description,
    model::ModelSpec,
    params::{MinSpan, Normalization, Params, Thresholds},
    segmentation::AppliedPolicy,
};

/// What makes the answers: model, engine, device and every settled option.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Provenance {
    /// None: a lane in this process.
    pub(super) server: Option<ServerRecord>,
    pub(super) model: ModelRecord,
    pub(super) backend: String,
    pub(super) device: String,
    pub(super) options: Options,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ServerRecord {
    pub(super) url: String,
    pub(super) version: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ModelRecord {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) sha256: String,
    pub(super) precision: String,
    pub(super) head: String,
    /// Width and height, pixels.
    pub(super) input: [u32; 2],
    pub(super) classes: Vec<String>,
}

/// Options with every default filled in.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Options {
    pub(super) thresholds: Thresholds,
    pub(super) normalization: NormalizationRecord,
    pub(super) raw_masks: bool,
}

/// A normalisation as asked for; `low` and `high` are counts of a window, or percentiles.
#[derive(Clone, Debug, Serialize)]
pub(super) struct NormalizationRecord {
    pub(super) policy: &'static str,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    pub(super) min_span_counts: Option<f64>,
    pub(super) min_span_of_full_range: Option<f64>,
}

/// A whole run.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    cellsegd: &'static str,
    started_at: String,
    #[serde(flatten)]
    provenance: Provenance,
    pixel_size_um: Option<f64>,
    totals: Totals,
    files: Vec<FileRecord>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) files: usize,
    pub(super) segmented: usize,
    pub(super) dropped: usize,
    pub(super) failed: usize,
    pub(super) cells: usize,
}

/// What became of one file.
#[derive(Debug, Serialize)]
pub(super) struct FileRecord {
    pub(super) file: String,
    pub(super) image_id: String,
    #[serde(flatten)]
    pub(super) fate: FileFate,
}

/// The variant is a key of the file's record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FileFate {
    Segmented(FileSummary),
    Dropped(String),
    Failed(String),
}

#[derive(Debug, Serialize)]
pub(super) struct FileSummary {
    width: u32,
    height: u32,
    cells: usize,
    confluence: f64,
    removed_by_area: u32,
    truncated: bool,
    normalization: AppliedRecord,
    notices: Vec<String>,
}

/// What was done to the counts.
#[derive(Debug, Serialize)]
struct AppliedRecord {
    policy: &'static str,
    low: f64,
    high: f64,
}

impl Record {
    pub(super) fn new(
        provenance: &Provenance,
        pixel_size_um: Option<f64>,
        started: SystemTime,
        files: Vec<FileRecord>,
    ) -> Self {
        Record {
            cellsegd: env!("CARGO_PKG_VERSION"),
            started_at: prost_types::Timestamp::from(started).to_string(),
            provenance: provenance.clone(),
            pixel_size_um,
            totals: Totals::of(&files),
            files,
        }
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Writes `dir/run.json`.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join("run.json");
        let write = || -> Result<()> {
            let file = BufWriter::new(File::create(&path)?);
            Ok(serde_json::to_writer_pretty(file, self)?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Totals {
    fn of(files: &[FileRecord]) -> Self {
        let mut totals = Totals {
            files: files.len(),
            ..Totals::default()
        };
        for file in files {
            match &file.fate {
                FileFate::Segmented(summary) => {
                    totals.segmented += 1;
                    totals.cells += summary.cells;
                }
                FileFate::Dropped(_) => totals.dropped += 1,
                FileFate::Failed(_) => totals.failed += 1,
            }
        }
        totals
    }
}

impl FileSummary {
    pub(super) fn new(answer: &Answer) -> Self {
        let segmentation = &answer.segmentation;
        let applied = &segmentation.normalization;
        FileSummary {
            width: segmentation.width,
            height: segmentation.height,
            cells: segmentation.instances.len(),
            confluence: segmentation.confluence,
            removed_by_area: segmentation.removed_by_area,
            truncated: segmentation.truncated,
            normalization: AppliedRecord {
                policy: applied.policy.name(),
                low: applied.low,
                high: applied.high,
            },
            notices: answer.notices.clone(),
        }
    }

    pub(super) fn cells(&self) -> usize {
        self.cells
    }
}

impl Provenance {
    /// The engine, without why it was chosen.
    pub(super) fn engine(&self) -> &str {
        self.backend
            .split_once(": ")
            .map_or(&self.backend, |(engine, _)| engine)
    }

    /// Of a lane in this process.
    pub(super) fn of_lane(
        model: &ModelSpec,
        description: &Description,
        params: &Params,
        raw_masks: bool,
    ) -> Self {
        Provenance {
            server: None,
            model: ModelRecord {
                name: model.name.clone(),
                version: model.version.clone(),
                sha256: model.sha256.clone(),
                precision: model.precision.clone(),
                head: model.head.name().to_owned(),
                input: [model.input_width, model.input_height],
                classes: model.classes.clone(),
            },
            backend: description.backend.clone(),
            device: description.device.clone(),
            options: Options {
                thresholds: params.thresholds.clone(),
                normalization: params.normalization.into(),
                raw_masks,
            },
        }
    }
}

impl NormalizationRecord {
    pub(super) fn new(policy: AppliedPolicy) -> Self {
        NormalizationRecord {
            policy: policy.name(),
            low: None,
            high: None,
            min_span_counts: None,
            min_span_of_full_range: None,
        }
    }
}

impl From<Normalization> for NormalizationRecord {
    fn from(normalization: Normalization) -> Self {
        match normalization {
            Normalization::FullRange => NormalizationRecord::new(AppliedPolicy::FullRange),
            Normalization::Window { low, high } => NormalizationRecord {
                low: Some(low),
                high: Some(high),
                ..NormalizationRecord::new(AppliedPolicy::Window)
            },
            Normalization::Percentiles {
                low,
                high,
                min_span,
            } => {
                let (min_span_counts, min_span_of_full_range) = match min_span {
                    MinSpan::Counts(counts) => (Some(counts), None),
                    MinSpan::OfFullRange(fraction) => (None, Some(fraction)),
                };
                NormalizationRecord {
                    policy: AppliedPolicy::Percentiles.name(),
                    low: Some(low),
                    high: Some(high),
                    min_span_counts,
                    min_span_of_full_range,
                }
            }
        }
    }
}
