//! Opens TensorRT's library, and says which it is.

use std::{
    ffi::{CStr, OsStr, c_void},
    fmt, fs,
    mem::ManuallyDrop,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    TrtError,
    abi::{Abi, Tables},
    logger::Logger,
    places,
};

/// An open library. Everything made with it keeps it; it stays loaded until the process ends, for TensorRT has threads.
pub(crate) struct Library {
    path: PathBuf,
    version: Version,
    flavour: Flavour,
    tables: Tables,
    logger: &'static Logger,
    entries: Entries,
}

/// Exported functions.
pub(super) struct Entries {
    /// The version as the library counts it; it wants it back.
    pub number: i32,
    pub create_runtime: Create,
    /// None: the library has no builder.
    pub create_builder: Option<Create>,
}

/// `createInferRuntime_INTERNAL`, `createInferBuilder_INTERNAL`: (logger, version).
pub(super) type Create = unsafe extern "C" fn(*mut c_void, i32) -> *mut c_void;

/// Of a TensorRT library or of the one that built an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
    pub build: u32,
}

/// Which of NVIDIA's libraries it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Builds and runs engines.
    Full,
    /// TensorRT-RTX: compiles on the device at first load.
    Rtx,
    /// Runs version-compatible engines only; no builder.
    Lean,
    /// Loads a lean runtime of the engine's version; no builder.
    Dispatch,
}

/// A library that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its file.
    pub path: PathBuf,
    /// What it is, or why it cannot be used.
    pub what: Result<(Flavour, Version), String>,
}

/// How well a library suits an engine, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Other,
    /// It may run version-compatible engines.
    Major,
    Exact,
}

/// Libraries that this process has opened: each once, for each has its logger for good.
static OPENED: Mutex<Vec<Arc<Library>>> = Mutex::new(Vec::new());

/// Every TensorRT library in `path`, else in the usual places.
pub(crate) fn survey(path: Option<&Path>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for candidate in places::candidates(path) {
        let (path, what) = match open_one(&candidate) {
            Ok(library) => (library.path.clone(), Ok((library.flavour, library.version))),
            Err(NotOpened::Absent) => continue,
            Err(NotOpened::Unusable(path, why)) => (path, Err(why)),
        };
        if found.iter().all(|other| other.path != path) {
            found.push(Found { path, what });
        }
    }
    found
}

impl Library {
    /// Opens `path` (a file, or a folder that holds it), else what lies in the usual places under the usual names. Of several
    /// libraries the one with which an engine was built, where it is known, else one of its major version, else the first:
    /// `wanted` is "TensorRT 10.3.0".
    pub(crate) fn open_for(
        path: Option<&Path>,
        wanted: Option<&str>,
    ) -> Result<Arc<Library>, TrtError> {
        let mut usable: Option<(Fit, Arc<Library>)> = None;
        let mut faults = Vec::new();
        for candidate in places::candidates(path) {
            match open_one(&candidate) {
                Ok(library) => {
                    let fit = wanted.map_or(Fit::Exact, |wanted| Fit::of(&library.name(), wanted));
                    if fit == Fit::Exact {
                        return Ok(library);
                    }
                    if usable.as_ref().is_none_or(|(best, _)| *best < fit) {
                        usable = Some((fit, library));
                    }
                }
                Err(NotOpened::Absent) => (),
                Err(NotOpened::Unusable(path, why)) => {
                    let path = path.display().to_string();
                    // The loader's own words begin with the file's name.
                    let fault = match why.starts_with(&*path) {
                        true => why,
                        false => format!("{path}: {why}"),
                    };
                    if !faults.contains(&fault) {
                        faults.push(fault);
                    }
                }
            }
        }
        usable.map(|(_, library)| library).ok_or_else(|| {
            TrtError::Library(match (&faults[..], path) {
                ([], Some(path)) => format!(
                    "no TensorRT in {}: expected libnvinfer.so.8, .10 or .11, or libtensorrt_rtx.so.1, or a folder that \
                     holds one",
                    path.display()
                ),
                ([], None) => format!(
                    "no TensorRT found: neither the system's loader nor {} has libnvinfer.so.11, .10 or .8 or \
                     libtensorrt_rtx.so.1; install TensorRT, or name it in the settings: gpu.tensorrt = \"/path\"",
                    places::described()
                ),
                (faults, _) => format!("no TensorRT that can be used: {}", faults.join("; ")),
            })
        })
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn flavour(&self) -> Flavour {
        self.flavour
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// "TensorRT 10.3.0": as manifests of engines say it.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.flavour, self.version)
    }

    /// Whether types come from the ONNX file alone.
    pub(crate) fn strongly_typed(&self) -> bool {
        self.tables.abi.flags.strongly_typed
    }

    pub(super) fn tables(&self) -> Tables {
        self.tables
    }

    pub(super) fn entries(&self) -> &Entries {
        &self.entries
    }

    pub(super) fn logger(&self) -> &'static Logger {
        self.logger
    }

    /// The error of a call that was begun when the logger stood at `mark`.
    pub(super) fn failed(&self, what: &str, mark: u64) -> TrtError {
        TrtError::Call {
            what: format!("{} {}: {what}", self.flavour, self.version),
            said: self.logger.since(mark),
        }
    }

    /// A library of functions that a test has written.
    #[cfg(test)]
    pub(super) fn of_test(flavour: Flavour, version: Version, entries: Entries) -> Arc<Library> {
        let abi = Abi::of(flavour, version).expect("a known version");
        Arc::new(Library {
            path: PathBuf::from("of a test"),
            version,
            flavour,
            tables: Tables { abi, version },
            logger: Logger::leak(abi.logger),
            entries,
        })
    }
}

impl Fit {
    /// Of names like "TensorRT 10.3.0"; manifests may say the build too, "10.3.0.26".
    fn of(name: &str, wanted: &str) -> Fit {
        let parts = |name: &str| {
            let (flavour, version) = name.rsplit_once(' ')?;
            let numbers: Vec<String> = version.split('.').map(str::to_owned).collect();
            Some((flavour.to_owned(), numbers))
        };
        let (Some((here, version)), Some((built_by, built))) = (parts(name), parts(wanted)) else {
            return Fit::Other;
        };
        match () {
            () if here != built_by || version[0] != built[0] => Fit::Other,
            () if version[..] == built[..built.len().min(version.len())] => Fit::Exact,
            () => Fit::Major,
        }
    }
}

enum NotOpened {
    Absent,
    Unusable(PathBuf, String),
}

fn open_one(name: &Path) -> Result<Arc<Library>, NotOpened> {
    let bare = name.components().count() == 1;
    let unusable = |why: String| NotOpened::Unusable(name.to_owned(), why);
    // SAFETY: TensorRT's initialisers ask nothing of us. A file of that name which is something else was put there by somebody
    // who can run code here anyway.
    let library = match unsafe { libloading::Library::new(name) } {
        // Never unloaded, whatever is wrong with it: some have started threads by now.
        Ok(library) => ManuallyDrop::new(library),
        Err(error) => {
            let text = cause(&error);
            // The loader names the file it cannot find; another name is that of something it needs.
            let absent = bare && text.starts_with(&*name.to_string_lossy());
            return Err(match absent {
                true => NotOpened::Absent,
                false => unusable(text),
            });
        }
    };
    // SAFETY: `int32_t getInferLibVersion()` in every version.
    let version = unsafe { library.get::<unsafe extern "C" fn() -> i32>(b"getInferLibVersion\0") };
    let Ok(version) = version else {
        return Err(unusable("it has no symbol getInferLibVersion".to_owned()));
    };
    let path = match bare {
        true => mapped_at((*version as *const c_void).addr()).unwrap_or_else(|| name.to_owned()),
        false => fs::canonicalize(name).unwrap_or_else(|_| name.to_owned()),
    };
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = opened.iter().find(|other| other.path == path) {
        return Ok(known.clone());
    }
    // SAFETY: As above.
    let number = unsafe { version() };
    let file_name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let unusable = |why: String| NotOpened::Unusable(path.clone(), why);
    let version = Version::of_number(number).ok_or_else(|| {
        unusable(format!(
            "its version is {number}, which is none of TensorRT's"
        ))
    })?;
    let flavour = Flavour::of(version, &file_name);
    if let Flavour::Lean | Flavour::Dispatch = flavour {
        return Err(unusable(format!(
            "{flavour} {version}: it runs engines built with --version-compatible only, has no builder, and cellsegd does not \
             use it; install the full TensorRT"
        )));
    }
    let abi = Abi::of(flavour, version).map_err(|error| unusable(error.to_string()))?;
    let missing = |symbol: &CStr| {
        unusable(format!(
            "{flavour} {version}: it has no symbol {}",
            symbol.to_string_lossy()
        ))
    };
    let create = |symbol: &CStr| {
        // SAFETY: Every version declares these two as `void* (void* logger, int32_t version)`.
        unsafe { library.get::<Create>(symbol.to_bytes_with_nul()) }
            .map(|function| *function)
            .ok()
    };
    const RUNTIME: &CStr = c"createInferRuntime_INTERNAL";
    let entries = Entries {
        number,
        create_runtime: create(RUNTIME).ok_or_else(|| missing(RUNTIME))?,
        create_builder: create(c"createInferBuilder_INTERNAL"),
    };
    let library = Arc::new(Library {
        path,
        version,
        flavour,
        tables: Tables { abi, version },
        logger: Logger::leak(abi.logger),
        entries,
    });
    opened.push(library.clone());
    Ok(library)
}

/// What the loader itself said.
pub(super) fn cause(error: &libloading::Error) -> String {
    use std::error::Error;
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// The file whose code lies at `address`.
fn mapped_at(address: usize) -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (low, high) = range.split_once('-')?;
        let low = usize::from_str_radix(low, 16).ok()?;
        let high = usize::from_str_radix(high, 16).ok()?;
        let path = rest.find('/').map(|at| &rest[at..])?;
        (low <= address && address < high).then(|| PathBuf::from(OsStr::new(path)))
    })
}

impl Version {
    /// As `getInferLibVersion` counts: 8503 is 8.5.3, 101302 is 10.13.2, 10701 (RTX) is 1.7.1.
    fn of_number(number: i32) -> Option<Version> {
        let number = u32::try_from(number).ok().filter(|&n| n >= 1000)?;
        let (major, rest, unit) = match number < 10_000 {
            true => (number / 1000, number % 1000, 100),
            false => (number / 10_000, number % 10_000, 100),
        };
        Some(Version {
            major,
            minor: rest / unit,
            patch: rest % unit,
            build: 0,
        })
    }
}

impl Flavour {
    fn of(version: Version, file_name: &str) -> Flavour {
        // TensorRT itself is past version 1 since 2017.
        match version.major == 1 {
            true => Flavour::Rtx,
            false if file_name.contains("_lean") => Flavour::Lean,
            false if file_name.contains("_dispatch") => Flavour::Dispatch,
            false => Flavour::Full,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::Full => "TensorRT",
            Flavour::Rtx => "TensorRT-RTX",
            Flavour::Lean => "TensorRT lean runtime",
            Flavour::Dispatch => "TensorRT dispatch runtime",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_numbers_are_read_as_each_library_counts() {
        for (number, text) in [
            (8503, "8.5.3"),
            (8601, "8.6.1"),
            (100_300, "10.3.0"),
            (101_302, "10.13.2"),
            (110_400, "11.4.0"),
            (10_701, "1.7.1"),
            (10_400, "1.4.0"),
        ] {
            assert_eq!(Version::of_number(number).unwrap().to_string(), text);
        }
        assert_eq!(Version::of_number(0), None);
        assert_eq!(Version::of_number(-1), None);
    }

    #[test]
    fn the_library_that_built_an_engine_suits_it_best() {
        for (name, wanted, fit) in [
            ("TensorRT 10.3.0", "TensorRT 10.3.0", Fit::Exact),
            ("TensorRT 10.3.0", "TensorRT 10.3.0.26", Fit::Exact),
            ("TensorRT 10.9.0", "TensorRT 10.3.0", Fit::Major),
            ("TensorRT 10.3.0", "TensorRT 10", Fit::Major),
            ("TensorRT 11.4.0", "TensorRT 10.3.0", Fit::Other),
            ("TensorRT-RTX 1.3.0", "TensorRT 1.3.0", Fit::Other),
            ("TensorRT 10.3.0", "", Fit::Other),
        ] {
            assert_eq!(Fit::of(name, wanted), fit, "{name}, {wanted:?}");
        }
        assert!(Fit::Other < Fit::Major && Fit::Major < Fit::Exact);
    }

    #[test]
    fn what_is_no_tensorrt_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| match Library::open_for(Some(path), None) {
            Ok(_) => panic!("{} was opened", path.display()),
            Err(error) => error.to_string(),
        };
        let empty = message(folder.path());
        assert!(empty.starts_with("no TensorRT in /"), "{empty}");
        let text = folder.path().join("libnvinfer.so.10");
        fs::write(&text, "a text").unwrap();
        for path in [folder.path(), &text] {
            let message = message(path);
            assert!(message.contains("libnvinfer.so.10: "), "{message}");
            assert!(
                message.contains("file too short") || message.contains("invalid ELF"),
                "{message}"
            );
        }
        let absent = message(Path::new("/nowhere/libnvinfer.so.10"));
        assert_eq!(
            absent.matches("/nowhere/libnvinfer.so.10").count(),
            1,
            "{absent}"
        );
    }
}
