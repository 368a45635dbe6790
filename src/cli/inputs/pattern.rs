//! `--pattern`: where a file's name says what it is.

use std::{fmt, str::FromStr};

use regex::Regex;

use crate::{cli::UsageError, frame::FrameMetadata};

/// What a name may say.
const GROUPS: [&str; 6] = ["t", "p", "c", "z", "well", "field"];

/// A regular expression with named groups, looked for in the path of a file below the folder that was given.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Pattern(Regex);

impl Pattern {
    /// Adds to `metadata` what `name` says. False: the pattern is not in it.
    pub(super) fn read(
        &self,
        name: &str,
        metadata: &mut FrameMetadata,
    ) -> Result<bool, UsageError> {
        let Some(found) = self.0.captures(name) else {
            return Ok(false);
        };
        for group in GROUPS {
            let Some(text) = found.name(group).map(|part| part.as_str()) else {
                continue;
            };
            let number = || {
                text.parse::<u32>().map_err(|_| {
                    UsageError(format!(
                        "{name}: --pattern takes {text:?} as {group}, which must be a whole number"
                    ))
                })
            };
            match group {
                "t" | "z" => {
                    metadata.index.insert(group.to_owned(), number()?);
                }
                "field" => metadata.field = Some(number()?),
                "well" => metadata.well = text.to_owned(),
                "c" => {
                    metadata.channel = text.to_owned();
                    if let Ok(index) = text.parse() {
                        metadata.index.insert("c".to_owned(), index);
                    }
                }
                _ => {
                    metadata.position = text.to_owned();
                    if let Ok(index) = text.parse() {
                        metadata.index.insert("p".to_owned(), index);
                    }
                }
            }
        }
        // Fields of different wells may have the same number.
        if metadata.position.is_empty()
            && let (well, Some(field)) = (&metadata.well, metadata.field)
        {
            metadata.position = format!("{well} {field}").trim().to_owned();
        } else if !metadata.well.is_empty() && !metadata.position.contains(&metadata.well) {
            metadata.position = format!("{} {}", metadata.well, metadata.position)
                .trim()
                .to_owned();
        }
        Ok(true)
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let regex = Regex::new(text).map_err(|error| error.to_string())?;
        let mut named = regex.capture_names().flatten().peekable();
        if named.peek().is_none() {
            return Err(format!(
                "has no named group: at least one of {} as in (?P<t>\\d+)",
                GROUPS.join(", ")
            ));
        }
        match named.find(|name| !GROUPS.contains(name)) {
            None => Ok(Pattern(regex)),
            Some(other) => Err(format!(
                "group {other:?} is not known: must be one of {}",
                GROUPS.join(", ")
            )),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str, name: &str) -> Result<FrameMetadata, String> {
        let mut metadata = FrameMetadata::default();
        match pattern.parse::<Pattern>()?.read(name, &mut metadata) {
            Ok(true) => Ok(metadata),
            Ok(false) => Err("no match".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_name_says_time_place_and_channel() {
        let pattern = r"(?P<well>[A-H]\d\d)_s(?P<p>\d+)_w(?P<c>\w+?)_z(?P<z>\d+)_t(?P<t>\d+)";
        let metadata = read(pattern, "plate/B03_s2_wGFP_z1_t0012.tif").unwrap();
        assert_eq!(metadata.well, "B03");
        assert_eq!(metadata.position, "B03 2");
        assert_eq!(metadata.channel, "GFP");
        let index: Vec<(&str, u32)> = metadata
            .index
            .iter()
            .map(|(axis, &n)| (axis.as_str(), n))
            .collect();
        assert_eq!(index, [("p", 2), ("t", 12), ("z", 1)]);
    }

    #[test]
    fn wells_keep_their_fields_apart() {
        let pattern = r"(?P<well>[A-H]\d\d)f(?P<field>\d+)";
        assert_eq!(read(pattern, "B03f1.png").unwrap().position, "B03 1");
        assert_eq!(read(pattern, "B04f1.png").unwrap().position, "B04 1");
    }

    #[test]
    fn patterns_that_cannot_be_meant_are_refused() {
        for (pattern, word) in [
            (r"(?P<time>\d+)", "time"),
            (r"t(\d+)", "named group"),
            (r"(?P<t>\d+", "unclosed"),
        ] {
            let error = pattern.parse::<Pattern>().unwrap_err();
            assert!(error.contains(word), "{pattern}: {error}");
        }
        assert!(read(r"(?P<t>\w+)", "abc.png").unwrap_err().contains("abc"));
        assert!(read(r"t(?P<t>\d+)", "t99999999999.png").is_err());
        assert_eq!(read(r"t(?P<t>\d+)", "a.png").unwrap_err(), "no match");
    }
}
