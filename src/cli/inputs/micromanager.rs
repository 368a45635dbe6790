//! `metadata.txt`: what Micro-Manager writes beside single images.
//!
//! Version 1.4 has an object a frame, `FrameKey-T-C-Z`, that names its file; version 2 has two, `Coords-FOLDER/FILE` and
//! `Metadata-FOLDER/FILE`. While an acquisition runs the outermost object is not closed yet.

use std::{collections::HashMap, fs, path::Path, time::SystemTime};

use serde_json::{Map, Value};

use crate::frame::FrameMetadata;

/// The `metadata.txt` of one folder.
#[derive(Debug, Default)]
pub(super) struct MicroManager {
    by_file: HashMap<String, FrameMetadata>,
    modified: Option<SystemTime>,
}

/// Its name.
pub(super) const FILE_NAME: &str = "metadata.txt";

impl MicroManager {
    /// Of `folder`; none: it has none, or none that Micro-Manager wrote.
    pub(super) fn read(folder: &Path) -> Result<Option<MicroManager>, String> {
        let path = folder.join(FILE_NAME);
        let Ok(text) = fs::read(&path) else {
            return Ok(None);
        };
        let modified = fs::metadata(&path).and_then(|found| found.modified()).ok();
        // Older versions write Latin-1, in which micrometres have a byte of their own.
        let text = String::from_utf8_lossy(&text);
        if !text.trim_start().starts_with('{') || !text.contains("\"Summary\"") {
            return Ok(None);
        }
        let frames = parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Some(MicroManager {
            by_file: by_file(&frames),
            modified,
        }))
    }

    /// Whether the file has been written since it was read.
    pub(super) fn is_old(&self, folder: &Path) -> bool {
        let modified = fs::metadata(folder.join(FILE_NAME)).and_then(|found| found.modified());
        modified.ok() != self.modified
    }

    /// Of the image with this name.
    pub(super) fn frame(&self, file_name: &str) -> Option<&FrameMetadata> {
        self.by_file.get(file_name)
    }
}

/// The outermost object, closed where an acquisition has not come to that yet.
fn parse(text: &str) -> Result<Map<String, Value>, serde_json::Error> {
    let whole = serde_json::from_str(text);
    match (whole, last_member(text)) {
        // What was being written last goes.
        (Err(error), Some(end)) if error.is_eof() => {
            serde_json::from_str(&format!("{}}}", &text[..end]))
        }
        (whole, _) => whole,
    }
}

/// Where the last object within the outermost one ends.
fn last_member(text: &str) -> Option<usize> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut end = None;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' if !in_text => depth += 1,
            b'}' if !in_text => {
                depth = depth.saturating_sub(1);
                if depth == 1 {
                    end = Some(at + 1);
                }
            }
            _ => {}
        }
    }
    end
}

fn by_file(frames: &Map<String, Value>) -> HashMap<String, FrameMetadata> {
    let none = Map::new();
    let summary = frames.get("Summary").and_then(Value::as_object);
    let summary = summary.unwrap_or(&none);
    let mut by_file = HashMap::new();
    for (key, frame) in frames {
        let Some(frame) = frame.as_object() else {
            continue;
        };
        if key.starts_with("FrameKey-") {
            if let Some(file) = text(frame, "FileName") {
                by_file.insert(last_part(file), metadata(summary, frame, frame));
            }
        } else if let Some(file) = key.strip_prefix("Coords-") {
            let more = frames.get(&format!("Metadata-{file}"));
            let more = more.and_then(Value::as_object).unwrap_or(&none);
            by_file.insert(last_part(file), metadata(summary, frame, more));
        }
    }
    by_file
}

fn last_part(file: &str) -> String {
    file.rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// `coords` say which frame it is, `more` what was measured.
fn metadata(
    summary: &Map<String, Value>,
    coords: &Map<String, Value>,
    more: &Map<String, Value>,
) -> FrameMetadata {
    let number = |key: &str| more.get(key).and_then(Value::as_f64);
    let index = |keys: [&str; 2]| {
        let found = keys.iter().find_map(|key| coords.get(*key)?.as_u64());
        found.and_then(|index| u32::try_from(index).ok())
    };
    let axes = [
        ("t", index(["FrameIndex", "Frame"])),
        ("c", index(["ChannelIndex", "ChannelIndex"])),
        ("z", index(["SliceIndex", "Slice"])),
        ("p", index(["PositionIndex", "PositionIndex"])),
    ];
    let channel_names = summary.get("ChNames").and_then(Value::as_array);
    let channel = text(coords, "Channel").or_else(|| {
        let index = index(["ChannelIndex", "ChannelIndex"])? as usize;
        channel_names?.get(index)?.as_str()
    });
    let above_zero = |um: &f64| 0.0 < *um;
    FrameMetadata {
        index: axes
            .into_iter()
            // A plane of a single-plane acquisition is no z-stack.
            .filter(|&(axis, _)| axis != "z" || slices(summary) > 1)
            .filter_map(|(axis, index)| Some((axis.to_owned(), index?)))
            .collect(),
        channel: channel.unwrap_or_default().to_owned(),
        position: text(more, "PositionName").unwrap_or_default().to_owned(),
        camera: text(more, "Camera")
            .or(text(more, "Core-Camera"))
            .unwrap_or_default()
            .to_owned(),
        exposure_ms: number("Exposure-ms"),
        x_um: number("XPositionUm"),
        y_um: number("YPositionUm"),
        z_um: number("ZPositionUm"),
        // Micro-Manager writes 0 for a size that nobody gave.
        pixel_size_um: number("PixelSizeUm")
            .or_else(|| summary.get("PixelSize_um")?.as_f64())
            .filter(above_zero),
        binning: more.get("Binning").and_then(binning),
        pixel_to_stage: text(more, "PixelSizeAffine").and_then(affine),
        elapsed_ms: number("ElapsedTime-ms"),
        ..FrameMetadata::default()
    }
}

fn text<'a>(of: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    of.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// Planes of the acquisition; 1 where it does not say.
fn slices(summary: &Map<String, Value>) -> u64 {
    let intended = summary
        .get("IntendedDimensions")
        .and_then(|dimensions| dimensions.get("z"));
    let planes = intended.or(summary.get("Slices"));
    planes.and_then(Value::as_u64).unwrap_or(1)
}

/// 2, "2" or "2x2".
fn binning(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.split('x').next()?.trim().parse().ok(),
        value => u32::try_from(value.as_u64()?).ok(),
    }
}

/// Six numbers with semicolons between, as the core writes them. All 0: nobody gave them.
fn affine(text: &str) -> Option<[f64; 6]> {
    let numbers: Option<Vec<f64>> = text.split(';').map(|part| part.parse().ok()).collect();
    let numbers: [f64; 6] = numbers?.try_into().ok()?;
    let turns = numbers[0] * numbers[4] - numbers[1] * numbers[3];
    (turns != 0.0 && turns.is_finite()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = r#"{"Summary": {"Slices": 1, "Channels": 2, "ChNames": ["Phase", "GFP"], "PixelSize_um": 0.65},
"FrameKey-1-0-0": {"FileName": "img_000000001_Phase_000.tif", "Frame": 1, "FrameIndex": 1, "Channel": "Phase",
"ChannelIndex": 0, "Slice": 0, "SliceIndex": 0, "PositionIndex": 0, "PositionName": "Pos0", "ElapsedTime-ms": 600013.0,
"XPositionUm": 100.5, "YPositionUm": -20, "PixelSizeUm": 0.65, "Exposure-ms": 20, "Binning": "2x2"}"#;

    const V2: &str = r#"{"Summary": {"ChNames": ["Phase", "GFP"], "IntendedDimensions": {"z": 3, "time": 2}},
"Coords-Pos1/img_channel001_position001_time000000002_z001.tif": {"Frame": 2, "FrameIndex": 2, "PositionIndex": 1,
"Slice": 1, "SliceIndex": 1, "ChannelIndex": 1},
"Metadata-Pos1/img_channel001_position001_time000000002_z001.tif": {"PositionName": "Pos1", "ElapsedTime-ms": 1200.5,
"PixelSizeUm": 0.0, "PixelSizeAffine": "0.65;0.0;0.0;0.0;-0.65;0.0", "Camera": "Zyla", "ZPositionUm": 3.5}}"#;

    fn read(text: &str) -> HashMap<String, FrameMetadata> {
        by_file(&parse(text).unwrap())
    }

    #[test]
    fn version_1_is_read_also_while_it_is_written() {
        let start = format!("{V1},\n\"FrameKey-2-0-0\": {{\"FileName\": \"img_0");
        let nested = format!(
            "{start}\", \"Notes\": \"a }} \\\" b\"{}",
            ", \"User\": {}".repeat(10_000)
        );
        for text in [format!("{V1}}}"), V1.to_owned(), start, nested] {
            let frames = read(&text);
            assert_eq!(frames.len(), 1, "{text}");
            let frame = &frames["img_000000001_Phase_000.tif"];
            assert_eq!((frame.index["t"], frame.channel.as_str()), (1, "Phase"));
            assert_eq!(frame.elapsed_ms, Some(600_013.0));
            assert_eq!((frame.x_um, frame.y_um), (Some(100.5), Some(-20.0)));
            assert_eq!((frame.pixel_size_um, frame.binning), (Some(0.65), Some(2)));
            assert!(!frame.index.contains_key("z"), "one plane is no stack");
        }
    }

    #[test]
    fn version_2_is_read() {
        let frames = read(V2);
        let frame = &frames["img_channel001_position001_time000000002_z001.tif"];
        assert_eq!((frame.index["t"], frame.index["z"]), (2, 1));
        assert_eq!(
            (frame.channel.as_str(), frame.position.as_str()),
            ("GFP", "Pos1")
        );
        assert_eq!((frame.pixel_size_um, frame.z_um), (None, Some(3.5)));
        assert_eq!(
            frame.pixel_to_stage,
            Some([0.65, 0.0, 0.0, 0.0, -0.65, 0.0])
        );
    }

    #[test]
    fn what_is_damaged_is_an_error_and_what_is_no_metadata_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            fs::write(folder.path().join(FILE_NAME), text).unwrap();
            MicroManager::read(folder.path())
        };
        assert!(read("grown on Tuesday").unwrap().is_none());
        let error = read("{\"Summary\": {]").unwrap_err();
        assert!(error.contains(FILE_NAME), "{error}");
        assert!(read(V2).unwrap().is_some());
    }
}
