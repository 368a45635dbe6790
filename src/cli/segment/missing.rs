//! `segment --missing`: what an earlier run left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use super::{Segment, run::Run};
use crate::{
    cli::{
        UsageError,
        choices::Choices,
        inputs::{Group, Lister, Listing, Plane},
        progress::Progress,
        record::{self, Fate, Folder, FrameRecord, Options, RunRecord},
        segmenter::Wishes,
    },
    mask::Ring,
    params::Analysis,
};

impl Segment {
    /// Identities follow from one frame to the next, and the frames after a gap have theirs already: what is filled in has none.
    pub(super) fn fill_in(&self, record: &Path) -> Result<ExitCode> {
        let dir = match record.is_dir() {
            true => record.to_owned(),
            false => record.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let run = record::read(&dir)?;
        let groups = missing(&run.header, &run.frames, &dir)?;
        let options = &run.header.options;
        let followed = options.tracking.is_some() || options.growth.is_some();
        let notice = notice(followed, options.smoothing > 0.0);
        let other_channels = groups.iter().any(|group| !group.measured.is_empty());
        let wishes = wishes(options, other_channels)
            .with_context(|| format!("the options in {} cannot be used", record.display()))?;
        if groups.is_empty() {
            eprintln!("nothing is missing in {}", dir.display());
            return Ok(ExitCode::SUCCESS);
        }
        let segmenter = self.open(&wishes)?;
        let model = &segmenter.provenance().model;
        if model.sha256 != run.header.model.sha256 {
            bail!(UsageError(format!(
                "the run was made with model {} (sha256 {}), this is {} ({}): name the same one with --model",
                run.header.model.name, run.header.model.sha256, model.name, model.sha256
            )));
        }
        let n_frames = groups.iter().map(|group| group.planes().count());
        let progress = Progress::new(n_frames.sum());
        let folder = Folder::go_on(&dir, run)?;
        let mut run = Run::new(folder, self.products, segmenter, progress);
        run.note_on_all(notice);
        run.all(groups)
    }
}

/// Groups with a frame that was not segmented or measured. Metadata is that of the record, where there is one.
fn missing(header: &RunRecord, frames: &[FrameRecord], dir: &Path) -> Result<Vec<Group>> {
    let by_id: BTreeMap<&str, &FrameRecord> = frames
        .iter()
        .map(|frame| (frame.image_id.as_str(), frame))
        .collect();
    let is_missing = |plane: &Plane| {
        let frame = by_id.get(plane.image_id.as_str());
        frame.is_none_or(|frame| matches!(frame.fate, Fate::Dropped(_) | Fate::Failed(_)))
    };
    let mut groups = match &header.inputs {
        None => Vec::new(),
        Some(listing) => {
            let paths = listing.watch.iter().chain(&listing.paths);
            let again = Listing {
                paths: paths.cloned().collect(),
                watch: None,
                // What the run did not stop at is no reason to stop now.
                skip_unmatched: true,
                ..listing.clone()
            };
            Lister::new(again)?.all()?.groups
        }
    };
    let mut listed = BTreeSet::new();
    for group in &mut groups {
        for plane in [&mut group.main].into_iter().chain(&mut group.measured) {
            if let Some(frame) = by_id.get(plane.image_id.as_str()) {
                plane.metadata = frame.metadata.clone();
            }
            listed.insert(plane.image_id.clone());
        }
    }
    // A live run knows frames that are in no listing; those whose pixels were kept can be read.
    let unlisted = frames
        .iter()
        .filter(|frame| !listed.contains(&frame.image_id));
    groups.extend(unlisted.filter_map(|frame| {
        Some(Group {
            main: Plane {
                path: file_of(frame, dir)?,
                page: frame.page,
                in_stack: frame.page > 0,
                image_id: frame.image_id.clone(),
                metadata: frame.metadata.clone(),
            },
            measured: Vec::new(),
        })
    }));
    groups.retain(|group| group.planes().any(is_missing));
    Ok(groups)
}

/// What sets a frame that is filled in apart from those of its run.
fn notice(followed: bool, smoothed: bool) -> String {
    let mut notice = "filled in after the run".to_owned();
    if followed {
        notice += ": without track ids and growth";
    }
    if smoothed {
        notice += "; shown by its own brightness, not smoothed";
    }
    notice
}

/// As recorded, else beside the record. None: its pixels were not kept.
fn file_of(frame: &FrameRecord, dir: &Path) -> Option<PathBuf> {
    let file = PathBuf::from(&frame.file);
    let found = [file.clone(), dir.join(&file)];
    found.into_iter().find(|path| path.is_file())
}

fn wishes(options: &Options, other_channels: bool) -> Result<Wishes> {
    let normalization = options.normalization.normalization();
    let normalization = normalization.context("options.normalization is not known")?;
    let tiling = options.tiling.tiling();
    let tiling = tiling.context("options.tiling.mode must be auto, on or off")?;
    let region = options.region.as_ref().map(|rings| {
        let rings = rings.iter().map(|corners| Ring {
            corners: corners.clone(),
            hole: false,
        });
        rings.collect::<Vec<Ring>>().into()
    });
    let flat_field = options.flat_field.as_ref();
    Ok(Wishes {
        choices: Choices {
            as_recorded: Some(Box::new((options.thresholds.clone(), normalization))),
            tiling: Some(tiling.mode),
            overlap: Some(tiling.overlap),
            target_um: tiling.target_um_per_px,
            raw_masks: options.raw_masks,
            ..Choices::default()
        },
        analysis: Analysis {
            region,
            measurements: options.measurements,
            tracking: None,
            growth: None,
        },
        other_channels,
        flat: flat_field.map(|files| PathBuf::from(&files.flat)),
        dark: flat_field.and_then(|files| files.dark.as_ref().map(PathBuf::from)),
        ..Wishes::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_frame_that_is_filled_in_lacks_is_said() {
        assert_eq!(notice(false, false), "filled in after the run");
        assert!(notice(true, false).ends_with(": without track ids and growth"));
        let both = notice(true, true);
        assert!(
            both.contains("growth; shown by its own brightness"),
            "{both}"
        );
        assert!(notice(false, true).ends_with("not smoothed"));
    }
}
