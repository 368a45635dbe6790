//! Which models are served beside those that `models` names, and whose files are loaded.

use minisign_verify::PublicKey;
use serde::{Deserialize, Serialize};

use super::{
    Settings,
    check::{SettingsError, wrong},
};

/// Settings, by their keys, that a running daemon reads again: each with all that is under it.
const READ_AGAIN: [&str; 9] = [
    "models",
    "models_dir",
    "default_model",
    "reload",
    "trust",
    "tls",
    "auth",
    "log.filter",
    "shared_memory.keys",
];

/// How a model is exchanged for another while it is served.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReloadMode {
    /// The new one is loaded beside the old one, which needs memory for both; no frame waits.
    #[default]
    Beside,
    /// The old one's lanes end first. Every session of it moves to the new one, and its frames wait meanwhile.
    Replace,
}

/// `[trust]`: whose model files are loaded.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustSettings {
    /// Public keys of minisign, as `minisign -G` prints them: "RW...". A signature beside a model, `NAME.engine.minisig`, must be
    /// by one of them.
    pub keys: Vec<String>,
    /// Refuse models without a signature. The bundled model needs none.
    pub require_signature: bool,
}

impl TrustSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let bad = |key: &&String| PublicKey::from_base64(key).is_err();
        if let Some(key) = self.keys.iter().find(bad) {
            return Err(wrong(
                "trust.keys",
                format!("{key:?}"),
                "must be a public key of minisign: the line that begins with RW in its .pub file",
            ));
        }
        match self.require_signature && self.keys.is_empty() {
            true => Err(wrong(
                "trust.require_signature",
                true,
                "needs trust.keys: whose signatures are good",
            )),
            false => Ok(()),
        }
    }
}

impl Settings {
    /// Keys whose values differ in `new` and that are read at the start only.
    pub fn needs_restart(&self, new: &Settings) -> Vec<String> {
        let (old, new) = (toml::Table::try_from(self), toml::Table::try_from(new));
        let mut keys = Vec::new();
        if let (Ok(old), Ok(new)) = (old, new) {
            differences("", &old, &new, &mut keys);
        }
        keys
    }
}

fn differences(prefix: &str, old: &toml::Table, new: &toml::Table, keys: &mut Vec<String>) {
    // One that is unset is in one of them only.
    let names = old
        .keys()
        .chain(new.keys().filter(|&key| !old.contains_key(key)));
    for name in names {
        let key = format!("{prefix}{name}");
        match (old.get(name), new.get(name)) {
            _ if READ_AGAIN.contains(&&*key) => {}
            (Some(toml::Value::Table(old)), Some(toml::Value::Table(new))) => {
                differences(&format!("{key}."), old, new, keys);
            }
            (old, new) if old != new => keys.push(key),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LimitSettings;

    #[test]
    fn what_is_read_at_the_start_only_is_named() {
        let old = Settings::default();
        let mut new = Settings {
            lanes: 3,
            models: vec!["a.onnx".into()],
            limits: LimitSettings {
                window: 7,
                ..LimitSettings::default()
            },
            ..Settings::default()
        };
        new.gpu.tensorrt = Some("/opt".into());
        new.log.filter = "debug".to_owned();
        let mut keys = old.needs_restart(&new);
        keys.sort();
        assert_eq!(keys, ["gpu.tensorrt", "lanes", "limits.window"]);
        assert!(old.needs_restart(&old).is_empty());
    }

    #[test]
    fn keys_that_are_none_are_refused_by_name() {
        let trust = |keys: &[&str], require_signature| TrustSettings {
            keys: keys.iter().map(|&key| key.to_owned()).collect(),
            require_signature,
        };
        let good = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        for (settings, words) in [
            (trust(&[], false), None),
            (trust(&[good], true), None),
            (trust(&[good, "RWQf6L"], false), Some("RWQf6L\"")),
            (trust(&[], true), Some("trust.keys")),
        ] {
            let said = settings.check().err().map(|error| error.to_string());
            match (&said, words) {
                (None, None) => {}
                (Some(said), Some(words)) => assert!(said.contains(words), "{said}"),
                _ => panic!("{settings:?}: {said:?}"),
            }
        }
    }
}
