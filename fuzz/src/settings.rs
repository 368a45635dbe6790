//! The settings file.

use std::fs;

use cellsegd::config::{Overrides, Settings};

/// Any text as a settings file: refused, or settings that are the same when they are written down and read again.
pub(crate) fn settings(input: &[u8]) {
    let Some(settings) = load(input) else {
        return;
    };
    let text = toml::to_string(&settings).expect("settings can be written down");
    assert_eq!(load(text.as_bytes()), Some(settings), "{text}");
}

fn load(text: &[u8]) -> Option<Settings> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), text).expect("a writable temporary folder");
    Settings::load(Some(file.path()), &Overrides::default()).ok()
}
