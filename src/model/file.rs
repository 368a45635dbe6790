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
    ModelSpec, head,
    manifest::Manifest,
    names,
    onnx::{Onnx, OnnxError},
};
use crate::params::{Normalization, Thresholds};

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
    /// Where it comes from.
    pub provenance: Provenance,
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
    #[error("model {}: sha256 is {found}, its manifest wants {wanted}", path.display())]
    Sha256 {
        /// Of the ONNX file.
        path: PathBuf,
        /// The file's.
        found: String,
        /// The manifest's.
        wanted: String,
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
    let bytes = read_bounded(path)?;
    let manifest_path = path.with_extension("toml");
    let manifest = match fs::read_to_string(&manifest_path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => {
            return Err(ModelError::Read {
                path: manifest_path,
                source,
            });
        }
    };
    read(path, Cow::Owned(bytes), &manifest)
}

/// The model that comes with the program.
pub fn bundled() -> Result<ModelFile, ModelError> {
    read(
        Path::new("engines/cell_pilot_640.onnx"),
        Cow::Borrowed(include_bytes!("../../engines/cell_pilot_640.onnx")),
        include_str!("../../engines/cell_pilot_640.toml"),
    )
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, ModelError> {
    let failed = |source| ModelError::Read {
        path: path.to_owned(),
        source,
    };
    let about = fs::metadata(path).map_err(failed)?;
    let refused = |what: &str| ModelError::NotOnnx {
        path: path.to_owned(),
        n_bytes: about.len(),
        what: what.to_owned(),
    };
    // A pipe or a device could be read for ever.
    if !about.is_file() {
        return Err(refused("not a regular file"));
    }
    if about.len() > MAX_BYTES {
        return Err(refused("more than an ONNX file can have (2 GiB)"));
    }
    let mut bytes = Vec::with_capacity(about.len() as usize);
    let mut file = fs::File::open(path).map_err(failed)?.take(MAX_BYTES);
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn read(path: &Path, bytes: Cow<'static, [u8]>, manifest: &str) -> Result<ModelFile, ModelError> {
    let wrong_manifest = |what: String| ModelError::Manifest {
        path: path.with_extension("toml"),
        what,
    };
    let onnx = Onnx::read(&bytes).map_err(|error: OnnxError| ModelError::NotOnnx {
        path: path.to_owned(),
        n_bytes: bytes.len() as u64,
        what: error.to_string(),
    })?;
    let manifest: Manifest =
        toml::from_str(manifest).map_err(|error| wrong_manifest(error.to_string()))?;
    let sha256 = hex(&Sha256::digest(&bytes));
    if let Some(wanted) = manifest.sha256
        && !wanted.eq_ignore_ascii_case(&sha256)
    {
        return Err(ModelError::Sha256 {
            path: path.to_owned(),
            found: sha256,
            wanted,
        });
    }

    let named = manifest
        .classes
        .or_else(|| names::parse(onnx.metadata.get("names")?));
    let interface =
        head::interface(&onnx, named.as_ref().map(Vec::len)).map_err(|found| ModelError::Head {
            path: path.to_owned(),
            found,
        })?;
    let n_classes = interface.head.shape().classes;
    let thresholds = Thresholds {
        confidence: manifest.thresholds.confidence,
        iou: manifest.thresholds.iou,
        class_agnostic: manifest.thresholds.class_agnostic,
        max_cells: manifest.thresholds.max_cells,
        min_area_px: 0,
        min_area_um2: None,
        max_area_um2: None,
        classes: Vec::new(),
        class_confidence: Default::default(),
    };
    thresholds
        .check(n_classes, u32::MAX)
        .map_err(|error| wrong_manifest(error.to_string()))?;
    let normalization = match manifest.normalization {
        None => Normalization::FullRange,
        Some(policy) => policy.normalization().ok_or_else(|| {
            wrong_manifest(
                "normalization: min_span and min_span_of_full_range exclude each other".to_owned(),
            )
        })?,
    };
    normalization
        .check()
        .map_err(|error| wrong_manifest(error.to_string()))?;
    if let Some(scale) = manifest.trained_um_per_px
        && !(scale > 0.0 && scale.is_finite())
    {
        return Err(wrong_manifest(format!(
            "trained_um_per_px {scale}: must be above 0"
        )));
    }

    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let spec = ModelSpec {
        name: manifest.name.unwrap_or_else(|| stem.into_owned()),
        version: manifest.version,
        input_width: interface.width as u32,
        input_height: interface.height as u32,
        classes: named.unwrap_or_else(|| (0..n_classes).map(|i| format!("class {i}")).collect()),
        trained_um_per_px: manifest.trained_um_per_px,
        sha256,
        head: interface.head,
        precision: manifest.precision.unwrap_or_else(|| "fp32".to_owned()),
        thresholds,
        normalization,
        tensors: interface.tensors,
    };
    Ok(ModelFile {
        spec,
        bytes,
        operators: onnx.operators,
        provenance: Provenance {
            licence: manifest.licence,
            data: manifest.data,
            metrics: manifest.metrics,
        },
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
