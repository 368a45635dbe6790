//! What each format writes of a run. Each says what it wrote, for people.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{
    folder::{RunFolder, Series},
    tables::tracks,
    to_file,
};
use crate::{
    cli::{
        UsageError,
        record::{Fate, FrameRecord},
    },
    export::{FrameCells, ctc::Layout, dataset::Dataset, geojson, labels, ome, roi::RoiZip},
};

pub(super) fn geojson(run: &RunFolder, out: &Path) -> Result<String> {
    a_file_each(run, out, "geojson", |path, frame| {
        to_file(path, |file| {
            Ok(geojson::write(file, frame, &run.provenance)?)
        })
    })
}

pub(super) fn ome(run: &RunFolder, out: &Path) -> Result<String> {
    a_file_each(run, out, "ome.xml", |path, frame| {
        to_file(path, |file| Ok(ome::rois(file, frame, &run.provenance)?))
    })
}

pub(super) fn tiff(run: &RunFolder, out: &Path) -> Result<String> {
    a_file_each(run, out, "labels.ome.tif", |path, frame| {
        to_file(path, |file| {
            Ok(labels::ome_tiff(
                file,
                frame,
                labels::By::Cell,
                &run.provenance,
            )?)
        })
    })
}

pub(super) fn coco(run: &RunFolder, out: &Path) -> Result<String> {
    let mut n_frames = 0;
    to_file(&out.join("coco.json"), |file| {
        let mut dataset = Dataset::new(file, &run.provenance)?;
        run.each(|frame| {
            n_frames += 1;
            Ok(dataset.add(frame)?)
        })?;
        Ok(dataset.finish()?)
    })?;
    Ok(format!("{n_frames} frames: coco.json"))
}

/// A zip a series where frames follow one another in time: it is opened on the stack. Else a zip a frame.
pub(super) fn roi(run: &RunFolder, out: &Path) -> Result<String> {
    let mut n_zips = 0;
    let mut zip = |name: &str, frames: &[&FrameRecord]| {
        n_zips += 1;
        to_file(&out.join(format!("{name}.rois.zip")), |file| {
            let mut zip = RoiZip::new(file, &run.provenance)?;
            for record in frames {
                if let Some(loaded) = run.load(record)? {
                    zip.add(&loaded.cells(), &run.provenance)?;
                }
            }
            Ok(zip.finish()?)
        })
    };
    for series in run.series() {
        if series.timed {
            zip(&series.file_name, &series.frames)?;
            continue;
        }
        for &record in &series.frames {
            zip(&record.image_id, &[record])?;
        }
    }
    Ok(format!("{n_zips} zips of regions of interest"))
}

/// A folder a series that has tracks, numbered as the challenge does: 01_RES.
pub(super) fn ctc(run: &RunFolder, out: &Path) -> Result<String> {
    let mut said = Vec::new();
    for series in run.series() {
        let tracks = tracks(run, &series)?;
        if tracks.iter().next().is_none() {
            continue;
        }
        let name = format!("{:02}_RES", said.len() + 1);
        let folder = out.join(&name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let layout = Layout::new(&tracks)?;
        ctc_masks(run, &series, &layout, &folder)?;
        to_file(&folder.join("res_track.txt"), |file| {
            Ok(layout.write_tracks(file)?)
        })?;
        said.push(format!(
            "{name}: {}, {} frames",
            series.name,
            series.frames.len()
        ));
    }
    if said.is_empty() {
        return Err(UsageError(
            match run.tracked() {
                true => "the run was tracked, and no cell was found: there is no track to export",
                false => "no cell is tracked: segment with --track, or export --as tiff",
            }
            .to_owned(),
        )
        .into());
    }
    Ok(said.join("; "))
}

fn ctc_masks(run: &RunFolder, series: &Series, layout: &Layout, folder: &Path) -> Result<()> {
    // Of frames without an answer: that of the last frame before them, or of the first.
    let mut size = series.frames.iter().find_map(|record| size(record));
    for (number, record) in (0..).zip(&series.frames) {
        let loaded = run.load(record)?;
        size = self::size(record).or(size);
        to_file(&folder.join(layout.mask_name(number)), |file| {
            match &loaded {
                Some(loaded) => {
                    layout.write_mask(file, number, &loaded.cells(), &run.provenance)?;
                }
                None => layout.write_empty(file, size.unwrap_or((1, 1)), &run.provenance)?,
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Width and height of a frame with an answer.
fn size(record: &FrameRecord) -> Option<(u32, u32)> {
    match &record.fate {
        Fate::Segmented(summary) => Some((summary.width, summary.height)),
        _ => None,
    }
}

fn a_file_each(
    run: &RunFolder,
    out: &Path,
    extension: &str,
    write: impl Fn(&Path, &FrameCells) -> Result<()>,
) -> Result<String> {
    let mut n_files = 0;
    run.each(|frame| {
        n_files += 1;
        write(&out.join(format!("{}.{extension}", frame.image_id)), frame)
    })?;
    Ok(format!("{n_files} files (.{extension})"))
}
