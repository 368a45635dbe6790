//! Where an earlier run stopped: its cells as they were last seen, so that their ids go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};

use crate::{
    cli::record::{Fate, FrameRecord, Summary},
    export::coco,
    frame::{FrameMetadata, SeriesKey},
    params::{Analysis, Tracking},
    segmentation::Instance,
    track::{Resumed, ResumedCell},
};

/// One series so far.
struct Course<'a> {
    /// The last frame that was segmented, and how many came to nothing after it.
    frames: Vec<&'a FrameRecord>,
    highest_id: u64,
}

/// The last state of each series of a run whose results lie in `dir`; nothing where cells are not followed.
pub(super) fn series(
    dir: &Path,
    frames: &[FrameRecord],
    analysis: &Analysis,
) -> Result<Vec<(FrameMetadata, Resumed)>> {
    let Some(tracking) = analysis.tracking else {
        return Ok(Vec::new());
    };
    let mut courses: BTreeMap<SeriesKey, Course> = BTreeMap::new();
    for frame in frames {
        // A channel that is measured only is no series of its own.
        if matches!(frame.fate, Fate::Measured { .. }) {
            continue;
        }
        let course = courses.entry(frame.metadata.series()).or_insert(Course {
            frames: Vec::new(),
            highest_id: 0,
        });
        course.frames.push(frame);
    }
    for course in courses.values_mut() {
        let t = |frame: &&FrameRecord| frame.metadata.index.get("t").copied();
        course.frames.sort_by_key(t);
        for frame in &course.frames {
            for cell in cells(dir, frame)? {
                let id = cell.track.map_or(0, |track| track.id);
                course.highest_id = course.highest_id.max(id);
            }
        }
    }
    let mut resumed = Vec::new();
    for course in courses.values() {
        resumed.extend(resume(dir, course, &tracking)?);
    }
    Ok(resumed)
}

/// None: no frame of it was segmented.
fn resume(
    dir: &Path,
    course: &Course,
    tracking: &Tracking,
) -> Result<Option<(FrameMetadata, Resumed)>> {
    let segmented = |frame: &FrameRecord| match &frame.fate {
        Fate::Segmented(summary) => Some(Summary::clone(summary)),
        _ => None,
    };
    let frames = &course.frames;
    let Some(last) = frames.iter().rfind(|frame| segmented(frame).is_some()) else {
        return Ok(None);
    };
    let size = segmented(last).map(|summary| (summary.width, summary.height));
    let (width, height) = size.unwrap_or_default();
    let mut cells_seen = BTreeSet::new();
    let mut resumed = Resumed {
        width,
        height,
        next_id: course.highest_id + 1,
        cells: Vec::new(),
    };
    // Backwards from the end: how often a cell was missed since, how often nobody looked, how far everything moved.
    let (mut missing, mut dropped, mut drifted_px) = (0, 0, (0.0, 0.0));
    for frame in frames.iter().rev() {
        let Some(summary) = segmented(frame) else {
            missing += 1;
            dropped += 1;
            continue;
        };
        if (summary.width, summary.height) != (width, height)
            || missing - dropped > tracking.max_gap
        {
            break;
        }
        for cell in cells(dir, frame)? {
            if let Some(track) = cell.track
                && cells_seen.insert(track.id)
            {
                resumed.cells.push(ResumedCell {
                    track,
                    class_index: cell.class_index,
                    mask: cell.mask,
                    missing,
                    dropped,
                    drifted_px,
                });
            }
        }
        let (x, y) = summary.drift_px.unwrap_or_default();
        drifted_px = (drifted_px.0 + x, drifted_px.1 + y);
        missing += 1;
    }
    Ok(Some((last.metadata.clone(), resumed)))
}

/// Nothing of a frame that was not segmented.
fn cells(dir: &Path, frame: &FrameRecord) -> Result<Vec<Instance>> {
    let Fate::Segmented(summary) = &frame.fate else {
        return Ok(Vec::new());
    };
    let path = dir.join(format!("{}.json", frame.image_id));
    let read = || -> Result<Vec<Instance>> {
        let list = fs::read(&path)?;
        Ok(coco::read(&list, (summary.width, summary.height))?)
    };
    read().with_context(|| format!("cannot go on from {}", path.display()))
}
