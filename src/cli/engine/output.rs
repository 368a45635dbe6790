//! Where an engine and its manifest go. Told before the build, which takes minutes; written together after it.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result};

use crate::{
    cli::UsageError,
    model::{self, FileKind},
};

/// Two files that may be written: nothing is lost but an older engine and its manifest.
pub(super) struct Output {
    engine: PathBuf,
    manifest: PathBuf,
    owner: Option<Owner>,
}

/// Whose a file becomes, readable by all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Output {
    /// `onnx`: what the engine is built from; None: the bundled model. `owner`: None for whoever runs this.
    pub(super) fn new(engine: PathBuf, onnx: Option<&Path>, owner: Option<Owner>) -> Result<Self> {
        let output = Output {
            manifest: beside(&engine, "toml"),
            engine,
            owner,
        };
        output.check(onnx)?;
        for path in [&output.engine, &output.manifest] {
            let written = Unfinished::new(path, b"", owner);
            written.with_context(|| match owner {
                None => format!("cannot write {}", path.display()),
                Some(Owner { uid, gid }) => format!(
                    "cannot write {} as a file of its folder's owner ({uid}:{gid}): run this as that user, or as root",
                    path.display()
                ),
            })?;
        }
        Ok(output)
    }

    pub(super) fn engine(&self) -> &Path {
        &self.engine
    }

    pub(super) fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// Neither file changes before both are on the disk.
    pub(super) fn write(&self, engine: &[u8], manifest: &str) -> Result<()> {
        let cannot = |path: &Path| format!("cannot write {}", path.display());
        let new_engine = Unfinished::new(&self.engine, engine, self.owner)
            .with_context(|| cannot(&self.engine))?;
        let new_manifest = Unfinished::new(&self.manifest, manifest.as_bytes(), self.owner)
            .with_context(|| cannot(&self.manifest))?;
        new_engine
            .finish(&self.engine)
            .with_context(|| cannot(&self.engine))?;
        new_manifest
            .finish(&self.manifest)
            .with_context(|| cannot(&self.manifest))?;
        // It is of the engine before, and a wrong signature is worse than none.
        remove_signature(&self.engine)
    }

    fn check(&self, onnx: Option<&Path>) -> Result<()> {
        let refused = |what: String| Err(UsageError(what).into());
        let (engine, manifest) = (self.engine.display(), self.manifest.display());
        if onnx.is_some_and(|onnx| is_same(onnx, &self.engine)) {
            return refused(format!(
                "{engine} would be overwritten by its engine: use -o"
            ));
        }
        if onnx.is_some_and(|onnx| is_same(&onnx.with_extension("toml"), &self.manifest)) {
            return refused(format!(
                "{manifest}, the ONNX file's manifest, would be overwritten by that of the engine: use -o NAME.engine"
            ));
        }
        for path in [&self.engine, &self.manifest] {
            if fs::metadata(path).is_ok_and(|about| !about.is_file()) {
                return refused(format!(
                    "{} is there and not a regular file: use -o",
                    path.display()
                ));
            }
        }
        // An empty one may have been made to have the name.
        let is_there = fs::metadata(&self.engine).is_ok_and(|about| about.len() > 0);
        if is_there && model::file_kind(&self.engine)? != FileKind::Engine {
            return refused(format!(
                "{engine} is there and no engine: it would be overwritten; use -o"
            ));
        }
        Ok(())
    }
}

/// A file under a name of its own until it is whole: a daemon that starts meanwhile sees the old one or the new one.
pub(super) struct Unfinished(PathBuf);

impl Unfinished {
    pub(super) fn new(path: &Path, bytes: &[u8], owner: Option<Owner>) -> io::Result<Self> {
        let unfinished = Unfinished(beside(path, &format!("{}.tmp", process::id())));
        // What an earlier process of that number left.
        let _ = fs::remove_file(&unfinished.0);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&unfinished.0)?;
        file.write_all(bytes)?;
        if let Some(owner) = owner {
            file.set_permissions(Permissions::from_mode(0o644))?;
            let about = file.metadata()?;
            // Only root may give a file away, and nobody has to who owns it already.
            if (about.uid(), about.gid()) != (owner.uid, owner.gid) {
                fchown(&file, Some(owner.uid), Some(owner.gid))?;
            }
        }
        file.sync_all()?;
        Ok(unfinished)
    }

    pub(super) fn finish(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone where it was renamed.
        let _ = fs::remove_file(&self.0);
    }
}

/// `cells.engine.minisig` for `cells.engine`.
pub(super) fn signature(path: &Path) -> PathBuf {
    beside(path, "minisig")
}

/// Of the file that had the name before, where it had one.
pub(super) fn remove_signature(path: &Path) -> Result<()> {
    let signature = signature(path);
    match fs::remove_file(&signature) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).with_context(|| {
            format!(
                "cannot remove {}, which is of the file before",
                signature.display()
            )
        }),
        _ => Ok(()),
    }
}

/// `cells.engine.toml` for `cells.engine`.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// By whatever names, links among them; both are there.
fn is_same(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_but_an_older_engine_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let onnx = path("cells.onnx");
        let bytes = model::bundled().unwrap().bytes;
        fs::write(&onnx, &bytes).unwrap();
        fs::write(path("cells.toml"), "").unwrap();
        fs::write(path("other.engine"), &bytes).unwrap();
        fs::write(path("notes.txt"), "mine").unwrap();
        fs::write(path("old.engine"), [b"ftrt", &[7; 100][..]].concat()).unwrap();
        fs::write(path("empty"), "").unwrap();
        fs::create_dir(path("folder.engine")).unwrap();
        symlink(&onnx, path("link.engine")).unwrap();
        symlink("/dev/full", path("full.engine")).unwrap();
        let mut faults = Vec::new();
        for (name, words) in [
            ("new.engine", None),
            ("old.engine", None),
            ("empty", None),
            ("./cells.onnx", Some("would be overwritten by its engine")),
            ("link.engine", Some("would be overwritten by its engine")),
            ("cells", Some("the ONNX file's manifest")),
            ("other.engine", Some("no engine")),
            ("notes.txt", Some("no engine")),
            ("folder.engine", Some("not a regular file")),
            ("full.engine", Some("not a regular file")),
            ("absent/new.engine", Some("cannot write")),
        ] {
            let said = Output::new(path(name), Some(&onnx), None).err();
            let said = said.map(|error| format!("{error:#}"));
            let right = match (&said, words) {
                (None, None) => true,
                (Some(said), Some(words)) => said.contains(words),
                _ => false,
            };
            if !right {
                faults.push(format!("{name}: {said:?}"));
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");
        assert_eq!(fs::read(&onnx).unwrap(), &bytes[..]);
        let is_left = |name: &str| name.ends_with(".tmp") || name == "new.engine";
        let names = fs::read_dir(folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| is_left(name)).count(), 0);
    }
}
