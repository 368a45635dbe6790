//! The two files of a run's folder, written as the run goes.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};

use super::{FrameRecord, RunRecord, Totals, engine};

const HEADER: &str = "run.json";
const FRAMES: &str = "frames.jsonl";

/// A run's folder, open for writing.
pub(in crate::cli) struct Folder {
    dir: PathBuf,
    header: RunRecord,
    lines: File,
    /// By image_id: the last word about each frame.
    frames: BTreeMap<String, FrameRecord>,
}

/// A run, read back.
pub(in crate::cli) struct Run {
    pub(in crate::cli) header: RunRecord,
    /// The last word about each frame, in the order in which the frames were first spoken of.
    pub(in crate::cli) frames: Vec<FrameRecord>,
}

/// Reads `dir/run.json` and the frames beside it, also after a run that was killed: a line that was cut off counts as not
/// written.
pub(in crate::cli) fn read(dir: &Path) -> Result<Run> {
    let path = dir.join(HEADER);
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let header = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not the record of a run", path.display()))?;
    let path = dir.join(FRAMES);
    let text = match fs::read(&path) {
        // Killed before the first frame.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut frames: Vec<FrameRecord> = Vec::new();
    let mut at = BTreeMap::new();
    // In bytes: a line may be cut off within a letter.
    for (number, line) in (1..).zip(whole_lines(&text).split_inclusive(|&byte| byte == b'\n')) {
        let record: FrameRecord = serde_json::from_slice(line)
            .with_context(|| format!("line {number} of {} is damaged", path.display()))?;
        match at.get(&record.image_id) {
            Some(&earlier) => frames[earlier] = record,
            None => {
                at.insert(record.image_id.clone(), frames.len());
                frames.push(record);
            }
        }
    }
    Ok(Run { header, frames })
}

impl Folder {
    /// Starts the record of a run in `dir`, in place of what was there.
    pub(in crate::cli) fn start(dir: &Path, header: RunRecord) -> Result<Folder> {
        let path = dir.join(FRAMES);
        // First emptied: a header must never stand beside the frames of another run.
        let lines = File::create(&path).with_context(|| cannot_write(&path))?;
        let folder = Folder {
            dir: dir.to_owned(),
            header,
            lines,
            frames: BTreeMap::new(),
        };
        folder.write_header()?;
        Ok(folder)
    }

    /// Goes on with the record of an earlier run.
    pub(in crate::cli) fn go_on(dir: &Path, run: Run) -> Result<Folder> {
        let path = dir.join(FRAMES);
        let go_on = || -> io::Result<File> {
            let mut lines = OpenOptions::new().create(true).append(true).open(&path)?;
            // A line that was cut off ends here, so that the next is a line of its own.
            let text = fs::read(&path)?;
            lines.set_len(whole_lines(&text).len() as u64)?;
            lines.flush()?;
            Ok(lines)
        };
        let folder = Folder {
            dir: dir.to_owned(),
            header: RunRecord {
                ended_at: None,
                totals: None,
                ..run.header
            },
            lines: go_on().with_context(|| cannot_write(&path))?,
            frames: run
                .frames
                .into_iter()
                .map(|record| (record.image_id.clone(), record))
                .collect(),
        };
        folder.write_header()?;
        Ok(folder)
    }

    /// Where everything is written.
    pub(in crate::cli) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The last word about a frame.
    pub(in crate::cli) fn frame(&self, image_id: &str) -> Option<&FrameRecord> {
        self.frames.get(image_id)
    }

    /// Adds what became of a frame, after its files: who reads the line finds them whole.
    pub(in crate::cli) fn add(&mut self, record: FrameRecord) -> Result<()> {
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        self.lines
            .write_all(&line)
            .with_context(|| cannot_write(&self.dir.join(FRAMES)))?;
        self.frames.insert(record.image_id.clone(), record);
        Ok(())
    }

    /// So far.
    pub(in crate::cli) fn totals(&self) -> Totals {
        Totals::of(self.frames.values())
    }

    /// RFC 3339.
    pub(in crate::cli) fn started_at(&self) -> &str {
        &self.header.started_at
    }

    /// The engine, without why it was chosen.
    pub(in crate::cli) fn engine(&self) -> String {
        engine(&self.header.backend).to_owned()
    }

    /// The run has ended.
    pub(in crate::cli) fn end(&mut self) -> Result<Totals> {
        let totals = self.totals();
        self.header.ended_at = Some(now());
        self.header.totals = Some(totals);
        self.write_header()?;
        Ok(totals)
    }

    /// Written beside and renamed: a reader sees the old one or the new one.
    fn write_header(&self) -> Result<()> {
        let path = self.dir.join(HEADER);
        let beside = self.dir.join(".run.json.new");
        let write = || -> Result<()> {
            let mut text = serde_json::to_vec_pretty(&self.header)?;
            text.push(b'\n');
            fs::write(&beside, text)?;
            Ok(fs::rename(&beside, &path)?)
        };
        write().with_context(|| cannot_write(&path))
    }
}

/// Without a last line that was cut off.
fn whole_lines(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| byte == b'\n');
    &text[..end.map_or(0, |end| end + 1)]
}

/// RFC 3339.
pub(in crate::cli) fn now() -> String {
    prost_types::Timestamp::from(SystemTime::now()).to_string()
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::record::Fate;

    /// As a recorder in another language would write it: what it does not know is left out.
    const HEADER_TEXT: &str = r#"{"cellsegd": "0.1.0", "started_at": "2026-01-01T00:00:00Z", "ended_at": null, "server": null,
        "model": {"name": "m", "version": "1", "sha256": "00", "precision": "fp32", "head": "yolo-seg", "input": [640, 640],
        "classes": ["cell", "nucleus"]}, "backend": "rten 0.27: chosen", "device": "cpu", "options": {"thresholds":
        {"confidence": 0.3, "iou": 0.6, "class_agnostic": true, "max_cells": 5000, "min_area_px": 0, "min_area_um2": null,
        "max_area_um2": null, "classes": [], "class_confidence": {"1": 0.5}, "border": "keep"}, "normalization":
        {"policy": "full_range"}, "raw_masks": false}, "pixel_size_um": null, "inputs": null, "totals": null}"#;

    fn line(image_id: &str, fate: &str) -> String {
        format!("{{\"image_id\": {image_id:?}, \"file\": \"x.png\", {fate}}}\n")
    }

    fn folder(lines: impl AsRef<[u8]>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(HEADER), HEADER_TEXT).unwrap();
        fs::write(folder.path().join(FRAMES), lines).unwrap();
        folder
    }

    #[test]
    fn the_last_word_about_a_frame_counts_and_half_a_line_does_not() {
        let lines = [
            line("a", "\"failed\": \"damaged\""),
            line("b", "\"dropped\": \"deadline\""),
            line("a", "\"dropped\": \"newer\""),
            "{\"image_id\": \"b\", \"fil".to_owned(),
        ];
        let folder = folder(lines.concat());
        let run = read(folder.path()).unwrap();
        assert_eq!(run.header.options.thresholds.class_confidence[&1], 0.5);
        let fates: Vec<(&str, bool)> = run
            .frames
            .iter()
            .map(|frame| {
                (
                    frame.image_id.as_str(),
                    matches!(frame.fate, Fate::Dropped(_)),
                )
            })
            .collect();
        assert_eq!(fates, [("a", true), ("b", true)]);

        let mut writer = Folder::go_on(folder.path(), run).unwrap();
        let again: FrameRecord = serde_json::from_str(&line("b", "\"failed\": \"again\"")).unwrap();
        writer.add(again).unwrap();
        assert_eq!(writer.end().unwrap().failed, 1);
        let run = read(folder.path()).unwrap();
        assert!(matches!(&run.frames[1].fate, Fate::Failed(why) if why == "again"));
        assert!(run.header.ended_at.is_some() && run.header.totals.unwrap().frames == 2);
    }

    #[test]
    fn a_line_that_was_cut_off_within_a_letter_does_not_count() {
        let mut lines = line("grün", "\"failed\": \"damaged\"").into_bytes();
        lines.extend(b"{\"image_id\": \"gr\xc3");
        let folder = folder(lines);
        let run = read(folder.path()).unwrap();
        assert_eq!(
            (run.frames.len(), run.frames[0].image_id.as_str()),
            (1, "grün")
        );
        Folder::go_on(folder.path(), run).unwrap();
        assert!(
            fs::read_to_string(folder.path().join(FRAMES))
                .unwrap()
                .ends_with("}\n")
        );
    }

    #[test]
    fn a_damaged_record_is_named() {
        let damaged = folder("{\"image_id\": 3}\n");
        let error = format!("{:#}", read(damaged.path()).err().unwrap());
        assert!(
            error.contains("line 1") && error.contains(FRAMES),
            "{error}"
        );
        fs::write(damaged.path().join(HEADER), "{}").unwrap();
        let error = format!("{:#}", read(damaged.path()).err().unwrap());
        assert!(error.contains("not the record of a run"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        assert!(read(empty.path()).is_err());
    }

    #[test]
    fn a_run_that_was_killed_before_its_first_frame_is_a_run() {
        let folder = folder("");
        fs::remove_file(folder.path().join(FRAMES)).unwrap();
        assert_eq!(read(folder.path()).unwrap().frames.len(), 0);
    }
}
