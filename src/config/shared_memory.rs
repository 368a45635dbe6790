//! `[shared_memory]`: frames that controllers on the same machine leave where the daemon can read them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::check::{SettingsError, in_range, wrong};

/// The most bytes that a name in `/dev/shm` may have.
const MAX_NAME: usize = 255;

/// Which memory of other programs the daemon reads frames from. By default none.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SharedMemorySettings {
    /// Names in `/dev/shm` that clients may register, `*` standing for any characters: `/cellsegd-*`. Read again on reload.
    pub keys: Vec<String>,
    /// A unix socket over which clients pass memory without a name, as `memfd_create` makes it.
    pub socket: Option<PathBuf>,
    /// Regions registered or in use at the same time.
    pub regions: usize,
    /// The same, of one peer.
    pub regions_per_peer: usize,
    /// Bytes of all regions.
    pub bytes: u64,
    /// The same, of one peer.
    pub bytes_per_peer: u64,
    /// Lock regions in memory and let the GPU copy straight from them.
    pub register_with_cuda: bool,
}

impl Default for SharedMemorySettings {
    fn default() -> Self {
        SharedMemorySettings {
            keys: Vec::new(),
            socket: None,
            regions: 64,
            regions_per_peer: 16,
            bytes: 8 << 30,
            bytes_per_peer: 2 << 30,
            register_with_cuda: false,
        }
    }
}

impl SharedMemorySettings {
    /// How many regions there can be at most: each has a place in a table of fixed size.
    pub const MOST_REGIONS: usize = 1024;

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let is_name = |key: &str| {
            let name = key.strip_prefix('/').unwrap_or_default();
            let fits = !name.is_empty() && name.len() <= MAX_NAME;
            fits && !name.contains(['/', '\0']) && name != "." && name != ".."
        };
        if let Some(key) = self.keys.iter().find(|key| !is_name(key)) {
            return Err(wrong(
                "shared_memory.keys",
                format!("{key:?}"),
                "must be a name in /dev/shm with a slash before it, in which * stands for any characters, as \"/cellsegd-*\"",
            ));
        }
        if let Some(path) = &self.socket
            && !path.is_absolute()
        {
            return Err(wrong(
                "shared_memory.socket",
                path.display(),
                "must be an absolute path, as /run/cellsegd/memory.sock",
            ));
        }
        let most = Self::MOST_REGIONS;
        in_range("shared_memory.regions", self.regions, 1..=most)?;
        in_range(
            "shared_memory.regions_per_peer",
            self.regions_per_peer,
            1..=most,
        )?;
        in_range("shared_memory.bytes", self.bytes, 1..=1 << 46)?;
        in_range(
            "shared_memory.bytes_per_peer",
            self.bytes_per_peer,
            1..=1 << 46,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_could_lead_out_of_the_folder_is_refused() {
        let check = |key: &str| {
            let keys = vec![key.to_owned()];
            let settings = SharedMemorySettings {
                keys,
                ..SharedMemorySettings::default()
            };
            settings.check()
        };
        for key in ["/cellsegd-*", "/*", "/a", "/psm_*.x"] {
            assert!(check(key).is_ok(), "{key}");
        }
        let long = format!("/{}", "a".repeat(256));
        for key in [
            "", "/", "a*", "//a", "/a/b", "/..", "/.", "/../x", "/a\0", &long,
        ] {
            let error = check(key).expect_err(key).to_string();
            assert!(
                error.contains("shared_memory.keys") && error.contains("/dev/shm"),
                "{error}"
            );
        }
    }
}
