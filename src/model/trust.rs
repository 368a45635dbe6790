//! Whose model files are loaded: minisign's signatures beside them.

use std::path::Path;

use minisign_verify::{PublicKey, Signature};

use super::{
    ModelError,
    file::{beside, read_text},
};
use crate::config::TrustSettings;

/// Keys whose signatures are good.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    keys: Vec<PublicKey>,
    required: bool,
}

impl Trust {
    /// Settings that were loaded hold good keys only: loading checks it.
    pub fn new(settings: &TrustSettings) -> Self {
        let keys = settings.keys.iter();
        Trust {
            keys: keys
                .filter_map(|key| PublicKey::from_base64(key).ok())
                .collect(),
            required: settings.require_signature,
        }
    }

    /// Whether `bytes`, which were read from `path`, may be looked at. Without keys a signature says nothing, and is not read.
    pub(super) fn check(&self, path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
        if self.keys.is_empty() && !self.required {
            return Ok(());
        }
        let signature = beside(path, "minisig");
        let refused = |what: String| {
            Err(ModelError::Signature {
                path: path.to_owned(),
                what,
            })
        };
        let text = read_text(&signature)?;
        if text.is_empty() {
            return match self.required {
                true => refused(format!(
                    "{} is missing, and trust.require_signature is set: sign it, minisign -S -m {}",
                    signature.display(),
                    path.display()
                )),
                false => Ok(()),
            };
        }
        let decoded = match Signature::decode(&text) {
            Ok(decoded) => decoded,
            Err(error) => {
                return refused(format!(
                    "{} is no signature of minisign ({error}): sign the model again",
                    signature.display()
                ));
            }
        };
        // Signatures of before 2016 hash nothing; minisign still makes them where it is asked to.
        let is_good = |key: &PublicKey| key.verify(bytes, &decoded, true).is_ok();
        match self.keys.iter().any(is_good) {
            true => Ok(()),
            false => refused(format!(
                "{} is not by one of trust.keys, or the file was changed after it was signed",
                signature.display()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::load_engine_trusted;

    const PLAN: &[u8] = b"ftrt, and then the rest of a plan";
    /// Made by minisign 0.11: `minisign -G -W`, `minisign -S -W -m cells.engine`.
    const KEY: &str = "RWQ0xyJsdb/rMLnuFwH9d1bXCPJLE8dzdn7YDAEX49vsKs/A3HlfNX2J";
    const OTHER_KEY: &str = "RWT4TgtQStsV86M5vm6C4n/NqQKlTosmyvIkzrtA/ULQTRv01ro7c+4s";
    const SIGNATURE: &str = "untrusted comment: test
RUQ0xyJsdb/rMEAJDND77kEmHBTehcMJd/ya2R+RSBvZfn0pLosGDGSUAcxvjWhtZ6kecnKx88I2NfrkQjegidwglhviZzOTDwI=
trusted comment: cells
XiMGUAYLnwOsleSj5iKEM5sW3s7tJFy0nPx0VcoJJJw4WrMWy/mOkeJU9CtrkG1NUzqGIBjMAoBllYynj9jYBQ==
";

    #[test]
    fn an_engine_is_loaded_only_if_its_signature_is_by_a_key_of_the_settings() {
        let longer = [PLAN, b"!"].concat();
        let retold = SIGNATURE.replace("trusted comment: cells", "trusted comment: other");
        let mut faults = Vec::new();
        for (keys, required, plan, signature, words) in [
            (&[][..], false, PLAN, "nonsense", None),
            (&[KEY], false, PLAN, "", None),
            (&[KEY], true, PLAN, "", Some("is missing")),
            (&[OTHER_KEY, KEY], true, PLAN, SIGNATURE, None),
            (&[OTHER_KEY], false, PLAN, SIGNATURE, Some("not by one of")),
            (&[KEY], false, &longer, SIGNATURE, Some("not by one of")),
            (&[KEY], false, PLAN, &*retold, Some("not by one of")),
            (&[KEY], false, PLAN, "nonsense", Some("no signature")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("cells.engine");
            fs::write(&path, plan).unwrap();
            if !signature.is_empty() {
                fs::write(folder.path().join("cells.engine.minisig"), signature).unwrap();
            }
            let trust = Trust::new(&TrustSettings {
                keys: keys.iter().map(|&key| key.to_owned()).collect(),
                require_signature: required,
            });
            let said = load_engine_trusted(&path, &trust).err();
            let said = said.map(|error| error.to_string());
            let right = match (&said, words) {
                (None, None) => true,
                (Some(said), Some(words)) => said.contains(words),
                _ => false,
            };
            if !right {
                faults.push(format!("{keys:?} {required} {signature:?}: {said:?}"));
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
