//! Tensors of a network file as far as its head is judged by them: name, kind of number, shape.

use std::fmt;

/// An input or output of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorShape {
    /// As the network calls it.
    pub name: String,
    /// Whether the network reads it.
    pub input: bool,
    /// One of its numbers.
    pub element: Element,
    /// None: dynamic.
    pub dims: Vec<Option<usize>>,
}

/// One number of a tensor, as the network's file declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Element {
    F32,
    F16,
    F64,
    Bf16,
    I8,
    I32,
    I64,
    U8,
    Bool,
    /// Its number where it came from.
    Other(i32),
}

/// How the numbers of a tensor lie in an engine's memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stored {
    /// As they are.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// Inputs only: 0..=255 for 0..=1.
    U8,
    /// Value = number * scale.
    I8 {
        /// From the manifest: the plan does not say it.
        scale: f32,
    },
}

/// How an engine's tensors lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Storage {
    /// `[batch, 3, H, W]`.
    pub input: Stored,
    /// Boxes, scores, coefficients.
    pub detections: Stored,
    /// Prototypes.
    pub prototypes: Stored,
    /// Frames for which there must be room in every tensor. The frame is in the first of them.
    pub batch: usize,
    /// The batch must be set before the engine runs.
    pub dynamic_batch: bool,
}

impl Stored {
    /// Of one number.
    pub fn bytes(self) -> usize {
        match self {
            Stored::F32 => 4,
            Stored::F16 => 2,
            Stored::U8 | Stored::I8 { .. } => 1,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Element::F32 => "float32",
            Element::F16 => "float16",
            Element::F64 => "float64",
            Element::Bf16 => "bfloat16",
            Element::I8 => "int8",
            Element::I32 => "int32",
            Element::I64 => "int64",
            Element::U8 => "uint8",
            Element::Bool => "bool",
            Element::Other(_) => "other",
        })
    }
}

impl fmt::Display for TensorShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self
            .dims
            .iter()
            .map(|dim| dim.map_or("?".to_owned(), |n| n.to_string()))
            .collect();
        write!(f, "{} {} [{}]", self.name, self.element, dims.join(", "))
    }
}
