//! Files that make the next time quick: timings of a build, kernels that TensorRT-RTX compiled. Losing them costs time only.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Where they lie: the folder that systemd gives the service, else the user's.
pub(super) fn folder() -> Option<PathBuf> {
    folder_with(|name| env::var_os(name))
}

fn folder_with(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    // CACHE_DIRECTORY= may name several, with colons between.
    let service = set("CACHE_DIRECTORY").and_then(|folders| env::split_paths(&folders).next());
    service.or_else(|| {
        set("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .map(|folder| folder.join("cellsegd"))
    })
}

/// Where timings of builds are kept: those of one version on one kind of GPU are no use to others.
pub(crate) fn timing_cache(library: &str, device: &str) -> Option<PathBuf> {
    let name = format!("{library} {device}").to_lowercase();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(plain).collect();
    Some(folder()?.join(format!("{name}.timing")))
}

/// None: not there, or not to be read.
pub(super) fn read(name: &str) -> Option<Vec<u8>> {
    fs::read(folder()?.join(name)).ok()
}

/// Where it was written.
pub(super) fn write(name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = folder().ok_or_else(|| {
        io::Error::other("no folder for it: neither XDG_CACHE_HOME nor HOME is set")
    })?;
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    write_whole(&path, bytes)?;
    Ok(path)
}

/// A reader sees the old file or the new one, never half of it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let written = fs::File::create(&beside)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_folder_goes_before_the_users() {
        let all = |name: &str| match name {
            "CACHE_DIRECTORY" => Some("/var/cache/cellsegd:/other".into()),
            "XDG_CACHE_HOME" => Some("/cache".into()),
            "HOME" => Some("/home/me".into()),
            _ => None,
        };
        for (hidden, folder) in [
            (&[][..], Some("/var/cache/cellsegd")),
            (&["CACHE_DIRECTORY"], Some("/cache/cellsegd")),
            (
                &["CACHE_DIRECTORY", "XDG_CACHE_HOME"],
                Some("/home/me/.cache/cellsegd"),
            ),
            (&["CACHE_DIRECTORY", "XDG_CACHE_HOME", "HOME"], None),
        ] {
            let some = |name: &str| all(name).filter(|_| !hidden.contains(&name));
            assert_eq!(folder_with(some).as_deref(), folder.map(Path::new));
        }
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write_whole(&path, b"old").unwrap();
        write_whole(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
