//! Finds and loads ONNX Runtime's library.
//!
//! Only where an operator has put it: the settings, `ORT_DYLIB_PATH`, or the folders that `tools/get-onnxruntime` fills. Never
//! the system's search path, where any program's old copy may lie.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::environment::Environment;

use crate::config::EngineSettings;

/// The library, once it is loaded.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub environment: Environment,
    path: PathBuf,
    /// "1.22.0", from the file's name.
    pub version: String,
    /// Which file, and who named it.
    pub origin: String,
}

/// Why there is no library.
#[derive(Debug, thiserror::Error)]
pub(super) enum LibraryError {
    /// Nobody has put one where it is looked for.
    #[error(
        "no ONNX Runtime found: engine.onnxruntime and ORT_DYLIB_PATH are unset, and there is no libonnxruntime.so* in {folders}; \
         tools/get-onnxruntime fetches it (packaged: /usr/lib/cellsegd/get-onnxruntime)"
    )]
    NotFound {
        /// Where it was looked for.
        folders: String,
    },
    /// There is one that cannot be used: which, and why.
    #[error("{0}")]
    Unusable(String),
}

/// A process loads one library and makes one environment.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// Where the library is, and who says so.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    path: PathBuf,
    named_by: &'static str,
}

/// The library that `settings` name, else one that is found.
pub(super) fn load(settings: &EngineSettings) -> Result<Loaded, LibraryError> {
    let Candidate { path, named_by } = find(settings, |name| env::var_os(name))?;
    let wrong = |why: &dyn fmt::Display| {
        LibraryError::Unusable(format!("{} ({named_by}): {why}", path.display()))
    };
    // ort would look for a relative path beside the program first.
    let absolute = fs::canonicalize(&path).map_err(|error| wrong(&error))?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = &*loaded {
        return match loaded.path == absolute {
            true => Ok(loaded.clone()),
            false => Err(wrong(&format!(
                "{} is loaded, and a process can load one only",
                loaded.path.display()
            ))),
        };
    }
    let environment = ort::init_from(&absolute)
        .map_err(|error| wrong(&error))?
        .with_name("cellsegd")
        .with_telemetry(false)
        .build()
        .map_err(|error| wrong(&error))?;
    let library = Loaded {
        environment,
        version: version(&absolute),
        origin: format!("{} ({named_by})", path.display()),
        path: absolute,
    };
    *loaded = Some(library.clone());
    Ok(library)
}

fn find(
    settings: &EngineSettings,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Candidate, LibraryError> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    if let Some(path) = &settings.onnxruntime {
        return Ok(Candidate {
            path: path.clone(),
            named_by: "engine.onnxruntime of the settings",
        });
    }
    if let Some(path) = set("ORT_DYLIB_PATH") {
        return Ok(Candidate {
            path: path.into(),
            named_by: "ORT_DYLIB_PATH",
        });
    }
    let home = || set("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let data = set("XDG_DATA_HOME").map(PathBuf::from).or_else(home);
    let folders: Vec<PathBuf> = data
        .into_iter()
        .chain(["/var/lib", "/usr/lib"].map(PathBuf::from))
        .map(|folder| folder.join("cellsegd"))
        .collect();
    folders
        .iter()
        .find_map(|folder| newest_library(folder))
        .map(|path| Candidate {
            path,
            named_by: "found",
        })
        .ok_or_else(|| {
            let folders: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
            LibraryError::NotFound {
                folders: folders.join(", "),
            }
        })
}

/// The `libonnxruntime.so*` of the highest version.
fn newest_library(folder: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let libraries = names.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libonnxruntime.so")
    });
    libraries.max_by_key(|path| numbers(&version(path)))
}

/// What follows `.so.` in the file's name.
fn version(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.split_once(".so.") {
        Some((_, version)) => version.to_owned(),
        None => "of unknown version".to_owned(),
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|n| n.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<OsString> {
        None
    }

    #[test]
    fn settings_go_before_the_variable_and_the_variable_before_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("cellsegd");
        fs::create_dir(&ours).unwrap();
        for name in [
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.22.0",
            "libonnxruntime_providers_shared.so",
        ] {
            fs::write(ours.join(name), "").unwrap();
        }
        let variables = |name: &str| match name {
            "XDG_DATA_HOME" => Some(folder.path().into()),
            "ORT_DYLIB_PATH" => Some("/variable.so".into()),
            _ => None,
        };
        let without = |name: &str| variables(name).filter(|_| name != "ORT_DYLIB_PATH");
        let mut settings = EngineSettings {
            onnxruntime: Some("/settings.so".into()),
            ..EngineSettings::default()
        };
        let path = |settings: &EngineSettings, variables: &dyn Fn(&str) -> Option<OsString>| {
            find(settings, variables).unwrap().path
        };
        assert_eq!(path(&settings, &variables), Path::new("/settings.so"));
        settings.onnxruntime = None;
        assert_eq!(path(&settings, &variables), Path::new("/variable.so"));
        let newest = ours.join("libonnxruntime.so.1.22.0");
        assert_eq!(path(&settings, &without), newest);
        assert_eq!(version(&newest), "1.22.0");
    }

    #[test]
    fn where_it_was_looked_for_is_named() {
        let home = |name: &str| (name == "HOME").then(|| "/nobody".into());
        let message = find(&EngineSettings::default(), home)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("/nobody/.local/share/cellsegd, /var/lib/cellsegd, /usr/lib/cellsegd")
        );
        assert!(message.contains("tools/get-onnxruntime"));
        let message = find(&EngineSettings::default(), nothing)
            .unwrap_err()
            .to_string();
        assert!(message.contains("in /var/lib/cellsegd, /usr/lib/cellsegd"));
    }
}
