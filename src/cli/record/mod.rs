//! A run's folder: `run.json` says what makes the answers, `frames.jsonl` what became of each frame. Both are whole at every
//! moment, so that a run that was killed leaves a folder that can be exported, filled in and gone on with.

mod folder;
mod frame;
mod options;

pub(super) use folder::{Folder, read};
pub(super) use frame::{Fate, FrameRecord, RateRecord, Summary};
pub(super) use options::{FlatFieldRecord, NormalizationRecord, Options};

use serde::{Deserialize, Serialize};

use folder::now;

use super::inputs::Listing;
use crate::{backend::Description, model::ModelSpec};

/// `run.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct RunRecord {
    /// Version of the program.
    pub(super) cellsegd: String,
    /// RFC 3339.
    pub(super) started_at: String,
    /// RFC 3339; null: it still runs, or was killed.
    pub(super) ended_at: Option<String>,
    /// Null: a lane in the program itself.
    pub(super) server: Option<ServerRecord>,
    pub(super) model: ModelRecord,
    pub(super) backend: String,
    pub(super) device: String,
    pub(super) options: Options,
    /// What the user said of every frame; null: the files say it, or nobody does.
    pub(super) pixel_size_um: Option<f64>,
    /// Where the frames come from; null: not from files.
    pub(super) inputs: Option<Listing>,
    /// Null until it ends.
    pub(super) totals: Option<Totals>,
}

/// What makes the answers: model, engine, device and every settled option.
#[derive(Clone, Debug)]
pub(super) struct Provenance {
    /// None: a lane in this process.
    pub(super) server: Option<ServerRecord>,
    pub(super) model: ModelRecord,
    pub(super) backend: String,
    pub(super) device: String,
    pub(super) options: Options,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ServerRecord {
    pub(super) url: String,
    pub(super) version: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
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

impl RunRecord {
    /// Of a run that starts now.
    pub(super) fn new(
        provenance: Provenance,
        pixel_size_um: Option<f64>,
        inputs: Option<Listing>,
    ) -> Self {
        RunRecord {
            cellsegd: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: now(),
            ended_at: None,
            server: provenance.server,
            model: provenance.model,
            backend: provenance.backend,
            device: provenance.device,
            options: provenance.options,
            pixel_size_um,
            inputs,
            totals: None,
        }
    }
}

/// Frames by what became of them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Totals {
    pub(super) frames: usize,
    pub(super) segmented: usize,
    pub(super) measured: usize,
    pub(super) dropped: usize,
    pub(super) failed: usize,
    pub(super) cells: usize,
}

impl Totals {
    pub(super) fn of<'a>(frames: impl IntoIterator<Item = &'a FrameRecord>) -> Self {
        let mut totals = Totals::default();
        for frame in frames {
            totals.frames += 1;
            match &frame.fate {
                Fate::Segmented(summary) => {
                    totals.segmented += 1;
                    totals.cells += summary.cells;
                }
                Fate::Measured { .. } => totals.measured += 1,
                Fate::Dropped(_) => totals.dropped += 1,
                Fate::Failed(_) => totals.failed += 1,
            }
        }
        totals
    }

    /// Nothing was lost.
    pub(super) fn all_well(&self) -> bool {
        self.dropped + self.failed == 0
    }
}

impl Provenance {
    /// The engine, without why it was chosen.
    pub(super) fn engine(&self) -> &str {
        engine(&self.backend)
    }

    /// Of a lane in this process.
    pub(super) fn of_lane(model: &ModelSpec, description: &Description, options: Options) -> Self {
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
            options,
        }
    }
}

/// Without why it was chosen.
fn engine(backend: &str) -> &str {
    backend
        .split_once(": ")
        .map_or(backend, |(engine, _)| engine)
}
