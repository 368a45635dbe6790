//! What a model's maker says beside the ONNX file, in `NAME.toml`. `engines/README.md` explains each key.

use serde::Deserialize;

use crate::params::{MinSpan, Normalization};

/// Every key may be left out; what is said here wins over the ONNX file's metadata.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Manifest {
    pub name: Option<String>,
    pub version: String,
    pub classes: Option<Vec<String>>,
    pub trained_um_per_px: Option<f64>,
    pub precision: Option<String>,
    pub sha256: Option<String>,
    pub normalization: Option<Policy>,
    pub thresholds: Cutoffs,
    pub licence: String,
    pub data: String,
    pub metrics: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Policy {
    FullRange,
    Window {
        low: f64,
        high: f64,
    },
    Percentiles {
        low: f64,
        high: f64,
        /// Counts.
        min_span: Option<f64>,
        min_span_of_full_range: Option<f64>,
    },
}

/// YOLO-seg's own where nothing is said, but for the number of cells: its 300 are too few for a dense field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cutoffs {
    pub confidence: f32,
    pub iou: f32,
    pub class_agnostic: bool,
    pub max_cells: u32,
}

impl Default for Cutoffs {
    fn default() -> Self {
        Cutoffs {
            confidence: 0.25,
            iou: 0.7,
            class_agnostic: false,
            max_cells: 5000,
        }
    }
}

impl Policy {
    /// None: two least spans.
    pub(super) fn normalization(&self) -> Option<Normalization> {
        Some(match *self {
            Policy::FullRange => Normalization::FullRange,
            Policy::Window { low, high } => Normalization::Window { low, high },
            Policy::Percentiles {
                low,
                high,
                min_span,
                min_span_of_full_range,
            } => Normalization::Percentiles {
                low,
                high,
                min_span: match (min_span, min_span_of_full_range) {
                    (Some(counts), None) => MinSpan::Counts(counts),
                    (None, Some(fraction)) => MinSpan::OfFullRange(fraction),
                    (None, None) => MinSpan::Counts(0.0),
                    (Some(_), Some(_)) => return None,
                },
            },
        })
    }
}
