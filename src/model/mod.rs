//! What a model is: input, classes, head, tensor names; from ONNX metadata, a manifest or both, checked against the tensors.

mod engine_file;
mod file;
mod folder;
mod head;
mod header;
mod manifest;
mod names;
mod onnx;
mod rebuild;
mod settle;
mod tensor;
mod trust;

pub use engine_file::{
    AnyModel, EngineFile, FileKind, file_kind, is_named_engine, load_any, load_engine,
    load_engine_trusted,
};
pub use file::{
    ModelError, ModelFile, Provenance, bundled, load, load_to_build, load_trusted, sha256_of,
};
pub use folder::{in_folder, name_of, named_by_file};
pub use header::Header;
pub use manifest::BuiltFor;
pub use tensor::{Element, Storage, Stored, TensorShape};
pub use trust::Trust;

use crate::params::{Normalization, Thresholds};

/// What a model is, settled when it loads.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Unique on a server.
    pub name: String,
    /// Its maker's.
    pub version: String,
    /// Network's input, pixels.
    pub input_width: u32,
    /// Network's input, pixels.
    pub input_height: u32,
    /// `class_index` points into it.
    pub classes: Vec<String>,
    /// Micrometres a pixel of the images it was trained on.
    pub trained_um_per_px: Option<f64>,
    /// Of the model file, hex.
    pub sha256: String,
    /// How its outputs are read.
    pub head: Head,
    /// "fp32".
    pub precision: String,
    /// Used where a client says nothing.
    pub thresholds: Thresholds,
    /// Used where a client says nothing.
    pub normalization: Normalization,
    /// Tensors by name.
    pub tensors: Tensors,
}

/// Tensors by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensors {
    /// `[1, 3, H, W]`, RGB, 0..1.
    pub input: String,
    /// Boxes, scores, coefficients.
    pub detections: String,
    /// Prototypes.
    pub prototypes: String,
}

/// How a network's two outputs are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// `[1, 4 + classes + coefficients, anchors]`: cx, cy, w, h in input pixels, class scores, coefficients; NMS is ours.
    YoloSeg(HeadShape),
    /// `[1, rows, 6 + coefficients]`: x1, y1, x2, y2 in input pixels, score, class, coefficients; NMS was the network's;
    /// `anchors` is the number of rows. Unused rows are zero.
    YoloSegEndToEnd(HeadShape),
}

/// Sizes of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadShape {
    /// Number of classes.
    pub classes: usize,
    /// Mask coefficients of a detection; channels of the prototypes.
    pub coefficients: usize,
    /// Detections.
    pub anchors: usize,
    /// Prototypes, cells.
    pub prototype_width: usize,
    /// Prototypes, cells.
    pub prototype_height: usize,
}

impl Head {
    /// Sizes.
    pub fn shape(&self) -> &HeadShape {
        match self {
            Head::YoloSeg(shape) | Head::YoloSegEndToEnd(shape) => shape,
        }
    }

    /// As the contract spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Head::YoloSeg(_) => "yolo-seg",
            Head::YoloSegEndToEnd(_) => "yolo-seg end-to-end",
        }
    }
}
