//! The folder of the daemon's models, as `--install` and `rebuild` write to it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use tokio::runtime::Builder;

use super::output::{Owner, Unfinished, remove_signature, signature};
use crate::{
    cli::{
        UsageError,
        client::{Credentials, LOCAL_SOCKET, connect, reload},
        reload::tell,
    },
    config::{Listen, Settings},
};

/// `models_dir` of the settings.
pub(super) struct Folder {
    path: PathBuf,
    owner: Owner,
}

impl Folder {
    pub(super) fn of(settings: &Settings) -> Result<Self> {
        let path = settings.models_dir.clone().ok_or_else(|| {
            UsageError(
                "the settings have no models_dir: name the daemon's settings, --config FILE, and write models_dir = \"...\" there"
                    .to_owned(),
            )
        })?;
        let about = fs::metadata(&path)
            .with_context(|| format!("models_dir = {path:?}: cannot be read"))?;
        Ok(Folder {
            path,
            owner: Owner {
                uid: about.uid(),
                gid: about.gid(),
            },
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Of what is written here: whoever owns the folder.
    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Copies the ONNX file here, its manifest and its signature, for the CPU to run where the engine cannot be used. The one before goes only
    /// when the new one is whole.
    pub(super) fn copy(&self, onnx: &Path) -> Result<PathBuf> {
        let name = onnx.file_name().context("a model has a name")?;
        let copy = self.path.join(name);
        let is_here = |path: &Path| matches!((path.canonicalize(), onnx.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if is_here(&copy) {
            return Ok(copy);
        }
        for (from, to) in [
            (onnx.to_owned(), copy.clone()),
            (onnx.with_extension("toml"), copy.with_extension("toml")),
            (signature(onnx), signature(&copy)),
        ] {
            if from.is_file() {
                let bytes = fs::read(&from).with_context(|| from.display().to_string())?;
                let cannot = || format!("cannot write {}", to.display());
                let written =
                    Unfinished::new(&to, &bytes, Some(self.owner)).with_context(cannot)?;
                written.finish(&to).with_context(cannot)?;
            }
        }
        if !signature(onnx).is_file() {
            remove_signature(&copy)?;
        }
        Ok(copy)
    }
}

/// Lets the daemon take the `engines` that were written, unless somebody has to sign them first.
pub(super) fn serve(engines: &[PathBuf], settings: &Settings) -> Result<ExitCode> {
    if !settings.trust.require_signature {
        return reload_running(settings);
    }
    println!("trust.require_signature is set: no daemon takes it before somebody signs it,");
    for engine in engines {
        println!("  minisign -S -m {}", engine.display());
    }
    println!("then: cellsegd reload");
    Ok(ExitCode::SUCCESS)
}

/// Lets the daemon that runs on this machine take what was written.
fn reload_running(settings: &Settings) -> Result<ExitCode> {
    let own = settings.listen.iter().find_map(|listen| match listen {
        Listen::Unix(path) => Some(path.clone()),
        Listen::Tcp(_) | Listen::Tls(_) => None,
    });
    let socket = own.unwrap_or_else(|| PathBuf::from(LOCAL_SOCKET));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if tokio::net::UnixStream::connect(&socket).await.is_err() {
            println!(
                "no daemon answers at {}: it is served from the next start on",
                socket.display()
            );
            return Ok(ExitCode::SUCCESS);
        }
        let url = format!("unix://{}", socket.display())
            .parse()
            .map_err(anyhow::Error::msg)?;
        let connection = connect(&url, &Credentials::default()).await?;
        Ok(tell(&reload(connection).await?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_signature_of_what_was_copied_or_none() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let about = fs::metadata(to.path()).unwrap();
        let folder = Folder {
            path: to.path().to_owned(),
            owner: Owner {
                uid: about.uid(),
                gid: about.gid(),
            },
        };
        let onnx = from.path().join("cells.onnx");
        fs::write(&onnx, "model").unwrap();
        fs::write(signature(&onnx), "signed").unwrap();
        let copy = folder.copy(&onnx).unwrap();
        assert_eq!(fs::read_to_string(signature(&copy)).unwrap(), "signed");
        fs::remove_file(signature(&onnx)).unwrap();
        fs::write(&onnx, "another").unwrap();
        let copy = folder.copy(&onnx).unwrap();
        assert_eq!(fs::read_to_string(&copy).unwrap(), "another");
        assert!(!signature(&copy).exists(), "it is of the file before");
    }
}
