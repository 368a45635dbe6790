//! Which files a command line means.

use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
};

use super::refusal::{ending, is_foreign, refuse};
use crate::cli::UsageError;

/// Folders in folders.
const MAX_DEPTH: u32 = 8;

/// What is read, by the end of its name.
const IMAGES: [&str; 5] = ["png", "tif", "tiff", "jpg", "jpeg"];

/// A file, and how it is called in the results.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Below the folder that was given, with `/`; the name of a file that was given itself.
    pub(super) name: String,
}

impl Found {
    /// The name without its ending, as one part of a path.
    pub(super) fn stem(&self) -> String {
        let (stem, _) = self
            .name
            .rsplit_once('.')
            .unwrap_or((&self.name, Default::default()));
        // OME-TIFFs have two endings.
        stem.strip_suffix(".ome").unwrap_or(stem).replace('/', "_")
    }

    /// The folder below the one that was given; empty: that one.
    pub(super) fn folder(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// Files as they were given, those of folders in the order that a person would put them in.
pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<Found>, UsageError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = found.len();
            walk(path, "", 0, &mut found)?;
            if found.len() == before {
                return Err(UsageError(format!(
                    "{} holds no images: {} are read",
                    path.display(),
                    IMAGES.join(", ")
                )));
            }
        } else {
            let name = path.file_name().ok_or_else(|| {
                UsageError(format!("{} is neither file nor folder", path.display()))
            })?;
            refuse(path)?;
            found.push(Found {
                path: path.clone(),
                name: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(found)
}

/// The images below `folder`, without hidden files and without results of a run.
pub(super) fn below(folder: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    // Refusals are said of each file when it is looked at.
    collect(folder, "", 0, &mut |file| found.push(file));
    found
}

fn walk(folder: &Path, below: &str, depth: u32, found: &mut Vec<Found>) -> Result<(), UsageError> {
    let mut refused = Ok(());
    collect(folder, below, depth, &mut |file| {
        if refused.is_ok() {
            refused = refuse(&file.path);
        }
        found.push(file);
    });
    refused
}

fn collect(folder: &Path, below: &str, depth: u32, each: &mut impl FnMut(Found)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    if folder.join("run.json").exists() || depth > MAX_DEPTH {
        return;
    }
    let mut entries: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_string_lossy().into_owned(), path))
        })
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    entries.sort_by(|(a, _), (b, _)| by_numbers(a, b));
    for (name, path) in entries {
        let name = match below {
            "" => name,
            below => format!("{below}/{name}"),
        };
        // Not through links: they may lead round in a circle.
        match fs::symlink_metadata(&path) {
            Ok(kind) if kind.is_dir() => collect(&path, &name, depth + 1, each),
            Ok(_) if is_image(&path) || is_foreign(&path).is_some() => each(Found { path, name }),
            _ => {}
        }
    }
}

fn is_image(path: &Path) -> bool {
    ending(path).is_some_and(|ending| IMAGES.contains(&ending.as_str()))
}

/// t2 before t10.
fn by_numbers(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (text_a, rest_a) = left.split_at(
            left.find(|c: char| c.is_ascii_digit())
                .unwrap_or(left.len()),
        );
        let (text_b, rest_b) = right.split_at(
            right
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(right.len()),
        );
        if text_a != text_b || rest_a.is_empty() || rest_b.is_empty() {
            // Names that differ in leading zeros only have an order too.
            return left.cmp(right).then_with(|| a.cmp(b));
        }
        let digits = |text: &str| {
            text.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len())
        };
        let (number_a, next_a) = rest_a.split_at(digits(rest_a));
        let (number_b, next_b) = rest_b.split_at(digits(rest_b));
        let (short_a, short_b) = (
            number_a.trim_start_matches('0'),
            number_b.trim_start_matches('0'),
        );
        let order = (short_a.len(), short_a).cmp(&(short_b.len(), short_b));
        if order.is_ne() {
            return order;
        }
        (left, right) = (next_a, next_b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn names(paths: &[PathBuf]) -> Vec<String> {
        find(paths)
            .unwrap()
            .into_iter()
            .map(|file| file.name)
            .collect()
    }

    #[test]
    fn a_folder_is_its_images_in_a_persons_order() {
        let folder = folder(&[
            "t10.png",
            "t9.TIF",
            "notes.txt",
            ".t1.png",
            "Pos0/img.tif",
            "out/run.json",
            "out/t9.overlay.png",
        ]);
        assert_eq!(
            names(&[folder.path().to_owned()]),
            ["Pos0/img.tif", "t9.TIF", "t10.png"]
        );
    }

    #[test]
    fn a_file_of_a_folder_in_it_is_named_by_both() {
        let file = Found {
            path: PathBuf::new(),
            name: "Pos0/scan.ome.tif".to_owned(),
        };
        assert_eq!((file.stem().as_str(), file.folder()), ("Pos0_scan", "Pos0"));
    }

    #[test]
    fn numbers_in_names_count() {
        for (first, then) in [
            ("t2", "t10"),
            ("a1b2", "a1b10"),
            ("t01", "t1"),
            ("a", "b1"),
            ("t1", "t1a"),
        ] {
            assert_eq!(by_numbers(first, then), Ordering::Less, "{first} {then}");
            assert_eq!(by_numbers(then, first), Ordering::Greater, "{then} {first}");
        }
        assert_eq!(by_numbers("t1", "t1"), Ordering::Equal);
    }

    #[test]
    fn an_empty_folder_is_said() {
        let folder = folder(&["notes.txt"]);
        let error = find(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains("holds no images"), "{error}");
    }
}
