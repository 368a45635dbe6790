//! What an ONNX file says about its model.

pub(super) mod schema;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use prost::Message;
use schema::{GraphProto, ModelProto, ValueInfoProto};

/// What an ONNX file says about itself.
#[derive(Debug)]
pub(super) struct Onnx {
    /// `metadata_props`.
    pub metadata: BTreeMap<String, String>,
    /// Without the weights, which old files list among them.
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<Tensor>,
    /// Operators of the graph and its subgraphs.
    pub operators: BTreeSet<String>,
}

/// An input or output of the graph.
#[derive(Debug)]
pub(super) struct Tensor {
    pub name: String,
    pub element: Element,
    /// None: dynamic.
    pub shape: Vec<Option<usize>>,
}

/// A number of ONNX's `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element(i32);

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
                .map(ValueInfoProto::tensor)
                .collect(),
            outputs: graph.output.iter().map(ValueInfoProto::tensor).collect(),
            operators,
        })
    }
}

impl Element {
    pub(super) const FLOAT: Element = Element(1);
    pub(super) const DOUBLE: Element = Element(11);

    fn name(self) -> &'static str {
        match self.0 {
            1 => "float32",
            2 => "uint8",
            3 => "int8",
            6 => "int32",
            7 => "int64",
            10 => "float16",
            11 => "float64",
            16 => "bfloat16",
            _ => "other",
        }
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self
            .shape
            .iter()
            .map(|dim| dim.map_or("?".to_owned(), |n| n.to_string()))
            .collect();
        write!(
            f,
            "{} {} [{}]",
            self.name,
            self.element.name(),
            dims.join(", ")
        )
    }
}

impl GraphProto {
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
    fn tensor(&self) -> Tensor {
        let tensor = self.value_type.as_ref().and_then(|t| t.tensor.as_ref());
        let dims = tensor.and_then(|t| t.shape.as_ref()).map(|s| &s.dims);
        Tensor {
            name: self.name.clone(),
            element: Element(tensor.map_or(0, |t| t.element)),
            shape: dims
                .into_iter()
                .flatten()
                .map(|dim| dim.value.and_then(|n| usize::try_from(n).ok()))
                .map(|dim| dim.filter(|&n| n > 0))
                .collect(),
        }
    }
}
