use std::fs;

use super::*;
use crate::model::Head;

/// 8 classes fewer than bytes; TensorRT would not read it.
fn plan() -> Vec<u8> {
    [b"ftrt", &[7; 100][..]].concat()
}

fn with_header(json: &str) -> Vec<u8> {
    let length = (json.len() as u32).to_le_bytes();
    [&length[..], json.as_bytes(), &plan()].concat()
}

fn tensor(name: &str, input: bool, element: Element, dims: &[usize]) -> TensorShape {
    TensorShape {
        name: name.to_owned(),
        input,
        element,
        dims: dims.iter().map(|&n| (n > 0).then_some(n)).collect(),
    }
}

/// 0: dynamic.
fn tensors(batch: usize, element: Element) -> Vec<TensorShape> {
    vec![
        tensor("images", true, element, &[batch, 3, 640, 640]),
        tensor("output0", false, element, &[batch, 38, 8400]),
        tensor("output1", false, element, &[batch, 32, 160, 160]),
    ]
}

fn load(
    name: &str,
    bytes: &[u8],
    manifest: Option<(&str, &str)>,
) -> Result<EngineFile, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    if let Some((name, text)) = manifest {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    load_engine(&path)
}

#[test]
fn a_header_speaks_where_the_manifest_does_not() {
    let json = r#"{"task": "segment", "names": {"0": "yeast", "1": "bud"}, "imgsz": [640, 640], "args": {"half": true}}"#;
    let file = load("cells.engine", &with_header(json), None).unwrap();
    assert_eq!(file.plan(), plan());
    assert_eq!(file.name(), "cells");
    let spec = file.spec(&tensors(1, Element::F16)).unwrap();
    assert_eq!(spec.classes, ["yeast", "bud"]);
    assert_eq!(spec.precision, "fp16");
    assert_eq!(
        (spec.name.as_str(), spec.sha256.as_str()),
        ("cells", file.sha256())
    );
    assert!(matches!(spec.head, Head::YoloSeg(shape) if shape.classes == 2));

    let manifest = "name = \"mine\"\nclasses = [\"a\", \"b\"]\n[engine]\nprecision = \"int8\"\n";
    let both = Some(("cells.engine.toml", manifest));
    let file = load("cells.engine", &with_header(json), both).unwrap();
    let spec = file.spec(&tensors(1, Element::F32)).unwrap();
    assert_eq!(
        (spec.name.as_str(), spec.precision.as_str()),
        ("mine", "int8")
    );
    assert_eq!(spec.classes, ["a", "b"]);
    let three = load(
        "x.engine",
        &plan(),
        Some(("x.toml", "classes = [\"a\", \"b\", \"c\"]")),
    )
    .unwrap();
    let error = three
        .spec(&tensors(1, Element::F32))
        .unwrap_err()
        .to_string();
    assert!(error.contains("3 class names"), "{error}");
}

#[test]
fn a_batch_may_be_dynamic_or_several() {
    let file = load("cells.engine", &plan(), None).unwrap();
    for (batch, room, dynamic) in [(1, 1, false), (4, 4, false), (0, 1, true)] {
        let tensors = tensors(batch, Element::F32);
        file.spec(&tensors).unwrap();
        let storage = file.storage(&tensors).unwrap();
        assert_eq!(
            (storage.batch, storage.dynamic_batch),
            (room, dynamic),
            "{batch}"
        );
    }
    let mut odd = tensors(4, Element::F32);
    odd[1].dims[0] = Some(2);
    let error = file.spec(&odd).unwrap_err().to_string();
    assert!(
        error.contains("outputs output0 float32 [2, 38, 8400]"),
        "{error}"
    );
}

#[test]
fn a_transposed_head_is_not_taken_for_another() {
    let mut swapped = tensors(1, Element::F32);
    swapped[1].dims = vec![Some(1), Some(8400), Some(38)];
    let two = "classes = [\"a\", \"b\"]\n";
    for (manifest, rows, words) in [
        (two.to_owned(), 8400, Some("output0 float32 [1, 8400, 38]")),
        (two.to_owned(), 300, None),
        (
            format!("{two}[engine]\nhead = \"yolo-seg\"\n"),
            300,
            Some("says \"yolo-seg\""),
        ),
    ] {
        swapped[1].dims[1] = Some(rows);
        let manifest = Some(("cells.engine.toml", &*manifest));
        let file = load("cells.engine", &plan(), manifest).unwrap();
        let said = file.spec(&swapped).err().map(|error| error.to_string());
        let right = match (&said, words) {
            (None, None) => true,
            (Some(said), Some(words)) => said.contains(words),
            _ => false,
        };
        assert!(right, "{words:?}: {said:?}");
    }
}

#[test]
fn int8_tensors_need_their_scales() {
    let tensors = tensors(1, Element::I8);
    let bare = load("cells.engine", &plan(), None).unwrap();
    let error = bare.storage(&tensors).unwrap_err().to_string();
    assert!(
        error.contains("images int8 [1, 3, 640, 640], and no scale for it in"),
        "{error}"
    );
    assert!(error.contains("[engine.scales]"), "{error}");
    let manifest = "[engine.scales]\nimages = 0.0039\noutput0 = 2.5\noutput1 = 0.1\n";
    let scaled = load(
        "cells.engine",
        &plan(),
        Some(("cells.engine.toml", manifest)),
    )
    .unwrap();
    let storage = scaled.storage(&tensors).unwrap();
    assert_eq!(storage.detections, Stored::I8 { scale: 2.5 });
    let mut odd = tensors.clone();
    odd[0].element = Element::I32;
    let error = scaled.spec(&odd).unwrap_err().to_string();
    assert!(error.contains("input images int32"), "{error}");
}

#[test]
fn the_sum_is_the_engines_where_the_manifest_is() {
    let wrong = format!("sha256 = \"{}\"\n", "0".repeat(64));
    let engine = format!("{wrong}[engine]\n");
    let error = load(
        "cells.engine",
        &plan(),
        Some(("cells.engine.toml", &engine)),
    )
    .unwrap_err();
    assert!(matches!(error, ModelError::Sha256 { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("cut off or replaced"), "{error}");
    assert!(
        error.contains("cellsegd engine build MODEL.onnx -o"),
        "{error}"
    );
    // That of the ONNX file beside it.
    load("cells.engine", &plan(), Some(("cells.toml", &wrong))).unwrap();
}

#[test]
fn what_is_no_engine_is_named() {
    let onnx = include_bytes!("../../../engines/cells_640.onnx");
    let long = [
        b"vtrt\0\0\0\0\x02\0\0\0\0\0\0\0".as_slice(),
        &1000_u64.to_le_bytes(),
        &[0; 100],
    ]
    .concat();
    for (bytes, words) in [
        (
            &onnx[..],
            "cells.onnx and build one with cellsegd engine build",
        ),
        (&onnx[..4096], "an ONNX file and not an engine"),
        (b"", "not an engine, or one that was cut off"),
        (b"junk", "not an engine, or one that was cut off"),
        (
            &with_header("{}")[..6],
            "an engine that was cut off: its plan is missing",
        ),
        (
            &long,
            "an engine that was cut off: its plan is 124 of 1000 bytes",
        ),
    ] {
        let error = load("cells.engine", bytes, None).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(load("cells.engine", &[9; 100], None).is_ok_and(|file| !file.is_marked()));
}

#[test]
fn bytes_decide_what_a_file_is_before_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = include_bytes!("../../../engines/cells_640.onnx");
    for (name, bytes, kind) in [
        ("a.onnx", &onnx[..], FileKind::Onnx),
        ("a.engine", onnx, FileKind::Onnx),
        ("b.engine", &plan(), FileKind::Engine),
        ("b.onnx", &plan(), FileKind::Engine),
        ("c.onnx", &with_header("{}"), FileKind::Engine),
        ("d.engine", &[9; 100], FileKind::Engine),
        ("d.plan", b"", FileKind::Engine),
        ("d.onnx", &[9; 100], FileKind::Onnx),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        assert_eq!(file_kind(&path).unwrap(), kind, "{name}");
    }
    let engine = folder.path().join("b.onnx");
    let error = crate::model::load(&engine).unwrap_err().to_string();
    assert!(
        error.contains("a TensorRT engine and not an ONNX file"),
        "{error}"
    );
    assert!(file_kind(&folder.path().join("absent")).is_err());
}

#[test]
fn the_cpus_model_is_the_one_that_was_built_from() {
    let onnx = include_bytes!("../../../engines/cells_640.onnx");
    let sha256 = sha256_of(onnx);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.engine");
    fs::write(&path, plan()).unwrap();
    let twin = |manifest: &str| {
        fs::write(folder.path().join("cells.engine.toml"), manifest).unwrap();
        load_engine(&path).unwrap().cpu_model().unwrap()
    };
    let load_wrong = |manifest: &str| {
        fs::write(folder.path().join("cells.engine.toml"), manifest).unwrap();
        load_engine(&path).unwrap().cpu_model().unwrap_err()
    };
    assert!(twin("").is_none());
    let built_in = format!("name = \"mine\"\n[engine]\nonnx_sha256 = \"{sha256}\"\n");
    assert_eq!(twin(&built_in).unwrap().spec.name, "mine");
    fs::write(folder.path().join("other.onnx"), onnx).unwrap();
    assert!(twin("[engine]\nonnx = \"other.onnx\"\n").is_some());
    let wrong = format!(
        "[engine]\nonnx = \"other.onnx\"\nonnx_sha256 = \"{}\"\n",
        "0".repeat(64)
    );
    let error = load_wrong(&wrong).to_string();
    assert!(error.contains("other.onnx: sha256 is"), "{error}");
    assert!(error.contains("was built from one with 0000"), "{error}");
    fs::write(folder.path().join("cells.onnx"), onnx).unwrap();
    assert!(twin("").is_some());
    // The first one that is there is not the one, and the second is.
    fs::write(folder.path().join("other.onnx"), "junk").unwrap();
    let right = format!("[engine]\nonnx = \"other.onnx\"\nonnx_sha256 = \"{sha256}\"\n");
    assert!(twin(&right).is_some());
}
