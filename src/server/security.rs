//! What `[tls]` and `[auth]` name, read and checked: exchanged as a whole, or not at all.

use std::sync::Arc;

use rustls::ServerConfig;

use super::{auth::Rules, tls};
use crate::config::{AuthSettings, KeyFile, Settings, SettingsError};

/// Certificates, tokens and roles in force.
pub struct Security {
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) rules: Rules,
}

impl Security {
    /// Reads every file that the settings name. `Err`: which is wrong, and what would be right.
    pub fn load(settings: &Settings) -> Result<Self, SettingsError> {
        let keys = match &settings.auth.tokens {
            Some(path) => KeyFile::load(path)?,
            None => KeyFile::default(),
        };
        Ok(Security {
            tls: tls::load(&settings.tls)?,
            rules: Rules::new(&settings.auth, keys)?,
        })
    }

    /// Roles by where a caller comes from alone, until the files are read: nobody is an admin by name.
    pub(super) fn without_files(settings: &AuthSettings) -> Self {
        Security {
            tls: None,
            rules: Rules::without_files(settings),
        }
    }
}
