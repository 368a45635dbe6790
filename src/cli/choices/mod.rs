//! What a person chooses about the segmentation, by flags; the same for a lane in this process and for a server.

mod analysis;
mod of_file;
mod words;

pub(super) use analysis::AnalysisChoices;
pub(super) use of_file::{OfFile, SessionChoices};
pub(super) use words::{Area, NormalizationChoice, tiling_mode};

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::Args;

use crate::{
    config::{EngineKind, Listen, Overrides},
    model::ModelSpec,
    params::{
        BorderRule, MinSpan, Normalization, ParamError, Params, Thresholds, Tiling, TilingMode,
    },
};

/// Which cells are kept, and how counts become the network's 0..1. Unset means the model's default.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Choices {
    /// A cell's score must be above it; 0 to 1 [default: the model's]
    #[arg(long, value_name = "F")]
    pub(super) confidence: Option<f32>,
    /// Boxes overlapping by more than it are one cell; 0 to 1 [default: the model's]
    #[arg(long, value_name = "F")]
    pub(super) iou: Option<f32>,
    /// Boxes of different classes suppress each other too [default: the model's]
    #[arg(long)]
    pub(super) class_agnostic: bool,
    /// The highest scores are kept [default: the model's]
    #[arg(long, value_name = "N")]
    pub(super) max_cells: Option<u32>,
    /// Hide smaller cells: 50um2 (needs a pixel size) or 20px
    #[arg(long, value_name = "AREA")]
    pub(super) min_area: Option<Area>,
    /// Hide larger cells: 5000um2 (needs a pixel size)
    #[arg(long, value_name = "AREA", value_parser = words::max_area)]
    pub(super) max_area: Option<Area>,
    /// Cells cut by the edge of the frame or region: keep, drop, or unbiased (drop those on the right and bottom edge)
    #[arg(long, value_name = "RULE", value_parser = words::border)]
    pub(super) border: Option<BorderRule>,
    /// full, window:LO,HI (camera counts) or percentile:LO,HI (0 to 100) [default: the model's]
    #[arg(long, value_name = "HOW")]
    pub(super) normalization: Option<NormalizationChoice>,
    /// Percentiles averaged over a series: how much an older frame weighs against the next; 0 to below 1 [default: 0]
    #[arg(long, value_name = "F", value_parser = words::smoothing)]
    pub(super) smoothing: Option<f64>,
    /// Large frames in pieces, so that cells have the size that the model was trained on: auto (where a pixel size says that it
    /// helps), on or off [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = tiling_mode)]
    pub(super) tiling: Option<TilingMode>,
    /// Fraction of a piece that neighbours share; 0 to 0.5 [default: 0.2]
    #[arg(long, value_name = "F", value_parser = words::overlap)]
    pub(super) overlap: Option<f64>,
    /// Micrometres a pixel at which pieces are segmented [default: the model's own]
    #[arg(long, value_name = "UM", value_parser = words::target_um)]
    pub(super) target_um: Option<f64>,
    /// The JSON holds the masks as decoded: they may overlap and be in pieces
    #[arg(long)]
    pub(super) raw_masks: bool,
    /// What only a file of options says.
    #[arg(skip)]
    pub(super) of_file: OfFile,
    /// Thresholds and normalisation of an earlier run, in place of the model's and of the flags.
    #[arg(skip)]
    pub(super) as_recorded: Option<Box<(Thresholds, Normalization)>>,
}

/// What runs the model in this process.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct EngineFlags {
    /// auto, rten (embedded) or onnxruntime (faster, where its library is found)
    #[arg(long, value_name = "ENGINE")]
    pub(super) engine: Option<EngineKind>,
    /// Threads of one lane; 0: all cores but one, shared by the lanes
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
}

impl Choices {
    /// Every choice with the model's default filled in, checked.
    pub(super) fn settle(&self, model: &ModelSpec, max_cells: u32) -> Result<Params, ParamError> {
        let (thresholds, normalization) = match &self.as_recorded {
            Some(recorded) => (**recorded).clone(),
            None => (
                self.thresholds(model.thresholds.clone()),
                self.normalization(model.normalization),
            ),
        };
        thresholds.check(model.classes.len(), max_cells)?;
        normalization.check()?;
        let smoothing = self.smoothing.unwrap_or(0.0);
        if smoothing > 0.0 && !matches!(normalization, Normalization::Percentiles { .. }) {
            return Err(ParamError {
                field: "smoothing",
                value: smoothing.to_string(),
                right: "is of percentiles: use it with --normalization percentile:LO,HI".to_owned(),
            });
        }
        Ok(Params {
            smoothing,
            tiling: self.tiling(),
            ..Params::new(thresholds, normalization)
        })
    }

    fn thresholds(&self, of_model: Thresholds) -> Thresholds {
        let max_area_um2 = match self.max_area {
            Some(Area::Um2(um2)) => Some(um2),
            _ => of_model.max_area_um2,
        };
        let (min_area_px, min_area_um2) = self.min_areas();
        let of_file = &self.of_file;
        let class_agnostic = of_file.class_agnostic.unwrap_or(of_model.class_agnostic);
        Thresholds {
            confidence: self.confidence.unwrap_or(of_model.confidence),
            iou: self.iou.unwrap_or(of_model.iou),
            class_agnostic: self.class_agnostic || class_agnostic,
            max_cells: self.max_cells.unwrap_or(of_model.max_cells),
            min_area_px: min_area_px.unwrap_or(of_model.min_area_px),
            min_area_um2: min_area_um2.or(of_model.min_area_um2),
            max_area_um2,
            classes: match of_file.classes.is_empty() {
                true => of_model.classes,
                false => of_file.classes.clone(),
            },
            class_confidence: match of_file.class_confidence.is_empty() {
                true => of_model.class_confidence,
                false => of_file.class_confidence.clone(),
            },
            border: self.border.unwrap_or(of_model.border),
        }
    }

    /// Below which cells are hidden: pixels, square micrometres. A file may say both, the flag stands for both.
    pub(super) fn min_areas(&self) -> (Option<u32>, Option<f32>) {
        match self.min_area {
            Some(Area::Px(px)) => (Some(px), None),
            Some(Area::Um2(um2)) => (None, Some(um2)),
            None => (self.of_file.min_area_px, self.of_file.min_area_um2),
        }
    }

    fn normalization(&self, of_model: Normalization) -> Normalization {
        match self.normalization {
            None => of_model,
            Some(NormalizationChoice::Full) => Normalization::FullRange,
            Some(NormalizationChoice::Window { low, high }) => Normalization::Window { low, high },
            Some(NormalizationChoice::Percentile { low, high }) => Normalization::Percentiles {
                low,
                high,
                min_span: match (self.of_file.min_span, of_model) {
                    (Some(counts), _) => MinSpan::Counts(counts),
                    (None, Normalization::Percentiles { min_span, .. }) => min_span,
                    (None, _) => MinSpan::Counts(0.0),
                },
            },
        }
    }

    /// How large frames are cut.
    pub(super) fn tiling(&self) -> Tiling {
        let default = Tiling::default();
        Tiling {
            mode: self.tiling.unwrap_or(default.mode),
            overlap: self.overlap.unwrap_or(default.overlap),
            target_um_per_px: self.target_um.or(default.target_um_per_px),
        }
    }
}

impl EngineFlags {
    /// For a command that prints its own progress.
    pub(super) fn overrides(&self, model: Option<PathBuf>) -> Overrides {
        Overrides {
            models: model.into_iter().collect(),
            threads: self.threads,
            engine: self.engine,
            quiet: true,
            ..Overrides::default()
        }
    }

    /// For a daemon in this process: on a free port of loopback.
    pub(super) fn in_process(&self) -> Overrides {
        Overrides {
            listen: vec![Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))],
            ..self.overrides(None)
        }
    }
}
