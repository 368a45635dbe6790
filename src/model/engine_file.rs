//! Engine files: a plan of TensorRT's, bare or after ultralytics' header, and the manifest beside it.
//!
//! What an engine takes and gives is known only once TensorRT has read the plan, so a file is judged in two steps: here by
//! its bytes and its manifest, and in [`EngineFile::spec`] by the tensors that TensorRT names.

use std::path::{Path, PathBuf};

use super::{
    Element, Header, ModelError, ModelFile, ModelSpec, Provenance, Storage, Stored, TensorShape,
    Trust, bundled,
    file::{
        beside, identity, is_marked, read_bounded, read_first, read_onnx, read_text, sha256_of,
    },
    head::{self, About, Interface, Rules},
    load_trusted,
    manifest::{BuiltFor, Manifest},
    onnx::{Onnx, OnnxError},
    rebuild::rebuild,
    settle::Settled,
};

/// A serialized engine as it lies on disk.
#[derive(Debug)]
pub struct EngineFile {
    path: PathBuf,
    sha256: String,
    bytes: Vec<u8>,
    plan_at: usize,
    header: Option<Header>,
    manifest_path: PathBuf,
    trust: Trust,
    manifest_text: String,
    manifest: Manifest,
}

/// What a model's file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// For the CPU, or to build an engine from.
    Onnx,
    /// For a GPU.
    Engine,
}

/// A model's file, whatever it is.
pub enum AnyModel {
    /// For the CPU, or to build an engine from.
    Onnx(Box<ModelFile>),
    /// For a GPU.
    Engine(Box<EngineFile>),
}

/// Whether a model's file is meant for TensorRT. Where the bytes do not say it, its name does.
pub fn file_kind(path: &Path) -> Result<FileKind, ModelError> {
    /// Of every mark.
    const LOOK_AT: u64 = 8;
    Ok(kind_of(path, &read_first(path, LOOK_AT)?))
}

/// By the first bytes alone, and nothing is parsed: they may not be trusted yet.
fn kind_of(path: &Path, bytes: &[u8]) -> FileKind {
    // Every ONNX file begins so: field 1, a varint.
    let onnx = bytes.first() == Some(&0x08);
    let engine = is_marked(bytes) || Header::is_marked(bytes);
    match engine || is_named_engine(path) && !onnx {
        true => FileKind::Engine,
        false => FileKind::Onnx,
    }
}

/// Reads a model's file once, and loads what it is. Where `trust` says so, its signature is verified before.
pub fn load_any(path: &Path, trust: &Trust) -> Result<AnyModel, ModelError> {
    let bytes = read_bounded(path, "more than cellsegd reads (2 GiB)")?;
    trust.check(path, &bytes)?;
    Ok(match kind_of(path, &bytes) {
        FileKind::Engine => AnyModel::Engine(Box::new(read_engine(path, bytes, trust)?)),
        FileKind::Onnx => AnyModel::Onnx(Box::new(read_onnx(path, bytes)?)),
    })
}

/// By its name: whoever calls a file so means a GPU.
pub fn is_named_engine(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["engine", "plan", "trt"].contains(&&*extension.to_string_lossy().to_lowercase())
    })
}

/// Reads an engine, and its manifest: `NAME.engine.toml` beside `NAME.engine`, else `NAME.toml`.
pub fn load_engine(path: &Path) -> Result<EngineFile, ModelError> {
    load_engine_trusted(path, &Trust::default())
}

/// The same for a file that must be signed where `trust` says so.
pub fn load_engine_trusted(path: &Path, trust: &Trust) -> Result<EngineFile, ModelError> {
    let bytes = read_bounded(path, "more than cellsegd reads (2 GiB)")?;
    // Before a byte of the file is understood.
    trust.check(path, &bytes)?;
    read_engine(path, bytes, trust)
}

/// Of bytes that `trust` has checked.
fn read_engine(path: &Path, bytes: Vec<u8>, trust: &Trust) -> Result<EngineFile, ModelError> {
    let manifest_path = manifest_path(path);
    let manifest_text = read_text(&manifest_path)?;
    let manifest = Manifest::parse(&manifest_text, &manifest_path)?;
    let sha256 = sha256_of(&bytes);
    // A manifest without the table is that of the ONNX file beside it.
    if let Some(built) = &manifest.engine {
        let again = || format!("build it again: {}", rebuild(path, built));
        manifest.check_sha256(path, &sha256, again)?;
    }
    let refused = |what: &str| ModelError::NotOnnx {
        path: path.to_owned(),
        n_bytes: bytes.len() as u64,
        what: what.to_owned(),
    };
    match Onnx::read(&bytes) {
        Err(OnnxError::Foreign) => (),
        _ => {
            let onnx = path.with_extension("onnx");
            let rename = match onnx == path {
                true => String::new(),
                false => format!("call it {} and ", onnx.display()),
            };
            return Err(refused(&format!(
                "an ONNX file and not an engine: {rename}build one with cellsegd engine build {}",
                onnx.display()
            )));
        }
    }
    let header = Header::read(&bytes);
    let plan_at = header.as_ref().map_or(0, |(_, at)| *at);
    /// Shorter than any plan's own beginning.
    const LEAST: usize = 16;
    if bytes.len() - plan_at < LEAST {
        return Err(refused(match header {
            Some(_) => "an engine that was cut off: its plan is missing",
            None => "not an engine, or one that was cut off",
        }));
    }
    let plan = &bytes[plan_at..];
    if let Some(whole) = rtx_length(plan).filter(|&whole| plan.len() < whole) {
        return Err(refused(&format!(
            "an engine that was cut off: its plan is {} of {whole} bytes",
            plan.len()
        )));
    }
    Ok(EngineFile {
        path: path.to_owned(),
        sha256,
        plan_at,
        header: header.map(|(header, _)| header),
        bytes,
        manifest_path,
        trust: trust.clone(),
        manifest_text,
        manifest,
    })
}

/// TensorRT-RTX 1.7 writes the length of the plan behind its mark; of other libraries it is not known.
fn rtx_length(plan: &[u8]) -> Option<usize> {
    let length = plan.get(16..24)?.first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    // Anything longer is no length.
    (plan.starts_with(b"vtrt") && length < 1 << 40).then_some(length)
}

/// The one that is there, else the first.
pub(super) fn manifest_path(engine: &Path) -> PathBuf {
    let (own, shared) = (beside(engine, "toml"), engine.with_extension("toml"));
    match !own.exists() && shared.exists() {
        true => shared,
        false => own,
    }
}

impl EngineFile {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Of the whole file, hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Of the file and its manifest: the same only for the same bytes.
    pub fn identity(&self) -> String {
        identity(&self.sha256, &self.manifest_text)
    }

    /// Bytes of the whole file.
    pub fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What TensorRT reads.
    pub fn plan(&self) -> &[u8] {
        &self.bytes[self.plan_at..]
    }

    /// Whether the plan begins as TensorRT's plans do: others it may refuse.
    pub fn is_marked(&self) -> bool {
        is_marked(self.plan())
    }

    /// ultralytics', where it has one.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Where its manifest is, or would be.
    pub fn manifest_path(&self) -> &Path {
        &self.manifest_path
    }

    /// Where its manifest says it.
    pub fn built_for(&self) -> Option<&BuiltFor> {
        self.manifest.engine.as_ref()
    }

    /// The command that builds it again, as far as its manifest tells.
    pub fn rebuild(&self) -> String {
        let built = self.built_for().cloned().unwrap_or_default();
        rebuild(&self.path, &built)
    }

    /// The file that it was built from, where its manifest names one that is there.
    pub fn onnx(&self) -> Option<PathBuf> {
        let onnx = self.built_for()?.onnx.as_deref()?;
        Some(self.path.with_file_name(onnx)).filter(|onnx| onnx.is_file())
    }

    /// Where it comes from, in its maker's words.
    pub fn provenance(&self) -> Provenance {
        self.manifest.provenance()
    }

    /// What clients will call it.
    pub fn name(&self) -> String {
        let stem = || self.path.file_stem().unwrap_or_default().to_string_lossy();
        let name = self.manifest.name.clone();
        name.unwrap_or_else(|| stem().into_owned())
    }

    /// The same model for the CPU: the ONNX file that it was built from, where its manifest says, beside it, or built in. It
    /// takes the engine's name, so that clients find it. Ok(None): there is none; Err: there is one, and it is another.
    pub fn cpu_model(&self) -> Result<Option<ModelFile>, ModelError> {
        let built = self.built_for();
        let wanted = built.and_then(|built| built.onnx_sha256.as_deref());
        let named = built.and_then(|built| built.onnx.as_deref());
        let candidates = [
            named.map(|name| self.path.with_file_name(name)),
            Some(self.path.with_extension("onnx")),
        ];
        let named = |mut model: ModelFile| {
            model.spec.name = self.name();
            Some(model)
        };
        let mut refused = None;
        for path in candidates
            .into_iter()
            .flatten()
            .filter(|path| path.is_file())
        {
            match load_trusted(&path, &self.trust)
                .and_then(|model| self.built_from(model, &path, wanted))
            {
                Ok(model) => return Ok(named(model)),
                // That of the file that the manifest names, where both are wrong.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let bundled = bundled()?;
        if wanted.is_some_and(|wanted| wanted.eq_ignore_ascii_case(&bundled.spec.sha256)) {
            return Ok(named(bundled));
        }
        refused.map_or(Ok(None), Err)
    }

    fn built_from(
        &self,
        model: ModelFile,
        path: &Path,
        wanted: Option<&str>,
    ) -> Result<ModelFile, ModelError> {
        let found = &model.spec.sha256;
        match wanted.filter(|wanted| !wanted.eq_ignore_ascii_case(found)) {
            None => Ok(model),
            Some(wanted) => Err(ModelError::OtherModel {
                path: path.to_owned(),
                engine: self.path.clone(),
                found: found.clone(),
                wanted: wanted.to_owned(),
            }),
        }
    }

    /// What the model is, judged by the engine's tensors.
    pub fn spec(&self, tensors: &[TensorShape]) -> Result<ModelSpec, ModelError> {
        let interface = self.interface(tensors)?;
        let wanted = self.built_for().and_then(|built| built.head.as_deref());
        let found = interface.head.name();
        if let Some(wanted) = wanted.filter(|&wanted| wanted != found) {
            return Err(ModelError::EngineHead {
                path: self.path.clone(),
                found: format!(
                    "tensors of the head {found:?}, where {} says {wanted:?}",
                    self.manifest_path.display()
                ),
            });
        }
        let header = self.header.clone().unwrap_or_default();
        let names = self.names();
        let built = self.built_for().map(|built| built.precision.clone());
        let precision = built.filter(|precision| !precision.is_empty());
        let precision = precision.or(header.precision);
        Settled {
            path: &self.path,
            manifest_path: &self.manifest_path,
            manifest: &self.manifest,
            interface,
            names,
            sha256: &self.sha256,
            precision: precision.as_deref().unwrap_or("unknown"),
        }
        .spec()
    }

    /// How those tensors lie in memory.
    pub fn storage(&self, tensors: &[TensorShape]) -> Result<Storage, ModelError> {
        let interface = self.interface(tensors)?;
        let stored = |name: &str| {
            let tensor = tensors.iter().find(|tensor| tensor.name == name);
            let tensor = tensor.expect("the interface names tensors that are there");
            self.stored(tensor)
        };
        Ok(Storage {
            input: stored(&interface.tensors.input)?,
            detections: stored(&interface.tensors.detections)?,
            prototypes: stored(&interface.tensors.prototypes)?,
            batch: interface.batch.unwrap_or(1),
            dynamic_batch: interface.batch.is_none(),
        })
    }

    fn stored(&self, tensor: &TensorShape) -> Result<Stored, ModelError> {
        let refused = |found: String| ModelError::EngineHead {
            path: self.path.clone(),
            found,
        };
        match tensor.element {
            Element::F32 => Ok(Stored::F32),
            Element::F16 => Ok(Stored::F16),
            Element::U8 => Ok(Stored::U8),
            Element::I8 => {
                let scales = self.built_for().map(|built| &built.scales);
                let scale = scales.and_then(|scales| scales.get(&tensor.name)).copied();
                let scale = scale.filter(|scale| *scale > 0.0 && scale.is_finite());
                scale.map(|scale| Stored::I8 { scale }).ok_or_else(|| {
                    refused(format!(
                        "{tensor}, and no scale for it in {}: write [engine.scales] with \"{}\" = the value of a step, or \
                         build the engine with float32 inputs and outputs",
                        self.manifest_path.display(),
                        tensor.name
                    ))
                })
            }
            _ => Err(refused(tensor.to_string())),
        }
    }

    fn names(&self) -> Option<Vec<String>> {
        let header = || self.header.as_ref()?.names.clone();
        self.manifest.classes.clone().or_else(header)
    }

    fn interface(&self, tensors: &[TensorShape]) -> Result<Interface, ModelError> {
        let header = self.header.as_ref();
        let about = About {
            task: header.and_then(|header| header.task.clone()),
            size: header.and_then(|header| header.size),
            n_classes: self.names().map(|names| names.len()),
        };
        head::interface(tensors, &about, Rules::ENGINE).map_err(|found| ModelError::EngineHead {
            path: self.path.clone(),
            found,
        })
    }
}

#[cfg(test)]
mod tests;
