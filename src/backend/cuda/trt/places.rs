//! Where TensorRT's libraries are looked for.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::{Flavour, Version};

/// As the loader knows them, newest first.
const NAMES: [&str; 6] = [
    "libnvinfer.so.11",
    "libnvinfer.so.10",
    "libnvinfer.so.8",
    "libtensorrt_rtx.so.1",
    "libnvinfer.so",
    "libtensorrt_rtx.so",
];

/// What such a file's name begins with, best first; lean and dispatch only to say that they are no use.
const STEMS: [&str; 4] = [
    "libnvinfer.so",
    "libtensorrt_rtx.so",
    "libnvinfer_lean.so",
    "libnvinfer_dispatch.so",
];

/// Of JetPack and .deb packages, and of unpacked archives.
const FOLDERS: [&str; 8] = [
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/local/tensorrt/lib",
    "/opt/tensorrt/lib",
    "/usr/local/TensorRT/lib",
    "/opt/TensorRT/lib",
    "/usr/local/tensorrt_rtx/lib",
    "/opt/tensorrt_rtx/lib",
];

/// Of pip's packages.
const PACKAGES: [&str; 9] = [
    "tensorrt_libs",
    "tensorrt_cu13_libs",
    "tensorrt_cu12_libs",
    "tensorrt",
    "tensorrt_rtx_libs",
    "tensorrt_rtx_cu13_libs",
    "tensorrt_rtx_cu12_libs",
    "tensorrt_lean_libs",
    "tensorrt_dispatch_libs",
];

/// Files and bare names for the loader, best first: those of `path` alone where it is given.
pub(super) fn candidates(path: Option<&Path>) -> Vec<PathBuf> {
    candidates_with(path, |name| env::var_os(name))
}

/// The ONNX parser's library: beside TensorRT's first, then by its bare names.
pub(super) fn parsers(library: &Path, flavour: Flavour, version: Version) -> Vec<PathBuf> {
    let stem = match flavour {
        Flavour::Rtx => "libtensorrt_onnxparser_rtx",
        _ => "libnvonnxparser",
    };
    // Folders may hold several versions side by side.
    let own = format!("{stem}.so.{}", version.major);
    let mut beside = beside(library, &[stem]);
    beside.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let longer = name
            .strip_prefix(&*own)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        longer || name == format!("{stem}.so")
    });
    beside.sort_by_key(|path| path.extension().is_some_and(|extension| extension == "so"));
    beside.extend([own, format!("{stem}.so")].map(PathBuf::from));
    beside
}

/// Libraries in the same folder whose names begin with one of `stems`.
pub(super) fn beside(library: &Path, stems: &[&str]) -> Vec<PathBuf> {
    let folder = library
        .parent()
        .and_then(|folder| fs::read_dir(folder).ok());
    let mut found: Vec<PathBuf> = folder
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            stems.iter().any(|stem| {
                name.strip_prefix(stem)
                    .is_some_and(|rest| rest.starts_with(".so"))
            })
        })
        .collect();
    found.sort();
    found
}

/// The folders, for an error.
pub(super) fn described() -> String {
    format!("{} nor a Python environment", FOLDERS[..4].join(", "))
}

fn candidates_with(
    path: Option<&Path>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Vec<PathBuf> {
    match path {
        Some(folder) if folder.is_dir() => in_folder(folder),
        // The loader would look for a bare name elsewhere.
        Some(file) => vec![std::path::absolute(file).unwrap_or_else(|_| file.to_owned())],
        None => NAMES
            .iter()
            .map(PathBuf::from)
            .chain(FOLDERS.iter().map(Path::new).flat_map(in_folder))
            .chain(python_folders(variable).iter().flat_map(|folder| {
                PACKAGES
                    .iter()
                    .flat_map(|package| in_folder(&folder.join(package)))
            }))
            .collect(),
    }
}

/// TensorRT's libraries in one folder, each once, best first: by kind, then by version.
fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<(usize, Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let rank = STEMS.iter().position(|stem| name.starts_with(stem))?;
            let version = name[STEMS[rank].len()..].trim_start_matches('.');
            let numbers: Option<Vec<u32>> = match version {
                "" => Some(Vec::new()),
                version => version.split('.').map(|n| n.parse().ok()).collect(),
            };
            Some((rank, numbers?, entry.path()))
        })
        .collect();
    found.sort_by(|(rank, numbers, _), (other_rank, other, _)| {
        // Of one version the longest name: the others are links to it.
        rank.cmp(other_rank).then_with(|| other.cmp(numbers))
    });
    let mut seen = Vec::new();
    found
        .into_iter()
        .map(|(_, _, path)| path)
        .filter(|path| {
            let file = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let new = !seen.contains(&file);
            seen.push(file);
            new
        })
        .collect()
}

/// site-packages and dist-packages.
fn python_folders(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let roots = [
        set("VIRTUAL_ENV"),
        set("CONDA_PREFIX"),
        set("HOME").map(|home| home.join(".local")),
        Some(PathBuf::from("/usr/local")),
        Some(PathBuf::from("/usr")),
    ];
    let mut folders = Vec::new();
    for lib in roots.into_iter().flatten().map(|root| root.join("lib")) {
        let mut pythons: Vec<PathBuf> = fs::read_dir(&lib)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
            .map(|entry| entry.path())
            .collect();
        pythons.sort();
        for python in pythons {
            folders.push(python.join("site-packages"));
            folders.push(python.join("dist-packages"));
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[PathBuf]) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        paths.iter().map(name).collect()
    }

    #[test]
    fn a_folder_gives_the_newest_of_the_best_kind_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "libnvinfer.so.8.5.3",
            "libnvinfer.so.10.3.0",
            "libnvinfer_plugin.so.10",
            "libnvinfer_builder_resource.so.10.3.0",
            "libnvinfer_lean.so.11",
            "libtensorrt_rtx.so.1",
            "libtensorrt_onnxparser_rtx.so.1",
            "libnvinfer.so.10.3.0.bak",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("libnvinfer.so.10.3.0", folder.path().join("libnvinfer.so"))
            .unwrap();
        let expected = [
            "libnvinfer.so.10.3.0",
            "libnvinfer.so.8.5.3",
            "libtensorrt_rtx.so.1",
            "libnvinfer_lean.so.11",
        ];
        assert_eq!(names(&in_folder(folder.path())), expected);
        assert_eq!(names(&candidates(Some(folder.path()))), expected);
    }

    #[test]
    fn pips_folders_of_the_environment_are_searched() {
        let root = tempfile::tempdir().unwrap();
        let package = root
            .path()
            .join("lib/python3.12/site-packages/tensorrt_rtx_libs");
        fs::create_dir_all(&package).unwrap();
        fs::write(package.join("libtensorrt_rtx.so.1"), "").unwrap();
        let environment =
            |name: &str| (name == "VIRTUAL_ENV").then(|| root.path().as_os_str().to_owned());
        let found = candidates_with(None, environment);
        assert_eq!(found[0], Path::new("libnvinfer.so.11"));
        assert!(
            found.contains(&package.join("libtensorrt_rtx.so.1")),
            "{found:?}"
        );
    }
}
