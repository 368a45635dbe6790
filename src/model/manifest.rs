//! What a model's maker says beside its file, in `NAME.toml`. `engines/README.md` and `docs/engines.md` explain each key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// Of an engine, which `sha256` is then of.
    pub engine: Option<BuiltFor>,
}

/// What an engine was built for: the `[engine]` table of its manifest.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuiltFor {
    /// "TensorRT 10.3.0", "TensorRT-RTX 1.7.1".
    pub tensorrt: String,
    /// "8.9"; None: for any that the library supports, as TensorRT-RTX builds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<String>,
    /// "NVIDIA GeForce RTX 4090".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// "fp16".
    pub precision: String,
    /// Other versions of TensorRT may run it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub version_compatible: bool,
    /// Other architectures may run it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hardware_compatible: bool,
    /// How its outputs are read: [`crate::model::Head::name`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// `engine build --batch`, where it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// `engine build --profiles`, where it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiles: Option<u8>,
    /// The file it was built from: seen from the engine's folder. None: the bundled one, or it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub onnx: Option<String>,
    /// Of that file, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub onnx_sha256: Option<String>,
    /// Value of a step, for each int8 tensor that goes in or out, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scales: BTreeMap<String, f32>,
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
