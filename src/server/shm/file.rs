//! Which memory of other programs is taken: what it is called, what it is, and whether its caller might read it anyway.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat, fcntl_getfl, fstat, fstatfs, open},
    io::Errno,
};

use super::RegionError;

/// Where POSIX shared memory has its names on Linux.
const FOLDER: &str = "/dev/shm";

/// Most bytes of a name in there.
const MAX_NAME: usize = 255;

/// What `fstatfs` says of tmpfs, of which memfd is too. Of other file systems a page may come from another machine or another
/// program, and a lane would wait for it.
const TMPFS: u64 = 0x0102_1994;

/// Who asks, as far as a file's rights are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A user, and the group of the process that asked.
    User {
        /// Of the process.
        uid: u32,
        /// Of the process.
        gid: Option<u32>,
    },
    /// Some user of this machine.
    Anybody,
}

/// Memory that may be mapped.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) file: OwnedFd,
    /// Bytes, by now.
    pub(super) size: u64,
    /// The daemon can write there, and its caller could, as far as the descriptor tells: seals may forbid it.
    pub(super) writable: bool,
}

/// Whether one of the patterns allows the key; `*` stands for any characters.
pub(super) fn is_allowed(patterns: &[String], key: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, key))
}

fn matches(pattern: &str, key: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == key;
    };
    let Some(mut key) = key.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    // What follows the last star ends the key; each part before it is taken where it comes first.
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match key.find(part) {
            Some(at) => key = &key[at + part.len()..],
            None => return false,
        }
    }
    key.ends_with(last)
}

/// The key as shm_open takes it, `/NAME`. Errors: what it cannot be.
pub(super) fn checked_key(key: &str) -> Result<String, RegionError> {
    let name = key.strip_prefix('/').unwrap_or(key);
    let wrong = |why: &str| {
        let shown: String = key.chars().take(MAX_NAME).collect();
        Err(RegionError::Invalid(format!(
            "key {shown:?}: {why}; it is a name in {FOLDER} as shm_open takes it, as \"/cellsegd-scope1\""
        )))
    };
    match name {
        "" => wrong("it is empty"),
        "." | ".." => wrong("it names a folder"),
        _ if name.contains('/') => wrong("it must have no slash but the first"),
        _ if name.contains('\0') => wrong("it must have no NUL"),
        _ if name.len() > MAX_NAME => wrong("it must have at most 255 bytes"),
        _ => Ok(format!("/{name}")),
    }
}

/// Opens what a checked key names. Errors: it is not there, it is not memory, or the asker may not read it.
pub(super) fn open_key(key: &str, asker: Asker) -> Result<Memory, RegionError> {
    let path = Path::new(FOLDER).join(key.trim_start_matches('/'));
    // A pipe or a device must not hold us up, nor become ours.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let (file, could_write) = match open(&path, OFlags::RDWR | flags, Mode::empty()) {
        Ok(file) => (file, true),
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::ISDIR) => {
            let file = open(&path, OFlags::RDONLY | flags, Mode::empty());
            (file.map_err(|error| unopened(key, error))?, false)
        }
        Err(error) => return Err(unopened(key, error)),
    };
    let (stat, size) = looked_at(&file, key)?;
    if !may(&stat, asker, READ) {
        let whom = match asker {
            Asker::User { uid, .. } => format!("uid {uid} may not read it"),
            Asker::Anybody => {
                "a caller over TCP is any user of this machine, and others may not read it: give it the rights 0644, or use a unix \
                 socket"
                    .to_owned()
            }
        };
        return Err(RegionError::Denied(format!("key {key:?}: {whom}")));
    }
    Ok(Memory {
        writable: could_write && may(&stat, asker, WRITE),
        file,
        size,
    })
}

/// Memory that its owner has handed over. Errors: it is not memory, or it cannot be read.
pub(super) fn passed(file: OwnedFd) -> Result<Memory, RegionError> {
    let (_, size) = looked_at(&file, "the descriptor")?;
    let flags = fcntl_getfl(&file).map_err(|error| {
        RegionError::Invalid(format!("the descriptor: {}", io::Error::from(error)))
    })?;
    match flags & OFlags::ACCMODE {
        OFlags::WRONLY => Err(RegionError::Invalid(
            "the descriptor is for writing only: it must be one that can be read".to_owned(),
        )),
        mode => Ok(Memory {
            // What is written to one that appends goes to its end, wherever it was meant to go.
            writable: mode == OFlags::RDWR && !flags.contains(OFlags::APPEND),
            file,
            size,
        }),
    }
}

/// What it is, and its bytes. Errors: it is not memory.
fn looked_at(file: impl AsFd, what: &str) -> Result<(Stat, u64), RegionError> {
    let odd = |error: Errno| RegionError::Invalid(format!("{what}: {}", io::Error::from(error)));
    let stat = fstat(&file).map_err(odd)?;
    let filesystem = fstatfs(&file).map_err(odd)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    match is_file && filesystem.f_type as u64 == TMPFS {
        true => Ok((stat, stat.st_size as u64)),
        false => Err(RegionError::Invalid(format!(
            "{what}: it is not shared memory, as shm_open or memfd_create without huge pages makes it"
        ))),
    }
}

fn unopened(key: &str, error: Errno) -> RegionError {
    match error {
        Errno::NOENT => RegionError::NotFound(format!(
            "key {key:?}: there is no such shared memory; create it first"
        )),
        Errno::LOOP => RegionError::Invalid(format!(
            "key {key:?}: it is a symbolic link, which is not followed"
        )),
        Errno::ACCESS | Errno::PERM => RegionError::Denied(format!(
            "key {key:?}: the daemon may not read it; give it the rights 0644, or 0640 and the group cellsegd, or pass it over \
             the memory socket"
        )),
        error => RegionError::Invalid(format!("key {key:?}: {}", io::Error::from(error))),
    }
}

const READ: u32 = 4;
const WRITE: u32 = 2;

/// Whether the asker has this right by the file's mode, as the kernel would say: by the first of owner, group and others that it
/// is. The daemon may have more rights than who asks it.
fn may(stat: &Stat, asker: Asker, right: u32) -> bool {
    let shift = match asker {
        Asker::User { uid: 0, .. } => return true,
        Asker::User { uid, .. } if uid == stat.st_uid => 6,
        Asker::User { gid, .. } if gid == Some(stat.st_gid) => 3,
        Asker::User { .. } | Asker::Anybody => 0,
    };
    (stat.st_mode >> shift) & right != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, key, fits) in [
            ("/cellsegd-*", "/cellsegd-scope1", true),
            ("/cellsegd-*", "/cellsegd-", true),
            ("/cellsegd-*", "/cellsegd", false),
            ("/cellsegd-*", "/other", false),
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/*", "/x", true),
            ("/a*b*c", "/a1b2c", true),
            ("/a*b*c", "/abc", true),
            ("/a*b*c", "/acb", false),
            ("/a*b", "/ab", true),
            ("/a*a", "/a", false),
            ("/*-x-*", "/1-x-2", true),
        ] {
            assert_eq!(matches(pattern, key), fits, "{pattern} {key}");
        }
    }

    #[test]
    fn a_key_that_leads_elsewhere_is_refused() {
        let long = format!("/{}", "a".repeat(300));
        for key in [
            "",
            "/",
            "/..",
            ".",
            "//x",
            "/../x",
            "a/b",
            "/a/b",
            "/a\0b",
            "/dev/shm/x",
            &long,
        ] {
            let error = checked_key(key).expect_err(key);
            assert!(matches!(error, RegionError::Invalid(_)), "{key}: {error}");
        }
        for key in ["/cellsegd-a", "cellsegd-a"] {
            assert_eq!(checked_key(key).unwrap(), "/cellsegd-a");
        }
    }

    #[test]
    fn rights_are_those_of_the_asker_and_not_the_daemons() {
        let file = tempfile::tempfile().unwrap();
        let mut stat = fstat(&file).unwrap();
        (stat.st_uid, stat.st_gid) = (1000, 50);
        let user = |uid, gid| Asker::User {
            uid,
            gid: Some(gid),
        };
        for (mode, asker, reads, writes) in [
            (0o600, user(1000, 9), true, true),
            (0o600, user(0, 0), true, true),
            (0o600, user(1001, 50), false, false),
            (0o600, Asker::Anybody, false, false),
            (0o640, user(1001, 50), true, false),
            (0o640, user(1001, 51), false, false),
            (0o644, Asker::Anybody, true, false),
            (0o666, Asker::Anybody, true, true),
            // The first that it is counts.
            (0o066, user(1000, 9), false, false),
            (0o606, user(1001, 50), false, false),
        ] {
            stat.st_mode = 0o100_000 | mode;
            let got = (may(&stat, asker, READ), may(&stat, asker, WRITE));
            assert_eq!(got, (reads, writes), "{mode:o} {asker:?}");
        }
    }

    #[test]
    fn what_is_not_memory_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = passed(file.into()).unwrap_err().to_string();
        assert!(error.contains("not shared memory"), "{error}");
        let folder = std::fs::File::open("/").unwrap();
        assert!(passed(folder.into()).is_err());
    }
}
