//! Files that must not be taken for what they are not.

use std::{fs::File, io::Read, path::Path};

use crate::cli::UsageError;

/// Whose name says that it is read by its maker's programs only.
const FOREIGN: [(&str, &str); 6] = [
    ("nd2", "Nikon's ND2"),
    ("czi", "Zeiss' CZI"),
    ("lif", "Leica's LIF"),
    ("oib", "Olympus' OIB"),
    ("oif", "Olympus' OIF"),
    ("vsi", "Olympus' VSI"),
];

/// Files that must not be taken for what they are not: other makers' formats and stacks that are still being written.
pub(super) fn refuse(path: &Path) -> Result<(), UsageError> {
    let shown = path.display();
    if let Some(what) = is_foreign(path) {
        return Err(UsageError(format!(
            "{shown} is {what}, which is not read: export it as OME-TIFF from its maker's program or with bfconvert"
        )));
    }
    match micromanager_stack(path) {
        Some(Stack::NdTiff) => Err(UsageError(format!(
            "{shown} is part of an NDTiff data set, which is not read: save it as separate image files or as an OME-TIFF stack"
        ))),
        Some(Stack::Growing) => Err(UsageError(format!(
            "{shown} is a Micro-Manager stack that is still being written: wait for its end, or let Micro-Manager save separate image files, which are segmented as they come"
        ))),
        None => Ok(()),
    }
}

enum Stack {
    Growing,
    NdTiff,
}

/// Micro-Manager's own header follows that of TIFF: 32 bytes, in which the place of the index is filled in at the end.
fn micromanager_stack(path: &Path) -> Option<Stack> {
    const INDEX: u32 = 54_773_648;
    const SUMMARY: u32 = 2_355_492;
    const NDTIFF: u32 = 483_729;
    if !ending(path)?.starts_with("tif") {
        return None;
    }
    let mut header = [0; 40];
    File::open(path).ok()?.read_exact(&mut header).ok()?;
    let big = match &header[..4] {
        [b'I', b'I', 42, 0] => false,
        [b'M', b'M', 0, 42] => true,
        _ => return None,
    };
    let word = |at: usize| {
        let bytes = header[at..at + 4].try_into().expect("four bytes");
        match big {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        }
    };
    match (word(8), word(12), word(32)) {
        (NDTIFF, ..) => Some(Stack::NdTiff),
        (INDEX, at, SUMMARY) if at != 0 => None,
        (_, _, SUMMARY) => Some(Stack::Growing),
        _ => None,
    }
}

/// Of its name, in small letters.
pub(super) fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_string_lossy().to_ascii_lowercase())
}

/// Whose format its name says.
pub(super) fn is_foreign(path: &Path) -> Option<&'static str> {
    let ending = ending(path)?;
    let (_, what) = FOREIGN.iter().find(|(name, _)| *name == ending)?;
    Some(what)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn other_makers_formats_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for (file, maker) in [("a.nd2", "Nikon"), ("b.CZI", "Zeiss")] {
            let error = refuse(&folder.path().join(file)).unwrap_err().to_string();
            assert!(
                error.contains(maker) && error.contains("OME-TIFF"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_stack_is_refused_until_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan_MMStack_Pos0.ome.tif");
        let stack = |index: u32, at: u32| {
            let words = [index, at, 0, 0, 0, 0, 2_355_492, 100];
            let words = words.iter().flat_map(|word: &u32| word.to_le_bytes());
            let file: Vec<u8> = [b'I', b'I', 42, 0, 40, 0, 0, 0]
                .into_iter()
                .chain(words)
                .collect();
            fs::write(&path, file).unwrap();
            refuse(&path)
        };
        let error = stack(0, 0).unwrap_err().to_string();
        assert!(error.contains("still being written"), "{error}");
        assert!(stack(54_773_648, 4000).is_ok());
        let error = stack(483_729, 3).unwrap_err().to_string();
        assert!(error.contains("NDTiff"), "{error}");
    }
}
