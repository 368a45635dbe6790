//! Model files and what lies beside them. Files, because what reads them takes a path.

use std::{fs, path::Path};

use cellsegd::model::{self, Element, TensorShape, Trust};

/// A small network that the loader takes.
const ONNX: &[u8] = include_bytes!("../corpus/onnx/tiny.onnx");
/// As long as a plan must be; nothing else is asked of it.
const PLAN: &[u8] = b"ftrt\0\0\0\0\0\0\0\0\0\0\0\0plan";

/// Any bytes as an engine file: ultralytics' header and TensorRT's mark.
pub(crate) fn engine(input: &[u8]) {
    in_a_folder(|folder| {
        let path = write(folder, "fuzzed.engine", input);
        // Which it is told to be must not matter to whether it can be read.
        let _ = model::file_kind(&path);
        let Ok(file) = model::load_engine(&path) else {
            return;
        };
        assert!(input.ends_with(file.plan()));
        if let Ok(spec) = file.spec(&tensors()) {
            assert_eq!(spec.classes.len(), spec.head.shape().classes);
        }
        let _ = (file.name(), file.storage(&tensors()));
    });
}

/// Any bytes as an ONNX file.
pub(crate) fn onnx(input: &[u8]) {
    in_a_folder(|folder| {
        let path = write(folder, "fuzzed.onnx", input);
        if let Ok(file) = model::load(&path) {
            assert_eq!(file.spec.classes.len(), file.spec.head.shape().classes);
        }
        let _ = model::load_to_build(&path, &Trust::default());
    });
}

/// Any text as the manifest of a model, and of an engine.
pub(crate) fn manifest(input: &[u8]) {
    in_a_folder(|folder| {
        write(folder, "tiny.toml", input);
        if let Ok(file) = model::load(&write(folder, "tiny.onnx", ONNX)) {
            let most = u32::MAX;
            let n_classes = file.spec.classes.len();
            let thresholds = file.spec.thresholds.check(n_classes, most);
            assert_eq!(thresholds, Ok(()), "a manifest sets what a client may not");
            assert_eq!(file.spec.normalization.check(), Ok(()));
        }
        write(folder, "tiny.engine.toml", input);
        if let Ok(file) = model::load_engine(&write(folder, "tiny.engine", PLAN)) {
            let _ = (file.rebuild(), file.name(), file.spec(&tensors()));
        }
    });
}

fn in_a_folder(run: impl FnOnce(&Path)) {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
    }
    FOLDER.with(|folder| run(folder.path()));
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    // Some file systems write a file that is cut to nothing and written again out to the disk at once.
    let _ = fs::remove_file(&path);
    fs::write(&path, bytes).expect("a writable temporary folder");
    path
}

/// Of a YOLO-seg network with two classes.
fn tensors() -> [TensorShape; 3] {
    let tensor = |name: &str, input, dims: &[usize]| TensorShape {
        name: name.to_owned(),
        input,
        element: Element::F32,
        dims: dims.iter().copied().map(Some).collect(),
    };
    [
        tensor("images", true, &[1, 3, 64, 64]),
        tensor("output0", false, &[1, 8, 84]),
        tensor("output1", false, &[1, 2, 16, 16]),
    ]
}
