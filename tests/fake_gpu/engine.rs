//! What the TensorRT stand-ins compute with: the ONNX inside a "plan", run by ONNX Runtime where `ORT_DYLIB_PATH` names it, else
//! by rten. A C interface, because the stand-ins are C++; test-only.

#![expect(unsafe_code, reason = "called from C++")]

use std::{
    env,
    ffi::{CString, c_char, c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice,
    sync::{Arc, Mutex, OnceLock},
};

use ort::{
    environment::Environment,
    session::Session,
    value::{Tensor, TensorElementType, ValueType},
};
use rten::{Dimension, Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::{NdTensorView, prelude::*};

/// One input or output; dimensions that the model leaves open are -1.
#[repr(C)]
pub struct FakeTensor {
    name: *const c_char,
    input: c_int,
    n_dims: c_int,
    dims: [i64; 8],
}

struct Network {
    tensors: Vec<(CString, bool, Vec<i64>)>,
    engine: Engine,
}

enum Engine {
    OnnxRuntime(Arc<Mutex<Session>>),
    Rten {
        model: Arc<Model>,
        inputs: Vec<NodeId>,
        outputs: Vec<NodeId>,
        options: RunOptions,
    },
}

/// Null and a word in `complaint` if the model cannot be run.
///
/// # Safety
///
/// `onnx` has `n_bytes` bytes; `complaint` has room for `room` bytes, at least one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cellsegd_fake_engine_open(
    onnx: *const u8,
    n_bytes: usize,
    complaint: *mut c_char,
    room: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let onnx = unsafe { slice::from_raw_parts(onnx, n_bytes) };
    let opened = catch_unwind(|| Network::open(onnx)).unwrap_or_else(|_| Err("panic".to_owned()));
    match opened {
        Ok(network) => Box::into_raw(Box::new(network)).cast(),
        Err(why) => {
            // SAFETY: the caller's promise.
            let complaint = unsafe { slice::from_raw_parts_mut(complaint.cast::<u8>(), room) };
            let words = why.bytes().filter(|&byte| byte != 0).chain([0]);
            for (to, byte) in complaint.iter_mut().zip(words) {
                *to = byte;
            }
            complaint[room - 1] = 0;
            ptr::null_mut()
        }
    }
}

/// The number of tensors; up to `room` of them are described, inputs first.
///
/// # Safety
///
/// `network` comes from `cellsegd_fake_engine_open`, `tensors` has room for `room`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cellsegd_fake_engine_tensors(
    network: *const c_void,
    tensors: *mut FakeTensor,
    room: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    let network = unsafe { &*network.cast::<Network>() };
    // SAFETY: the caller's promise.
    let described = unsafe { slice::from_raw_parts_mut(tensors, room as usize) };
    for (to, (name, input, shape)) in described.iter_mut().zip(&network.tensors) {
        let mut dims = [0; 8];
        dims[..shape.len()].copy_from_slice(shape);
        *to = FakeTensor {
            name: name.as_ptr(),
            input: c_int::from(*input),
            n_dims: shape.len() as c_int,
            dims,
        };
    }
    network.tensors.len() as c_int
}

/// Runs one item. 0, or 1 and a line on stderr.
///
/// # Safety
///
/// `network` comes from `cellsegd_fake_engine_open` and is not being run; `input` has the items of its one input with every open
/// dimension at 1, and `outputs` points to as many buffers as it has outputs, each with room for its items.
#[unsafe(no_mangle)]
#[expect(clippy::print_stderr, reason = "nobody else hears of it")]
pub unsafe extern "C" fn cellsegd_fake_engine_run(
    network: *mut c_void,
    input: *const f32,
    outputs: *const *mut f32,
) -> c_int {
    // SAFETY: the caller's promise.
    let network = unsafe { &mut *network.cast::<Network>() };
    let items = |shape: &[i64]| shape.iter().map(|&n| n.max(1) as usize).product::<usize>();
    let (_, _, input_shape) = &network.tensors[0];
    // SAFETY: the caller's promise.
    let input = unsafe { slice::from_raw_parts(input, items(input_shape)) };
    let computed = catch_unwind(AssertUnwindSafe(|| network.run(input)))
        .unwrap_or_else(|_| Err("panic".to_owned()));
    let computed = match computed {
        Ok(computed) => computed,
        Err(why) => {
            eprintln!("fake_engine: {why}");
            return 1;
        }
    };
    let wanted: Vec<usize> = network
        .tensors
        .iter()
        .filter(|(_, input, _)| !input)
        .map(|(_, _, shape)| items(shape))
        .collect();
    // SAFETY: as many buffers as outputs.
    let outputs = unsafe { slice::from_raw_parts(outputs, wanted.len()) };
    for ((values, n), &output) in computed.iter().zip(wanted).zip(outputs) {
        assert_eq!(values.len(), n, "an output has another size than declared");
        // SAFETY: the buffer has room for these items, and they do not overlap.
        unsafe { ptr::copy_nonoverlapping(values.as_ptr(), output, n) };
    }
    0
}

/// # Safety
///
/// `network` comes from `cellsegd_fake_engine_open` and is used no more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cellsegd_fake_engine_close(network: *mut c_void) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(network.cast::<Network>()) });
}

impl Network {
    fn open(onnx: &[u8]) -> Result<Self, String> {
        let network = match environment()? {
            Some(environment) => Self::onnxruntime(onnx, environment)?,
            None => Self::rten(onnx)?,
        };
        match network
            .tensors
            .iter()
            .filter(|(_, input, _)| *input)
            .count()
        {
            1 => Ok(network),
            n => Err(format!("{n} inputs, and the emulation knows one")),
        }
    }

    fn onnxruntime(onnx: &[u8], environment: &Environment) -> Result<Self, String> {
        let open = || -> Result<Session, ort::Error> {
            Session::builder(environment)?
                .with_intra_threads(1)?
                .with_inter_threads(1)?
                .with_intra_op_spinning(false)?
                .commit_from_memory(onnx)
        };
        let session = open().map_err(|error| error.to_string())?;
        let mut tensors = Vec::new();
        let sides = [(session.inputs(), true), (session.outputs(), false)];
        for (outlets, input) in sides {
            for outlet in outlets {
                match outlet.dtype() {
                    ValueType::Tensor { shape, .. } => {
                        tensors.push((name(outlet.name())?, input, shape.to_vec()));
                    }
                    other => return Err(format!("{} is {other:?}", outlet.name())),
                }
            }
        }
        Ok(Network {
            tensors,
            engine: Engine::OnnxRuntime(Arc::new(Mutex::new(session))),
        })
    }

    fn rten(onnx: &[u8]) -> Result<Self, String> {
        let model = ModelOptions::with_all_ops()
            .load(onnx.to_vec())
            .map_err(|error| error.to_string())?;
        let (inputs, outputs) = (model.input_ids().to_vec(), model.output_ids().to_vec());
        let mut tensors = Vec::new();
        for (ids, input) in [(&inputs, true), (&outputs, false)] {
            for &id in ids {
                let node = model.node_info(id).ok_or("a tensor without a node")?;
                let shape = node.shape().ok_or("a tensor without a shape")?;
                let dims = shape.iter().map(|dim| match dim {
                    Dimension::Fixed(n) => *n as i64,
                    Dimension::Symbolic(_) => -1,
                });
                tensors.push((
                    name(node.name().unwrap_or_default())?,
                    input,
                    dims.collect(),
                ));
            }
        }
        let pool = Arc::new(ThreadPool::with_num_threads(1));
        Ok(Network {
            tensors,
            engine: Engine::Rten {
                model: Arc::new(model),
                inputs,
                outputs,
                options: RunOptions::default().with_thread_pool(Some(pool)),
            },
        })
    }

    fn run(&mut self, input: &[f32]) -> Result<Vec<Vec<f32>>, String> {
        let (_, _, shape) = &self.tensors[0];
        let shape: Vec<usize> = shape.iter().map(|&n| n.max(1) as usize).collect();
        match &self.engine {
            Engine::OnnxRuntime(session) => {
                let mut session = session.lock().map_err(|error| error.to_string())?;
                let input = Tensor::from_array((shape, input.to_vec()))
                    .map_err(|error| error.to_string())?;
                let outputs = session
                    .run(ort::inputs![input])
                    .map_err(|error| error.to_string())?;
                let mut values = Vec::new();
                for (_, output) in outputs.iter() {
                    let wide = match output.dtype() {
                        ValueType::Tensor { ty, .. } => *ty == TensorElementType::Float64,
                        _ => false,
                    };
                    values.push(if wide {
                        let (_, values) = output
                            .try_extract_tensor::<f64>()
                            .map_err(|error| error.to_string())?;
                        values.iter().map(|&value| value as f32).collect()
                    } else {
                        let (_, values) = output
                            .try_extract_tensor::<f32>()
                            .map_err(|error| error.to_string())?;
                        values.to_vec()
                    });
                }
                Ok(values)
            }
            Engine::Rten {
                model,
                inputs,
                outputs,
                options,
            } => {
                let shape: [usize; 4] = shape
                    .try_into()
                    .map_err(|shape| format!("input of shape {shape:?}"))?;
                let input = NdTensorView::from_data(shape, input);
                let outputs = model
                    .run(
                        vec![(inputs[0], input.into())],
                        outputs,
                        Some(options.clone()),
                    )
                    .map_err(|error| error.to_string())?;
                outputs
                    .into_iter()
                    .map(|output| match output {
                        Value::FloatTensor(tensor) => Ok(tensor.to_vec()),
                        other => Err(format!("an output is {:?}", other.dtype())),
                    })
                    .collect()
            }
        }
    }
}

fn name(name: &str) -> Result<CString, String> {
    CString::new(name).map_err(|error| error.to_string())
}

/// ONNX Runtime, if a library is named.
fn environment() -> Result<Option<&'static Environment>, String> {
    static ENVIRONMENT: OnceLock<Result<Option<Environment>, String>> = OnceLock::new();
    let made = ENVIRONMENT.get_or_init(|| {
        let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let environment = ort::init_from(&path)
            .map_err(|error| error.to_string())?
            .with_name("fake_engine")
            .with_telemetry(false)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Some(environment))
    });
    made.as_ref().map(Option::as_ref).map_err(Clone::clone)
}
