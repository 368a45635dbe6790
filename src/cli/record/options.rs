//! Every settled option of a run, as `run.json` says it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    cli::segmenter::Wishes,
    params::{
        Analysis, GrowthOptions, Measurements, MinSpan, Normalization, Params, Thresholds, Tiling,
        TilingMode, Tracking,
    },
    segmentation::AppliedPolicy,
};

/// Options with every default filled in.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(in crate::cli) struct Options {
    pub(in crate::cli) thresholds: Thresholds,
    pub(in crate::cli) normalization: NormalizationRecord,
    /// Weight of an older frame of a series against the next; 0: each frame for itself.
    #[serde(default)]
    pub(in crate::cli) smoothing: f64,
    #[serde(default)]
    pub(in crate::cli) tiling: TilingRecord,
    #[serde(default)]
    pub(in crate::cli) measurements: Measurements,
    #[serde(default)]
    pub(in crate::cli) tracking: Option<Tracking>,
    #[serde(default)]
    pub(in crate::cli) growth: Option<GrowthOptions>,
    /// Rings of the analysed area: corners as x, y in frame pixels.
    #[serde(default)]
    pub(in crate::cli) region: Option<Vec<Vec<(i32, i32)>>>,
    /// Files of the flat-field correction.
    #[serde(default)]
    pub(in crate::cli) flat_field: Option<FlatFieldRecord>,
    pub(in crate::cli) raw_masks: bool,
}

/// A normalisation as asked for; `low` and `high` are counts of a window, or percentiles.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(in crate::cli) struct NormalizationRecord {
    pub(in crate::cli) policy: String,
    pub(in crate::cli) low: Option<f64>,
    pub(in crate::cli) high: Option<f64>,
    pub(in crate::cli) min_span_counts: Option<f64>,
    pub(in crate::cli) min_span_of_full_range: Option<f64>,
}

/// Large frames in pieces.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(in crate::cli) struct TilingRecord {
    /// "auto", "off" or "on".
    pub(in crate::cli) mode: String,
    pub(in crate::cli) overlap: f64,
    pub(in crate::cli) target_um_per_px: Option<f64>,
}

/// Images of the camera's light field.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(in crate::cli) struct FlatFieldRecord {
    pub(in crate::cli) flat: String,
    pub(in crate::cli) dark: Option<String>,
}

impl Options {
    pub(in crate::cli) fn new(
        params: &Params,
        analysis: &Analysis,
        flat_field: Option<FlatFieldRecord>,
        raw_masks: bool,
    ) -> Self {
        Options {
            thresholds: params.thresholds.clone(),
            normalization: params.normalization.into(),
            smoothing: params.smoothing,
            tiling: params.tiling.into(),
            measurements: analysis.measurements,
            tracking: analysis.tracking,
            growth: analysis.growth,
            region: analysis.region.as_ref().map(|rings| {
                let corners = rings.iter().map(|ring| ring.corners.clone());
                corners.collect()
            }),
            flat_field,
            raw_masks,
        }
    }
}

impl FlatFieldRecord {
    pub(in crate::cli) fn of(wishes: &Wishes) -> Option<Self> {
        let name = |path: &PathBuf| path.display().to_string();
        Some(FlatFieldRecord {
            flat: wishes.flat.as_ref().map(name)?,
            dark: wishes.dark.as_ref().map(name),
        })
    }
}

impl NormalizationRecord {
    pub(in crate::cli) fn new(policy: AppliedPolicy) -> Self {
        NormalizationRecord {
            policy: policy.name().to_owned(),
            low: None,
            high: None,
            min_span_counts: None,
            min_span_of_full_range: None,
        }
    }

    /// None: no rule of that name, or without its numbers.
    pub(in crate::cli) fn normalization(&self) -> Option<Normalization> {
        let (low, high) = (self.low, self.high);
        if self.policy == AppliedPolicy::FullRange.name() {
            return Some(Normalization::FullRange);
        }
        let (low, high) = (low?, high?);
        if self.policy == AppliedPolicy::Window.name() {
            return Some(Normalization::Window { low, high });
        }
        let min_span = match (self.min_span_counts, self.min_span_of_full_range) {
            (Some(counts), _) => MinSpan::Counts(counts),
            (None, Some(fraction)) => MinSpan::OfFullRange(fraction),
            (None, None) => MinSpan::Counts(0.0),
        };
        (self.policy == AppliedPolicy::Percentiles.name()).then_some(Normalization::Percentiles {
            low,
            high,
            min_span,
        })
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
                    low: Some(low),
                    high: Some(high),
                    min_span_counts,
                    min_span_of_full_range,
                    ..NormalizationRecord::new(AppliedPolicy::Percentiles)
                }
            }
        }
    }
}

impl TilingRecord {
    /// None: no mode of that name.
    pub(in crate::cli) fn tiling(&self) -> Option<Tiling> {
        let mode = match self.mode.as_str() {
            "auto" => TilingMode::Auto,
            "off" => TilingMode::Off,
            "on" => TilingMode::On,
            _ => return None,
        };
        Some(Tiling {
            mode,
            overlap: self.overlap,
            target_um_per_px: self.target_um_per_px,
        })
    }
}

impl Default for TilingRecord {
    fn default() -> Self {
        Tiling::default().into()
    }
}

impl From<Tiling> for TilingRecord {
    fn from(tiling: Tiling) -> Self {
        let mode = match tiling.mode {
            TilingMode::Auto => "auto",
            TilingMode::Off => "off",
            TilingMode::On => "on",
        };
        TilingRecord {
            mode: mode.to_owned(),
            overlap: tiling.overlap,
            target_um_per_px: tiling.target_um_per_px,
        }
    }
}
