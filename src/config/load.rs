//! Defaults < file < environment < flags, by the `config` crate.

use std::path::{Path, PathBuf};

use config::{Config, ConfigError, Environment, File, FileFormat, Map};

use super::{EngineKind, Listen, Settings, SettingsError};

const PREFIX: &str = "CELLSEGD_";

/// Names under our prefix that are not settings: the demo's frames, our tests' switches, and what Kubernetes puts into every
/// container beside a service called cellsegd.
const NOT_SETTINGS: [&str; 6] = ["DEMO", "FAKE_", "REQUIRE_", "SERVICE_", "TEST_", "PORT"];

/// What the command line says. Unset leaves it to the environment, the file and the defaults.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Replaces `listen`, if not empty.
    pub listen: Vec<Listen>,
    /// Replaces `models`, if not empty.
    pub models: Vec<PathBuf>,
    /// `lanes`.
    pub lanes: Option<usize>,
    /// `engine.threads`.
    pub threads: Option<usize>,
    /// `engine.kind`.
    pub engine: Option<EngineKind>,
    /// Log warnings only, unless the file or the environment says otherwise: for commands that print their own progress.
    pub quiet: bool,
}

impl Settings {
    /// Settings of this process: defaults < `file` < `CELLSEGD_...` < `overrides`, checked.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Settings, SettingsError> {
        Settings::from_sources(file, std::env::vars_os().filter_map(utf8), overrides)
    }

    fn from_sources(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        overrides: &Overrides,
    ) -> Result<Settings, SettingsError> {
        let settings: Settings = merge(file, environment, overrides)
            .and_then(Config::try_deserialize)
            .map_err(Box::new)?;
        settings.check()?;
        Ok(settings)
    }
}

fn merge(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    let mut builder = Config::builder();
    if overrides.quiet {
        builder = builder.set_default("log.filter", "warn")?;
    }
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    builder = builder.add_source(
        Environment::with_prefix(PREFIX.trim_end_matches('_'))
            .prefix_separator("_")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("listen")
            .with_list_parse_key("http")
            .with_list_parse_key("models")
            .with_list_parse_key("auth.admins")
            .with_list_parse_key("trust.keys")
            .with_list_parse_key("shared_memory.keys")
            .source(Some(environment.filter(is_setting).collect::<Map<_, _>>())),
    );
    let Overrides {
        listen,
        models,
        lanes,
        threads,
        engine,
        quiet: _,
    } = overrides;
    let models = models.iter().map(|path| path.display());
    builder
        .set_override_option("listen", list(listen))?
        .set_override_option("models", list(models))?
        .set_override_option("lanes", lanes.map(|n| n as u64))?
        .set_override_option("engine.threads", threads.map(|n| n as u64))?
        .set_override_option("engine.kind", engine.map(String::from))?
        .build()
}

fn is_setting((name, _): &(String, String)) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|key| !NOT_SETTINGS.iter().any(|other| key.starts_with(other)))
}

fn list(values: impl IntoIterator<Item = impl ToString>) -> Option<Vec<String>> {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    (!values.is_empty()).then_some(values)
}

fn utf8((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

#[cfg(test)]
mod tests;
