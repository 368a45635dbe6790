//! The manifest that is written beside an engine.

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::model::{BuiltFor, ModelFile};

/// The ONNX file's manifest, what its metadata said, and what the engine was built for.
pub(super) fn text(model: &ModelFile, engine_sha256: &str, built_for: &BuiltFor) -> Result<String> {
    let mut table: Table = model.manifest.parse()?;
    let spec = &model.spec;
    table.insert("name".to_owned(), Value::from(spec.name.clone()));
    // A bare plan has no names.
    if model.names_classes {
        table.insert("classes".to_owned(), Value::from(spec.classes.clone()));
    }
    table.insert("sha256".to_owned(), Value::from(engine_sha256));
    // The ONNX file's would win over the engine's.
    table.remove("precision");
    let built_for = Value::try_from(built_for).context("what it was built for")?;
    table.insert("engine".to_owned(), built_for);
    Ok(format!(
        "# Written by cellsegd engine build. Keys: docs/engines.md.\n{table}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{self, load_engine};

    #[test]
    fn a_written_manifest_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cells.engine");
        let plan = [b"ftrt", &[7; 100][..]].concat();
        std::fs::write(&path, &plan).unwrap();
        let sha256 = load_engine(&path).unwrap().sha256().to_owned();
        let onnx = model::bundled().unwrap();
        let built_for = BuiltFor {
            tensorrt: "TensorRT 10.3.0".to_owned(),
            compute_capability: Some("8.9".to_owned()),
            device: Some("a \"GPU\"".to_owned()),
            precision: "fp16".to_owned(),
            onnx_sha256: Some(onnx.spec.sha256.clone()),
            ..BuiltFor::default()
        };
        let manifest = folder.path().join("cells.engine.toml");
        std::fs::write(&manifest, text(&onnx, &sha256, &built_for).unwrap()).unwrap();

        let engine = load_engine(&path).unwrap();
        assert_eq!(engine.built_for(), Some(&built_for));
        assert_eq!(engine.manifest_path(), manifest);
        let spec = engine.spec(&onnx_as_engine(&onnx)).unwrap();
        let expected = model::ModelSpec {
            sha256,
            precision: "fp16".to_owned(),
            ..onnx.spec.clone()
        };
        assert_eq!(spec, expected);
        assert_eq!(engine.provenance(), onnx.provenance);
        // The bundled model is nowhere on the disk, and known by its sum.
        let twin = engine.cpu_model().unwrap().unwrap();
        assert_eq!(twin.spec.sha256, onnx.spec.sha256);
    }

    #[test]
    fn names_that_nobody_gave_are_not_written() {
        let mut onnx = model::bundled().unwrap();
        onnx.manifest.clear();
        let built_for = BuiltFor::default();
        for named in [true, false] {
            onnx.names_classes = named;
            let table: Table = text(&onnx, "", &built_for).unwrap().parse().unwrap();
            assert_eq!(table.contains_key("classes"), named);
        }
    }

    /// TensorRT has no float64.
    fn onnx_as_engine(onnx: &ModelFile) -> Vec<model::TensorShape> {
        let mut tensors = onnx.tensors.clone();
        for tensor in &mut tensors {
            tensor.element = model::Element::F32;
        }
        tensors
    }
}
