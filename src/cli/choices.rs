//! What a person chooses about the segmentation, by flags; the same for a lane in this process and for a server.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::Args;

use crate::{
    config::{EngineKind, Listen, Overrides},
    model::ModelSpec,
    params::{MinSpan, Normalization, ParamError, Params},
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
    /// full, window:LO,HI (camera counts) or percentile:LO,HI (0 to 100) [default: the model's]
    #[arg(long, value_name = "HOW")]
    pub(super) normalization: Option<NormalizationChoice>,
    /// The JSON holds the masks as decoded: they may overlap and be in pieces
    #[arg(long)]
    pub(super) raw_masks: bool,
}

/// As on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NormalizationChoice {
    Full,
    Window { low: f64, high: f64 },
    Percentile { low: f64, high: f64 },
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
        let mut thresholds = model.thresholds.clone();
        thresholds.confidence = self.confidence.unwrap_or(thresholds.confidence);
        thresholds.iou = self.iou.unwrap_or(thresholds.iou);
        thresholds.class_agnostic |= self.class_agnostic;
        thresholds.max_cells = self.max_cells.unwrap_or(thresholds.max_cells);
        thresholds.check(model.classes.len(), max_cells)?;
        let normalization = match self.normalization {
            None => model.normalization,
            Some(NormalizationChoice::Full) => Normalization::FullRange,
            Some(NormalizationChoice::Window { low, high }) => Normalization::Window { low, high },
            Some(NormalizationChoice::Percentile { low, high }) => Normalization::Percentiles {
                low,
                high,
                min_span: match model.normalization {
                    Normalization::Percentiles { min_span, .. } => min_span,
                    _ => MinSpan::Counts(0.0),
                },
            },
        };
        normalization.check()?;
        Ok(Params {
            thresholds,
            normalization,
        })
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

impl FromStr for NormalizationChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = |numbers: &str| {
            let (low, high) = numbers.split_once(',')?;
            let (low, high): (f64, f64) = (low.parse().ok()?, high.parse().ok()?);
            (low < high && low.is_finite() && high.is_finite()).then_some((low, high))
        };
        let choice = match text.split_once(':') {
            None if text == "full" => Some(NormalizationChoice::Full),
            Some(("window", numbers)) => {
                pair(numbers).map(|(low, high)| NormalizationChoice::Window { low, high })
            }
            Some(("percentile", numbers)) => pair(numbers)
                .filter(|&(low, high)| 0.0 <= low && high <= 100.0)
                .map(|(low, high)| NormalizationChoice::Percentile { low, high }),
            _ => None,
        };
        choice.ok_or_else(|| {
            "must be full, window:LO,HI in camera counts, or percentile:LO,HI within 0 to 100, LO below HI"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizations_are_read_as_the_help_writes_them() {
        use NormalizationChoice::*;
        for (text, choice) in [
            ("full", Full),
            (
                "window:100,4095",
                Window {
                    low: 100.0,
                    high: 4095.0,
                },
            ),
            (
                "percentile:0.5,99.5",
                Percentile {
                    low: 0.5,
                    high: 99.5,
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(choice), "{text}");
        }
    }

    #[test]
    fn normalizations_that_cannot_be_meant_are_refused() {
        for text in [
            "",
            "half",
            "full:1,2",
            "window",
            "window:1",
            "window:5,5",
            "window:NaN,1",
            "window:0,inf",
            "percentile:-1,50",
            "percentile:1,101",
        ] {
            assert!(text.parse::<NormalizationChoice>().is_err(), "{text}");
        }
    }
}
