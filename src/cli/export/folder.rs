//! The folder of a run, read back: who made it, and the cells of each frame.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{
    cli::{
        UsageError,
        record::{self, Fate, FrameRecord, Summary},
    },
    export::{FrameCells, Provenance, coco},
    frame::{FrameMetadata, SeriesKey},
    segmentation::{
        AppliedNormalization, AppliedPolicy, Growth, GrowthRate, Neighbourhood, Segmentation,
    },
};

/// Most pixels of a frame: what a record says is not yet true.
const MOST_PIXELS: u64 = 1 << 28;

/// A run, and where it lies.
pub(super) struct RunFolder {
    dir: PathBuf,
    pub(super) provenance: Provenance,
    frames: Vec<FrameRecord>,
    /// Files that more than one frame came from.
    stacks: BTreeSet<String>,
}

/// A frame with its cells.
pub(super) struct Loaded<'a> {
    pub(super) record: &'a FrameRecord,
    stack: bool,
    segmentation: Segmentation,
}

/// The frames of a series in the order of time; those without an answer too.
pub(super) struct Series<'a> {
    /// As a log names it.
    pub(super) name: String,
    /// For names of files: letters, digits and dashes, one of its own.
    pub(super) file_name: String,
    pub(super) frames: Vec<&'a FrameRecord>,
    /// Whether frames follow one another in time, as far as is known.
    pub(super) timed: bool,
}

impl RunFolder {
    /// Reads `run.json` and the record of the frames.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        if !dir.join("run.json").exists() {
            return Err(UsageError(format!(
                "{} has no run.json: name a folder that `cellsegd segment` or `cellsegd demo` wrote",
                dir.display()
            ))
            .into());
        }
        let run = record::read(dir)?;
        let header = run.header;
        let provenance = Provenance {
            cellsegd: header
                .server
                .map_or(header.cellsegd, |server| server.version),
            model: header.model.name,
            version: header.model.version,
            sha256: header.model.sha256,
            backend: header.backend,
            started_at: header.started_at,
            options: serde_json::to_value(&header.options)?,
            classes: header.model.classes,
        };
        let mut seen = BTreeSet::new();
        let mut stacks = BTreeSet::new();
        for frame in &run.frames {
            ensure!(
                is_a_name(&frame.image_id),
                "image_id {:?} in {}: must be the name of a file, without a folder",
                frame.image_id,
                dir.display()
            );
            let known = matches!(frame.fate, Fate::Segmented(_) | Fate::Measured { .. });
            if known && !seen.insert(&frame.file) {
                stacks.insert(frame.file.clone());
            }
        }
        Ok(RunFolder {
            dir: dir.to_owned(),
            provenance,
            stacks,
            frames: run.frames,
        })
    }

    /// The record of every segmented frame, in the order of the run.
    pub(super) fn segmented(&self) -> impl Iterator<Item = &FrameRecord> {
        self.frames
            .iter()
            .filter(|frame| matches!(frame.fate, Fate::Segmented(_)))
    }

    /// Whether identities were asked for.
    pub(super) fn tracked(&self) -> bool {
        !self.provenance.options["tracking"].is_null()
    }

    /// Reads the cells of a frame; none if it has no answer.
    pub(super) fn load<'a>(&self, record: &'a FrameRecord) -> Result<Option<Loaded<'a>>> {
        let Fate::Segmented(summary) = &record.fate else {
            return Ok(None);
        };
        let path = self.dir.join(format!("{}.json", record.image_id));
        let read = || -> Result<Loaded<'a>> {
            let (width, height) = (summary.width, summary.height);
            let pixels = u64::from(width) * u64::from(height);
            ensure!(
                0 < pixels && pixels <= MOST_PIXELS,
                "its frame has {width}x{height} pixels: 1 to {MOST_PIXELS} can be exported"
            );
            let list = fs::read(&path)?;
            let mut segmentation = empty(summary);
            segmentation.instances = coco::read(&list, (width, height))?;
            ensure!(
                segmentation.instances.len() == summary.cells,
                "has {} cells, but the record of the run says {}",
                segmentation.instances.len(),
                summary.cells
            );
            Ok(Loaded {
                record,
                stack: self.stacks.contains(&record.file),
                segmentation,
            })
        };
        read()
            .map(Some)
            .with_context(|| format!("cannot read {}", path.display()))
    }

    /// Reads every segmented frame, one at a time.
    pub(super) fn each(&self, mut visit: impl FnMut(&FrameCells) -> Result<()>) -> Result<()> {
        for record in self.segmented() {
            if let Some(loaded) = self.load(record)? {
                visit(&loaded.cells())?;
            }
        }
        Ok(())
    }

    /// The series that have an answer, by name.
    pub(super) fn series(&self) -> Vec<Series<'_>> {
        let mut by_key: BTreeMap<SeriesKey, Vec<&FrameRecord>> = BTreeMap::new();
        for frame in &self.frames {
            if !matches!(frame.fate, Fate::Measured { .. }) {
                by_key
                    .entry(frame.metadata.series())
                    .or_default()
                    .push(frame);
            }
        }
        let mut names = BTreeSet::new();
        let mut series = Vec::new();
        for (key, mut frames) in by_key {
            if !frames
                .iter()
                .any(|it| matches!(it.fate, Fate::Segmented(_)))
            {
                continue;
            }
            let timed = in_order(&mut frames);
            let name = match key == FrameMetadata::default().series() {
                true => "all frames".to_owned(),
                false => key.to_string(),
            };
            let plain = file_name(&name);
            let numbered = (2..).map(|i| format!("{plain}-{i}"));
            let file_name = std::iter::once(plain.clone())
                .chain(numbered)
                .find(|name| names.insert(name.clone()))
                .unwrap_or(plain);
            series.push(Series {
                name,
                file_name,
                frames,
                timed,
            });
        }
        series
    }
}

impl Loaded<'_> {
    /// As the writers take it.
    pub(super) fn cells(&self) -> FrameCells<'_> {
        FrameCells {
            image_id: &self.record.image_id,
            file: &self.record.file,
            stack: self.stack,
            metadata: &self.record.metadata,
            segmentation: &self.segmentation,
        }
    }
}

/// Sorts frames by the index t, else by the time, where all have one; else leaves them in the order of the run. Returns whether
/// they have.
fn in_order(frames: &mut [&FrameRecord]) -> bool {
    let index = |frame: &&FrameRecord| frame.metadata.index.get("t").copied();
    let elapsed_ms = |frame: &&FrameRecord| frame.metadata.elapsed_ms;
    let captured_at = |frame: &&FrameRecord| frame.metadata.captured_at;
    if frames.iter().all(|frame| index(frame).is_some()) {
        frames.sort_by_cached_key(index);
    } else if frames.iter().all(|frame| elapsed_ms(frame).is_some()) {
        frames.sort_by(|a, b| {
            let time = |frame| elapsed_ms(frame).unwrap_or_default();
            time(a).total_cmp(&time(b))
        });
    } else if frames.iter().all(|frame| captured_at(frame).is_some()) {
        frames.sort_by_cached_key(captured_at);
    } else {
        return false;
    }
    true
}

/// What the record says of a frame; its cells are in a file of their own.
fn empty(summary: &Summary) -> Segmentation {
    let policies = [
        AppliedPolicy::FullRange,
        AppliedPolicy::Window,
        AppliedPolicy::Percentiles,
        AppliedPolicy::LowContrast,
    ];
    let policy = policies
        .into_iter()
        .find(|policy| policy.name() == summary.normalization.policy);
    Segmentation {
        width: summary.width,
        height: summary.height,
        instances: Vec::new(),
        confluence: summary.confluence,
        analysed_px: summary.analysed_px,
        removed_by_area: summary.removed_by_area,
        removed_at_border: summary.removed_at_border,
        neighbourhood: Some(Neighbourhood {
            nearest_mean_px: summary.nearest_mean_px,
            neighbours_mean: summary.neighbours_mean,
        }),
        drift_px: summary.drift_px,
        growth: summary.growth.as_ref().map(|growth| {
            let rate = |rate: record::RateRecord| GrowthRate {
                per_hour: rate.per_hour,
                doubling_hours: rate.doubling_hours,
            };
            Growth {
                count: growth.count.map(rate),
                confluence: growth.confluence.map(rate),
                points: growth.points,
                span_hours: growth.span_hours,
                excluded: growth.excluded,
                fields: growth.fields,
            }
        }),
        normalization: AppliedNormalization {
            low: summary.normalization.low,
            high: summary.normalization.high,
            policy: policy.unwrap_or(AppliedPolicy::Window),
        },
        truncated: summary.truncated,
        notices: Vec::new(),
    }
}

/// A path made of it stays in its folder.
fn is_a_name(image_id: &str) -> bool {
    let alone = Path::new(image_id)
        .file_name()
        .is_some_and(|name| name == image_id);
    alone && !image_id.contains(['/', '\\', '\0'])
}

/// Runs of anything but letters and digits become a dash.
fn file_name(series: &str) -> String {
    let words = series.split(|c: char| !c.is_alphanumeric());
    let name: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    name.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_frames_stay_in_their_folder() {
        for (image_id, expected) in [
            ("t01", true),
            ("plate 1.well A1", true),
            ("", false),
            ("..", false),
            ("../t01", false),
            ("a/b", false),
            ("/etc/passwd", false),
        ] {
            assert_eq!(is_a_name(image_id), expected, "{image_id:?}");
        }
    }

    #[test]
    fn series_are_named_in_letters_and_digits() {
        assert_eq!(
            file_name("position \"A/1\", channel \"Phase\""),
            "position-A-1-channel-Phase"
        );
    }
}
