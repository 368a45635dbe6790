//! The command that builds an engine again, as errors give it: it is meant to be copied.

use std::path::Path;

use super::{BuiltFor, bundled};

/// With the options that `built` tells of. `engine` is where the engine lies.
pub(super) fn rebuild(engine: &Path, built: &BuiltFor) -> String {
    let mut words = vec!["cellsegd engine build".to_owned()];
    words.extend(onnx(engine, built));
    if built.precision == "fp16" {
        words.push("--fp16".to_owned());
    }
    if let Some(batch) = &built.batch {
        words.push(format!("--batch {}", quoted(batch)));
    }
    if let Some(profiles) = built.profiles {
        words.push(format!("--profiles {profiles}"));
    }
    if built.version_compatible {
        words.push("--version-compatible".to_owned());
    }
    words.push(format!("-o {}", quoted(&engine.to_string_lossy())));
    words.join(" ")
}

/// None: the model that comes with the program, which needs no file.
fn onnx(engine: &Path, built: &BuiltFor) -> Option<String> {
    let Some(onnx) = &built.onnx else {
        let built_in = bundled().is_ok_and(|model| {
            let of = built.onnx_sha256.as_deref();
            of.is_some_and(|of| of.eq_ignore_ascii_case(&model.spec.sha256))
        });
        return (!built_in).then(|| "MODEL.onnx".to_owned());
    };
    let path = engine.parent().unwrap_or(Path::new("")).join(onnx);
    Some(match path.is_file() {
        true => quoted(&path.to_string_lossy()),
        // The engine came alone: its folder has nothing to do with where that file is.
        false => quoted(&path.file_name().unwrap_or_default().to_string_lossy()),
    })
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@,%~".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_command_names_files_that_are_there_and_all_options() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("my cells.onnx");
        fs::write(&there, "").unwrap();
        let elsewhere = there.display().to_string();
        let engine = folder.path().join("else.engine");
        let own = engine.display();
        let all = BuiltFor {
            onnx: Some("own.onnx".to_owned()),
            precision: "fp16".to_owned(),
            batch: Some("1..4".to_owned()),
            profiles: Some(2),
            version_compatible: true,
            ..BuiltFor::default()
        };
        let of = |onnx: Option<&str>, sha256: Option<String>| BuiltFor {
            onnx: onnx.map(str::to_owned),
            onnx_sha256: sha256,
            ..BuiltFor::default()
        };
        for (built, options) in [
            (
                all,
                "own.onnx --fp16 --batch 1..4 --profiles 2 --version-compatible".to_owned(),
            ),
            (of(Some("my cells.onnx"), None), format!("'{elsewhere}'")),
            (of(Some(&elsewhere), None), format!("'{elsewhere}'")),
            (of(Some("/absent/b.onnx"), None), "b.onnx".to_owned()),
            (of(None, None), "MODEL.onnx".to_owned()),
        ] {
            let wanted = format!("cellsegd engine build {options} -o {own}");
            assert_eq!(rebuild(&engine, &built), wanted);
        }
        let bundled = of(None, Some(bundled().unwrap().spec.sha256));
        assert_eq!(
            rebuild(Path::new("a.engine"), &bundled),
            "cellsegd engine build -o a.engine"
        );
    }
}
