//! Model files: an ONNX file and the manifest beside it.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    Header, ModelSpec, TensorShape, Trust,
    head::{self, About, Rules},
    manifest::Manifest,
    names,
    onnx::{Onnx, OnnxError},
    settle::Settled,
};

/// Of protobuf, and so of ONNX files.
const MAX_BYTES: u64 = (2 << 30) - 1;

/// A model that has been read and understood; an engine takes it from here.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// What it is.
    pub spec: ModelSpec,
    /// The ONNX file.
    pub bytes: Cow<'static, [u8]>,
    /// Operators of its graph: not every engine runs all of them.
    pub operators: BTreeSet<String>,
    /// It computes in float16, and its inputs and outputs are float32.
    pub half_weights: bool,
    /// Somebody says what its classes are called; else `spec` numbers them.
    pub names_classes: bool,
    /// What goes in and out.
    pub tensors: Vec<TensorShape>,
    /// The text of its manifest; empty where there is none.
    pub manifest: String,
    /// Where it comes from.
    pub provenance: Provenance,
}

impl ModelFile {
    /// Of the file and its manifest: the same only for the same bytes.
    pub fn identity(&self) -> String {
        identity(&self.spec.sha256, &self.manifest)
    }
}

/// Of a file with this sum and its manifest.
pub(super) fn identity(sha256: &str, manifest: &str) -> String {
    format!("{sha256}+{}", sha256_of(manifest.as_bytes()))
}

/// Where a model comes from, in its maker's words; empty where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Of the weights.
    pub licence: String,
    /// What it was trained on.
    pub data: String,
    /// What it reaches.
    pub metrics: String,
}

/// Why a model was refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Check the path.
    #[error("model {}: cannot be read", path.display())]
    Read {
        /// Of the ONNX file or its manifest.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another file is meant, or it must be exported or copied again.
    #[error("model {}: {n_bytes} bytes, {what}", path.display())]
    NotOnnx {
        /// Of the ONNX file.
        path: PathBuf,
        /// Its length.
        n_bytes: u64,
        /// What it is instead.
        what: String,
    },
    /// The same of an engine.
    #[error(
        "model {}: found {found}; understood is YOLO-seg with input [N, 3, H, W] of float32, float16, uint8 or int8, H and W \
         multiples of 32 up to 4096, and two outputs of float32, float16 or int8: detections, \
         [N, 4 + classes + coefficients, anchors] or (end-to-end, with class names) [N, rows, 6 + coefficients], and \
         prototypes, [N, coefficients, h, w]", path.display()
    )]
    EngineHead {
        /// Of the engine.
        path: PathBuf,
        /// Tensors or task.
        found: String,
    },
    /// Another model is meant, or another export of it.
    #[error(
        "model {}: found {found}; understood is YOLO-seg with float32 input [1, 3, H, W], H and W multiples of 32 up to 4096, \
         and two outputs: detections, [1, 4 + classes + coefficients, anchors] or (end-to-end, with class names) \
         [1, rows, 6 + coefficients], and prototypes, [1, coefficients, h, w]", path.display()
    )]
    Head {
        /// Of the ONNX file.
        path: PathBuf,
        /// Tensors or task.
        found: String,
    },
    /// The file is not the one that the manifest is of.
    #[error(
        "model {}: sha256 is {found}, its manifest wants {wanted}: it was cut off or replaced; copy it again, or {mend}",
        path.display()
    )]
    Sha256 {
        /// Of the ONNX file.
        path: PathBuf,
        /// The file's.
        found: String,
        /// The manifest's.
        wanted: String,
        /// What else would be right.
        mend: String,
    },
    /// Put the file that the engine was built from beside it.
    #[error(
        "model {}: sha256 is {found}, engine {} was built from one with {wanted}: the CPU cannot run it instead",
        path.display(), engine.display()
    )]
    OtherModel {
        /// Of the ONNX file.
        path: PathBuf,
        /// Of the engine.
        engine: PathBuf,
        /// The file's.
        found: String,
        /// What the engine's manifest says.
        wanted: String,
    },
    /// Sign the file again, or add the key to the settings.
    #[error("model {}: {what}", path.display())]
    Signature {
        /// Of the model.
        path: PathBuf,
        /// What is wrong with the signature and what would be right.
        what: String,
    },
    /// Correct `models_dir`, or make the folder.
    #[error("models_dir = {path:?}: cannot be read")]
    Folder {
        /// Of the settings.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Correct the manifest.
    #[error("manifest {}: {what}", path.display())]
    Manifest {
        /// Of the manifest.
        path: PathBuf,
        /// What is wrong and what would be right.
        what: String,
    },
}

/// Reads `PATH.onnx`, and `PATH.toml` where there is one.
pub fn load(path: &Path) -> Result<ModelFile, ModelError> {
    load_trusted(path, &Trust::default())
}

/// The same for a file that must be signed where `trust` says so.
pub fn load_trusted(path: &Path, trust: &Trust) -> Result<ModelFile, ModelError> {
    load_by(path, Rules::ONNX, trust)
}

/// The same for a file that becomes an engine: it may take several frames at a time.
pub fn load_to_build(path: &Path, trust: &Trust) -> Result<ModelFile, ModelError> {
    load_by(path, Rules::TO_BUILD, trust)
}

fn load_by(path: &Path, rules: Rules, trust: &Trust) -> Result<ModelFile, ModelError> {
    let bytes = read_bounded(path, "more than an ONNX file can have (2 GiB)")?;
    trust.check(path, &bytes)?;
    read_by(path, bytes, rules)
}

/// Of bytes that were found trustworthy.
pub(super) fn read_onnx(path: &Path, bytes: Vec<u8>) -> Result<ModelFile, ModelError> {
    read_by(path, bytes, Rules::ONNX)
}

fn read_by(path: &Path, bytes: Vec<u8>, rules: Rules) -> Result<ModelFile, ModelError> {
    let manifest = read_text(&path.with_extension("toml"))?;
    read(path, Cow::Owned(bytes), &manifest, rules)
}

/// `cells.engine.toml` for `cells.engine`.
pub(super) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Empty where there is no such file.
pub(super) fn read_text(path: &Path) -> Result<String, ModelError> {
    if fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        return Err(ModelError::Manifest {
            path: path.to_owned(),
            what: "not a regular file".to_owned(),
        });
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(ModelError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The model that comes with the program.
pub fn bundled() -> Result<ModelFile, ModelError> {
    read(
        Path::new("engines/cells_640.onnx"),
        Cow::Borrowed(include_bytes!("../../engines/cells_640.onnx")),
        include_str!("../../engines/cells_640.toml"),
        Rules::ONNX,
    )
}

pub(super) fn read_bounded(path: &Path, too_long: &str) -> Result<Vec<u8>, ModelError> {
    let n_bytes = regular_length(path)?;
    if n_bytes > MAX_BYTES {
        return Err(ModelError::NotOnnx {
            path: path.to_owned(),
            n_bytes,
            what: too_long.to_owned(),
        });
    }
    read_first(path, MAX_BYTES)
}

/// At most `n_bytes` of a regular file.
pub(super) fn read_first(path: &Path, n_bytes: u64) -> Result<Vec<u8>, ModelError> {
    let failed = |source| ModelError::Read {
        path: path.to_owned(),
        source,
    };
    let there = regular_length(path)?;
    let mut bytes = Vec::with_capacity(there.min(n_bytes) as usize);
    let file = fs::File::open(path).map_err(failed)?;
    file.take(n_bytes).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Asked before a file is opened: a pipe would be waited for, and a device could be read, for ever.
fn regular_length(path: &Path) -> Result<u64, ModelError> {
    let about = fs::metadata(path).map_err(|source| ModelError::Read {
        path: path.to_owned(),
        source,
    })?;
    match about.is_file() {
        true => Ok(about.len()),
        false => Err(ModelError::NotOnnx {
            path: path.to_owned(),
            n_bytes: about.len(),
            what: "not a regular file".to_owned(),
        }),
    }
}

fn read(
    path: &Path,
    bytes: Cow<'static, [u8]>,
    manifest_text: &str,
    rules: Rules,
) -> Result<ModelFile, ModelError> {
    let manifest_path = path.with_extension("toml");
    let manifest = Manifest::parse(manifest_text, &manifest_path)?;
    let sha256 = sha256_of(&bytes);
    // Before a byte of the file is understood. Where it is also an engine's, the sum is that of the engine.
    if manifest.engine.is_none() {
        let correct = || format!("correct {}", manifest_path.display());
        manifest.check_sha256(path, &sha256, correct)?;
    }
    let onnx = Onnx::read(&bytes).map_err(|error: OnnxError| ModelError::NotOnnx {
        path: path.to_owned(),
        n_bytes: bytes.len() as u64,
        what: match error {
            OnnxError::Foreign if is_engine(&bytes) => {
                "a TensorRT engine and not an ONNX file".to_owned()
            }
            error => error.to_string(),
        },
    })?;
    let text = |key: &str| onnx.metadata.get(key);
    let names = manifest
        .classes
        .clone()
        .or_else(|| names::parse(text("names")?));
    let about = About {
        task: text("task").cloned(),
        size: text("imgsz").and_then(|size| exported_size(size)),
        n_classes: names.as_ref().map(Vec::len),
    };
    let tensors = [onnx.inputs, onnx.outputs].concat();
    let interface = head::interface(&tensors, &about, rules).map_err(|found| ModelError::Head {
        path: path.to_owned(),
        found,
    })?;
    let names_classes = names.is_some();
    let spec = Settled {
        path,
        manifest_path: &manifest_path,
        manifest: &manifest,
        interface,
        names,
        sha256: &sha256,
        precision: if onnx.half_weights { "fp16" } else { "fp32" },
    }
    .spec()?;
    Ok(ModelFile {
        spec,
        bytes,
        operators: onnx.operators,
        half_weights: onnx.half_weights,
        names_classes,
        tensors,
        manifest: manifest_text.to_owned(),
        provenance: manifest.provenance(),
    })
}

/// `imgsz` of the metadata: `[height, width]`.
fn exported_size(text: &str) -> Option<[usize; 2]> {
    let (height, width) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(',')?;
    Some([height.trim().parse().ok()?, width.trim().parse().ok()?])
}

/// By what it begins with: ultralytics' header, or the mark of TensorRT's plans.
pub(super) fn is_engine(bytes: &[u8]) -> bool {
    is_marked(bytes) || Header::read(bytes).is_some()
}

/// A letter for the kind of plan, then "trt": "ftrt", "ptrt"; "vtrt" is TensorRT-RTX's.
pub(super) fn is_marked(plan: &[u8]) -> bool {
    plan.first().is_some_and(u8::is_ascii_lowercase) && plan.get(1..4) == Some(b"trt")
}

/// In hex.
pub fn sha256_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
