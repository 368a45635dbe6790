//! The models of a folder.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    ModelError,
    engine_file::{is_named_engine, manifest_path},
    file::read_text,
    manifest::Manifest,
};

/// A file for each model, in the order of their names: `NAME.engine`, else `NAME.onnx`. An engine's ONNX file is what the CPU
/// may run instead, and no model of its own. Other files are passed over.
pub fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let failed = |source| ModelError::Folder {
        path: folder.to_owned(),
        source,
    };
    let mut models = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_engine = is_named_engine(&path);
        let is_onnx = path
            .extension()
            .is_some_and(|extension| extension == "onnx");
        let (true, Some(name)) = (is_engine || is_onnx, path.file_stem()) else {
            continue;
        };
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        let known = models
            .entry(name.to_owned())
            .or_insert_with(|| path.clone());
        // The order of a folder is nobody's: of several engines the first by its name.
        if is_engine && (!is_named_engine(known) || path < *known) {
            *known = path;
        }
    }
    Ok(models.into_values().collect())
}

/// What clients call the model of this file: as its manifest says, else as the file is called. `Err`: nobody knows, for the
/// manifest cannot be read.
pub fn name_of(path: &Path) -> Result<String, ModelError> {
    let manifest = match is_named_engine(path) {
        true => manifest_path(path),
        false => path.with_extension("toml"),
    };
    let manifest = Manifest::parse(&read_text(&manifest)?, &manifest)?;
    Ok(manifest.name.unwrap_or_else(|| named_by_file(path)))
}

/// What a model without a manifest is called.
pub fn named_by_file(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_goes_before_the_onnx_file_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.onnx",
            "b.engine",
            "b.engine.toml",
            "b.engine.minisig",
            "b.toml",
            "a.onnx",
            "c.engine.123.tmp",
            ".hidden.onnx",
            "notes.txt",
            "d.plan",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(folder.path().join("b.engine.toml"), "name = 'cells'").unwrap();
        let models = in_folder(folder.path()).unwrap();
        let names: Vec<_> = models
            .iter()
            .map(|path| {
                let file = path.file_name().unwrap().to_str().unwrap();
                (file, name_of(path).unwrap())
            })
            .collect();
        let named = |file, name: &str| (file, name.to_owned());
        assert_eq!(
            names,
            [
                named("a.onnx", "a"),
                named("b.engine", "cells"),
                named("d.plan", "d")
            ]
        );
        fs::write(folder.path().join("b.engine.toml"), "name = ").unwrap();
        let error = name_of(&folder.path().join("b.engine")).unwrap_err();
        assert!(error.to_string().contains("b.engine.toml"), "{error}");
        let absent = folder.path().join("absent");
        let error = in_folder(&absent).unwrap_err().to_string();
        assert!(error.contains(absent.to_str().unwrap()), "{error}");
    }
}
