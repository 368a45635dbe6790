//! ONNX Runtime, through its C library.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use ort::{
    memory::Allocator,
    session::{IoBinding, Session},
    value::{Tensor, TensorElementType},
};

use super::{
    engine::{detections_shape, input_shape, prototypes_shape},
    library::Loaded,
};
use crate::{
    decode::Outputs,
    model::{ModelFile, ModelSpec},
};

/// A model that the library has accepted.
pub(super) struct OnnxRuntimeModel {
    spec: Arc<ModelSpec>,
    bytes: Cow<'static, [u8]>,
    library: Loaded,
    threads: usize,
    /// Loaded to see whether the library takes the model; the first lane's.
    first: Mutex<Option<Session>>,
}

/// A lane's session, with its input and outputs bound once.
pub(super) struct OnnxRuntimeNetwork {
    session: Session,
    binding: IoBinding,
    input: Tensor<f32>,
    detections: Output,
    prototypes: Output,
}

/// An output tensor; float64, which exporters sometimes leave in a head, is narrowed.
enum Output {
    F32(Tensor<f32>),
    F64 {
        tensor: Tensor<f64>,
        narrowed: Vec<f32>,
    },
}

impl OnnxRuntimeModel {
    pub(super) fn load(
        spec: &Arc<ModelSpec>,
        file: &ModelFile,
        library: &Loaded,
        threads: usize,
    ) -> Result<Self, ort::Error> {
        let model = OnnxRuntimeModel {
            spec: spec.clone(),
            bytes: file.bytes.clone(),
            library: library.clone(),
            threads,
            first: Mutex::new(None),
        };
        let session = model.session()?;
        *model.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        Ok(model)
    }

    pub(super) fn open(&self) -> Result<OnnxRuntimeNetwork, ort::Error> {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let session = match first {
            Some(session) => session,
            None => self.session()?,
        };
        OnnxRuntimeNetwork::new(session, &self.spec)
    }

    fn session(&self) -> Result<Session, ort::Error> {
        Session::builder(&self.library.environment)?
            .with_intra_threads(self.threads)?
            .with_inter_threads(1)?
            // Idle threads sleep: the cores are the acquisition's, too.
            .with_intra_op_spinning(false)?
            .commit_from_memory(&self.bytes)
    }
}

impl OnnxRuntimeNetwork {
    fn new(session: Session, spec: &ModelSpec) -> Result<Self, ort::Error> {
        let allocator = Allocator::default();
        let output = |name: &str, shape: &[usize]| {
            let element = session
                .outputs()
                .iter()
                .find(|output| output.name() == name)
                .and_then(|output| output.dtype().tensor_type());
            let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
            Ok::<_, ort::Error>(match element {
                Some(TensorElementType::Float64) => Output::F64 {
                    narrowed: vec![0.0; shape.iter().product::<i64>() as usize],
                    tensor: Tensor::new(&allocator, shape)?,
                },
                _ => Output::F32(Tensor::new(&allocator, shape)?),
            })
        };
        let mut network = OnnxRuntimeNetwork {
            binding: session.create_binding()?,
            input: Tensor::new(&allocator, input_shape(spec))?,
            detections: output(&spec.tensors.detections, &detections_shape(&spec.head))?,
            prototypes: output(&spec.tensors.prototypes, &prototypes_shape(&spec.head))?,
            session,
        };
        // Tensors and session are both in main memory: they are bound, not copied.
        network
            .binding
            .bind_input(&spec.tensors.input, &network.input)?;
        for (name, output) in [
            (&spec.tensors.detections, &mut network.detections),
            (&spec.tensors.prototypes, &mut network.prototypes),
        ] {
            match output {
                Output::F32(tensor) => network.binding.bind_output(name, tensor)?,
                Output::F64 { tensor, .. } => network.binding.bind_output(name, tensor)?,
            }
        }
        Ok(network)
    }

    pub(super) fn input(&mut self) -> &mut [f32] {
        self.input.extract_tensor_mut().1
    }

    pub(super) fn run(&mut self) -> Result<(), ort::Error> {
        self.session.run_binding(&self.binding)?;
        self.detections.narrow();
        self.prototypes.narrow();
        Ok(())
    }

    pub(super) fn outputs(&self) -> Outputs<'_> {
        Outputs {
            detections: self.detections.values(),
            prototypes: self.prototypes.values(),
        }
    }
}

impl Output {
    fn narrow(&mut self) {
        if let Output::F64 { tensor, narrowed } = self {
            let (_, wide) = tensor.extract_tensor();
            for (value, &wide) in narrowed.iter_mut().zip(wide) {
                *value = wide as f32;
            }
        }
    }

    fn values(&self) -> &[f32] {
        match self {
            Output::F32(tensor) => tensor.extract_tensor().1,
            Output::F64 { narrowed, .. } => narrowed,
        }
    }
}
