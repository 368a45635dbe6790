//! `cellsegd engine rebuild`: after an upgrade of the driver, of TensorRT or of the machine.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{
    On,
    build::Build,
    folder::{self, Folder},
    inspect,
};
use crate::{cli::UsageError, config::Settings, model, model::Trust};

/// Build engines of the daemon's models again, as their manifests say, where this machine cannot run them any more
#[derive(Args, Debug)]
pub(super) struct Rebuild {
    /// Engine files in models_dir
    #[arg(value_name = "FILE.engine", required_unless_present = "all")]
    engines: Vec<PathBuf>,
    /// Every engine in models_dir
    #[arg(long, conflicts_with = "engines")]
    all: bool,
    /// Those too that this machine can run
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    on: On,
}

impl Rebuild {
    pub(super) fn run(self) -> Result<ExitCode> {
        let settings = self.on.daemon_settings()?;
        let folder = Folder::of(&settings)?;
        let engines = match self.all {
            true => engines_in(folder.path())?,
            false => self.engines.clone(),
        };
        let (mut built, mut n_failed) = (Vec::new(), 0);
        for engine in &engines {
            match self.rebuild(engine, &folder, &settings) {
                Ok(Some(engine)) => built.push(engine),
                Ok(None) => println!("{}: fits", engine.display()),
                // The others are worth having all the same.
                Err(error) => {
                    eprintln!("{}: {error:#}", engine.display());
                    n_failed += 1;
                }
            }
        }
        if engines.is_empty() {
            println!("no engine in {}", folder.path().display());
        }
        let reloaded = match built.is_empty() {
            true => ExitCode::SUCCESS,
            false => folder::serve(&built, &settings)?,
        };
        Ok(match n_failed {
            0 => reloaded,
            _ => ExitCode::FAILURE,
        })
    }

    /// Its path where it was built.
    fn rebuild(
        &self,
        engine: &Path,
        folder: &Folder,
        settings: &Settings,
    ) -> Result<Option<PathBuf>> {
        let file = model::load_engine_trusted(engine, &Trust::new(&settings.trust))?;
        let Err(why) = inspect::check(&file, &settings.gpu) else {
            if !self.force {
                return Ok(None);
            }
            return self.build(&file, folder, settings);
        };
        eprintln!("{}: {why:#}", engine.display());
        self.build(&file, folder, settings)
    }

    fn build(
        &self,
        file: &model::EngineFile,
        folder: &Folder,
        settings: &Settings,
    ) -> Result<Option<PathBuf>> {
        let Some(built) = file.built_for() else {
            bail!(
                "{} does not say what it was built from: build it by hand, {}",
                file.manifest_path().display(),
                file.rebuild()
            );
        };
        let build = Build::again(file, built, &self.on)
            .with_context(|| format!("build it by hand, {}", file.rebuild()))?;
        build.make(settings, Some(folder)).map(Some)
    }
}

/// In the order of their names.
fn engines_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut engines = model::in_folder(folder)?;
    engines.retain(|path| model::is_named_engine(path));
    match engines.iter().any(|path| !path.is_file()) {
        true => Err(UsageError(format!(
            "{}: an engine there is not a regular file",
            folder.display()
        ))
        .into()),
        false => Ok(engines),
    }
}
