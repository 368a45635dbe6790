//! What an ONNX file says about its model.

pub(super) mod schema;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use schema::{GraphProto, ModelProto, ValueInfoProto};

use super::tensor::{Element, TensorShape};

const FLOAT16: i32 = 10;

/// What an ONNX file says about itself.
#[derive(Debug)]
pub(super) struct Onnx {
    /// `metadata_props`.
    pub metadata: BTreeMap<String, String>,
    /// Without the weights, which old files list among them.
    pub inputs: Vec<TensorShape>,
    pub outputs: Vec<TensorShape>,
    /// Operators of the graph and its subgraphs.
    pub operators: BTreeSet<String>,
    /// Some weights are float16, and not only stored so: the network computes in it.
    pub half_weights: bool,
}

/// Why bytes are not a model.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OnnxError {
    #[error("not an ONNX file")]
    Foreign,
    #[error("an ONNX file that is damaged or cut off")]
    Damaged,
    #[error(
        "its weights lie in other files (external data): save it as one file, as with onnx.save(model, path)"
    )]
    ExternalData,
}

impl Onnx {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, OnnxError> {
        // Every exporter writes the version first: field 1, a varint.
        if bytes.first() != Some(&0x08) {
            return Err(OnnxError::Foreign);
        }
        let model = ModelProto::decode(bytes).map_err(|_| OnnxError::Damaged)?;
        let (Some(graph), false) = (model.graph, model.opset_import.is_empty()) else {
            return Err(OnnxError::Damaged);
        };
        const EXTERNAL: i32 = 1;
        if graph
            .initializer
            .iter()
            .any(|w| w.data_location == EXTERNAL)
        {
            return Err(OnnxError::ExternalData);
        }
        let weights: BTreeSet<&str> = graph.initializer.iter().map(|w| w.name.as_str()).collect();
        let half_weights = graph.computes_half();
        let mut operators = BTreeSet::new();
        graph.collect_operators(&mut operators);
        Ok(Onnx {
            metadata: model
                .metadata_props
                .into_iter()
                .map(|entry| (entry.key, entry.value))
                .collect(),
            inputs: graph
                .input
                .iter()
                .filter(|input| !weights.contains(input.name.as_str()))
                .map(|value| value.tensor(true))
                .collect(),
            outputs: graph
                .output
                .iter()
                .map(|value| value.tensor(false))
                .collect(),
            half_weights,
            operators,
        })
    }
}

impl GraphProto {
    /// Whether a node other than a Cast takes a float16 weight.
    fn computes_half(&self) -> bool {
        let half: BTreeSet<&str> = self
            .initializer
            .iter()
            .filter(|weight| weight.element == FLOAT16)
            .map(|weight| weight.name.as_str())
            .collect();
        self.node
            .iter()
            .filter(|node| node.op_type != "Cast")
            .flat_map(|node| &node.input)
            .any(|name| half.contains(name.as_str()))
    }

    fn collect_operators(&self, operators: &mut BTreeSet<String>) {
        for node in &self.node {
            operators.insert(node.op_type.clone());
            for attribute in &node.attribute {
                let subgraphs = attribute.graph.iter().chain(&attribute.graphs);
                subgraphs.for_each(|graph| graph.collect_operators(operators));
            }
        }
    }
}

impl ValueInfoProto {
    fn tensor(&self, input: bool) -> TensorShape {
        let tensor = self.value_type.as_ref().and_then(|t| t.tensor.as_ref());
        let dims = tensor.and_then(|t| t.shape.as_ref()).map(|s| &s.dims);
        TensorShape {
            name: self.name.clone(),
            input,
            element: element(tensor.map_or(0, |t| t.element)),
            dims: dims
                .into_iter()
                .flatten()
                .map(|dim| dim.value.and_then(|n| usize::try_from(n).ok()))
                .map(|dim| dim.filter(|&n| n > 0))
                .collect(),
        }
    }
}

/// Of ONNX's `TensorProto.DataType`.
fn element(data_type: i32) -> Element {
    match data_type {
        1 => Element::F32,
        2 => Element::U8,
        3 => Element::I8,
        6 => Element::I32,
        7 => Element::I64,
        9 => Element::Bool,
        FLOAT16 => Element::F16,
        11 => Element::F64,
        16 => Element::Bf16,
        other => Element::Other(other),
    }
}
