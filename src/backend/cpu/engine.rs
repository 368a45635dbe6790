//! A loaded model, and one lane's copy of it that runs.

use std::sync::Arc;

use super::{
    BackendError,
    library::Loaded,
    onnxruntime::{OnnxRuntimeModel, OnnxRuntimeNetwork},
    rten::{RtenModel, RtenNetwork},
};
use crate::{
    decode::Outputs,
    model::{Head, ModelFile, ModelSpec},
};

/// A model in an engine; opens networks.
pub(super) enum Engine {
    Rten(RtenModel),
    OnnxRuntime(OnnxRuntimeModel),
}

/// A model that runs, with its own buffers: one lane's.
pub(super) enum Network {
    Rten(RtenNetwork),
    OnnxRuntime(Box<OnnxRuntimeNetwork>),
}

impl Engine {
    pub(super) fn rten(
        spec: &Arc<ModelSpec>,
        file: ModelFile,
        threads: usize,
    ) -> Result<Self, BackendError> {
        RtenModel::load(spec, file, threads)
            .map(Engine::Rten)
            .map_err(|why| BackendError::Model {
                model: spec.name.clone(),
                engine: "rten",
                why,
            })
    }

    pub(super) fn onnxruntime(
        spec: &Arc<ModelSpec>,
        file: &ModelFile,
        library: &Loaded,
        threads: usize,
    ) -> Result<Self, BackendError> {
        OnnxRuntimeModel::load(spec, file, library, threads)
            .map(Engine::OnnxRuntime)
            .map_err(|error| BackendError::Model {
                model: spec.name.clone(),
                engine: "onnxruntime",
                why: error.to_string(),
            })
    }

    pub(super) fn open(&self) -> Result<Network, String> {
        match self {
            Engine::Rten(model) => Ok(Network::Rten(model.open())),
            Engine::OnnxRuntime(model) => model
                .open()
                .map(|network| Network::OnnxRuntime(Box::new(network)))
                .map_err(|error| error.to_string()),
        }
    }
}

impl Network {
    /// `[3, H, W]`: filled by the caller, read by [`Network::run`].
    pub(super) fn input(&mut self) -> &mut [f32] {
        match self {
            Network::Rten(network) => network.input(),
            Network::OnnxRuntime(network) => network.input(),
        }
    }

    pub(super) fn run(&mut self) -> Result<(), String> {
        match self {
            Network::Rten(network) => network.run(),
            Network::OnnxRuntime(network) => network.run().map_err(|error| error.to_string()),
        }
    }

    /// Of the last run.
    pub(super) fn outputs(&self) -> Outputs<'_> {
        match self {
            Network::Rten(network) => network.outputs(),
            Network::OnnxRuntime(network) => network.outputs(),
        }
    }
}

/// `[1, 3, H, W]`.
pub(super) fn input_shape(spec: &ModelSpec) -> [usize; 4] {
    [1, 3, spec.input_height as usize, spec.input_width as usize]
}

pub(super) fn detections_shape(head: &Head) -> [usize; 3] {
    let shape = head.shape();
    match head {
        Head::YoloSeg(_) => [1, 4 + shape.classes + shape.coefficients, shape.anchors],
        Head::YoloSegEndToEnd(_) => [1, shape.anchors, 6 + shape.coefficients],
    }
}

pub(super) fn prototypes_shape(head: &Head) -> [usize; 4] {
    let shape = head.shape();
    [
        1,
        shape.coefficients,
        shape.prototype_height,
        shape.prototype_width,
    ]
}
