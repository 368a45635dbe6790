//! The tables of cells and of tracks of a run.

use std::path::Path;

use anyhow::Result;

use super::{
    folder::{RunFolder, Series},
    to_file,
};
use crate::export::{
    table::{CellTable, Format, channels, track_table},
    tracks::Tracks,
};

/// Writes `cells` and, where cells were tracked, `tracks`.
pub(super) fn write(run: &RunFolder, out: &Path, format: Format) -> Result<String> {
    let extension = match format {
        Format::Csv => "csv",
        Format::Parquet => "parquet",
    };
    // Once to know the columns, once to write: a run is larger than memory.
    let mut found = std::collections::BTreeSet::new();
    run.each(|frame| {
        found.extend(channels(frame.segmentation));
        Ok(())
    })?;
    let mut n_cells = 0;
    to_file(&out.join(format!("cells.{extension}")), |file| {
        let mut table = CellTable::new(format, file, &found, &run.provenance)?;
        run.each(|frame| {
            n_cells += frame.segmentation.instances.len();
            Ok(table.add(frame)?)
        })?;
        Ok(table.finish()?)
    })?;
    let tracks = all_tracks(run)?;
    let n_tracks: usize = tracks.iter().map(|(_, tracks)| tracks.iter().count()).sum();
    if n_tracks == 0 {
        return Ok(format!("{n_cells} cells: cells.{extension}"));
    }
    to_file(&out.join(format!("tracks.{extension}")), |file| {
        let series: Vec<_> = tracks
            .iter()
            .map(|(name, tracks)| (name.clone(), tracks))
            .collect();
        Ok(track_table(format, file, &series, &run.provenance)?)
    })?;
    Ok(format!(
        "{n_cells} cells in {n_tracks} tracks: cells.{extension} and tracks.{extension}"
    ))
}

fn all_tracks(run: &RunFolder) -> Result<Vec<(String, Tracks)>> {
    let series = run.series();
    series
        .iter()
        .map(|it| Ok((it.name.clone(), tracks(run, it)?)))
        .collect()
}

/// The tracks of a series; frames without an answer count.
pub(super) fn tracks(run: &RunFolder, series: &Series) -> Result<Tracks> {
    let mut tracks = Tracks::default();
    for record in &series.frames {
        let loaded = run.load(record)?;
        tracks.add(loaded.as_ref().map(|loaded| loaded.cells()).as_ref());
    }
    Ok(tracks)
}
