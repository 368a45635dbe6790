//! rten: pure Rust, part of the program.

use std::{borrow::Cow, sync::Arc};

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::{NdTensorView, prelude::*};

use super::engine::{detections_shape, input_shape, prototypes_shape};
use crate::{
    decode::Outputs,
    model::{ModelFile, ModelSpec},
};

/// For the log; a test holds it against `Cargo.toml`.
pub(super) const VERSION: &str = "0.27";

/// Operators that rten runs without a word and gives wrong results for; what they are, and what to export instead. Its
/// NonMaxSuppression divides by the box around both, not by their union, and keeps other boxes.
const WRONG: [(&str, &str, &str); 4] = [
    ("ConvInteger", DYNAMIC_INT8, "as float32"),
    ("DynamicQuantizeLinear", DYNAMIC_INT8, "as float32"),
    ("MatMulInteger", DYNAMIC_INT8, "as float32"),
    ("NonMaxSuppression", "the graph's own", "without it"),
];
const DYNAMIC_INT8: &str = "dynamic int8";

/// A model whose weights all lanes share.
pub(super) struct RtenModel {
    spec: Arc<ModelSpec>,
    model: Arc<Model>,
    nodes: Nodes,
    threads: usize,
}

/// A lane's buffers and threads.
pub(super) struct RtenNetwork {
    spec: Arc<ModelSpec>,
    model: Arc<Model>,
    nodes: Nodes,
    options: RunOptions,
    input: Vec<f32>,
    detections: Vec<f32>,
    prototypes: Vec<f32>,
}

#[derive(Clone, Copy)]
struct Nodes {
    input: NodeId,
    outputs: [NodeId; 2],
}

impl RtenModel {
    pub(super) fn load(
        spec: &Arc<ModelSpec>,
        file: ModelFile,
        threads: usize,
    ) -> Result<Self, String> {
        if let Some((operator, what, instead)) = WRONG
            .iter()
            .find(|(operator, ..)| file.operators.contains(*operator))
        {
            return Err(format!(
                "it has {operator} ({what}), which rten computes wrongly: use ONNX Runtime (tools/get-onnxruntime), or \
                 export it {instead}"
            ));
        }
        let options = ModelOptions::with_all_ops();
        let model = match file.bytes {
            Cow::Borrowed(bytes) => options.load_static_slice(bytes),
            Cow::Owned(bytes) => options.load(bytes),
        }
        .map_err(|error| error.to_string())?;
        let node = |name: &str| model.node_id(name).map_err(|error| error.to_string());
        let nodes = Nodes {
            input: node(&spec.tensors.input)?,
            outputs: [
                node(&spec.tensors.detections)?,
                node(&spec.tensors.prototypes)?,
            ],
        };
        Ok(RtenModel {
            spec: spec.clone(),
            model: Arc::new(model),
            nodes,
            threads,
        })
    }

    pub(super) fn open(&self) -> RtenNetwork {
        let pool = Arc::new(ThreadPool::with_num_threads(self.threads));
        RtenNetwork {
            spec: self.spec.clone(),
            model: self.model.clone(),
            nodes: self.nodes,
            options: RunOptions::default().with_thread_pool(Some(pool)),
            input: vec![0.0; input_shape(&self.spec).iter().product()],
            detections: Vec::new(),
            prototypes: Vec::new(),
        }
    }
}

impl RtenNetwork {
    pub(super) fn input(&mut self) -> &mut [f32] {
        &mut self.input
    }

    /// rten allocates its outputs itself; they live until the next run.
    pub(super) fn run(&mut self) -> Result<(), String> {
        self.detections = Vec::new();
        self.prototypes = Vec::new();
        let input = NdTensorView::from_data(input_shape(&self.spec), &self.input[..]);
        let inputs = vec![(self.nodes.input, input.into())];
        let [detections, prototypes] = self
            .model
            .run_n(inputs, self.nodes.outputs, Some(self.options.clone()))
            .map_err(|error| error.to_string())?;
        self.detections = values(detections, &detections_shape(&self.spec.head))?;
        self.prototypes = values(prototypes, &prototypes_shape(&self.spec.head))?;
        Ok(())
    }

    pub(super) fn outputs(&self) -> Outputs<'_> {
        Outputs {
            detections: &self.detections,
            prototypes: &self.prototypes,
        }
    }
}

/// The values of an output that must have `shape`; no copy where they lie in order.
fn values(output: Value, shape: &[usize]) -> Result<Vec<f32>, String> {
    match output {
        Value::FloatTensor(tensor) if tensor.shape() == shape => Ok(tensor.into_data()),
        other => Err(format!(
            "an output is {:?} of shape {:?}, not float32 of shape {shape:?}",
            other.dtype(),
            other.shape()
        )),
    }
}
