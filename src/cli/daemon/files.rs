//! The models of a settings file, for a daemon that runs.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use super::load;
use crate::{
    config::{Overrides, Settings},
    server::{Found, Loader, Outlook},
};

/// Reads the settings and the files that they name again, when somebody asks for a reload.
pub(in crate::cli) struct Files {
    config: Option<PathBuf>,
    overrides: Overrides,
    settings: Settings,
    /// What each file's model was called when its manifest could be read last.
    names: Mutex<BTreeMap<PathBuf, String>>,
}

impl Files {
    /// As at the start: `settings` are what `config` and `overrides` said then.
    pub(in crate::cli) fn new(
        config: Option<PathBuf>,
        overrides: Overrides,
        settings: Settings,
    ) -> Self {
        let files = Files {
            config,
            overrides,
            settings,
            names: Mutex::default(),
        };
        // Were they unreadable now, the first reload would say so.
        if let Ok(named) = load::named(&files.settings) {
            files.remember(&named);
        }
        files
    }

    fn remember(&self, named: &[load::Named]) {
        let pairs = named
            .iter()
            .filter_map(|named| Some((named.path.clone()?, named.name.clone())));
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = pairs.collect();
    }

    fn known(&self) -> BTreeMap<PathBuf, String> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.clone()
    }
}

impl Loader for Files {
    fn settings(&self) -> Result<Settings, String> {
        Settings::load(self.config.as_deref(), &self.overrides)
            .map_err(|error| in_words(error.into()))
    }

    fn look(&self, read: &Settings) -> Result<Outlook, String> {
        // What runs the models is as it was: the rest of the daemon counts on it.
        let settings = Settings {
            models: read.models.clone(),
            models_dir: read.models_dir.clone(),
            default_model: read.default_model.clone(),
            reload: read.reload,
            trust: read.trust.clone(),
            ..self.settings.clone()
        };
        // A manifest that broke says nothing of the name, and the model that is served under it must stay.
        let models = load::named_as(&settings, &self.known()).map_err(in_words)?;
        self.remember(&models);
        let models = models.into_iter().map(|named| Found {
            name: named.name.clone(),
            identity: load::identity(&named, &settings).map_err(in_words),
            load: {
                let settings = settings.clone();
                Box::new(move || load::pool(&named, &settings).map_err(in_words))
            },
        });
        Ok(Outlook {
            models: models.collect(),
            needs_restart: self.settings.needs_restart(read),
        })
    }
}

/// With its causes.
fn in_words(error: anyhow::Error) -> String {
    format!("{error:#}")
}
