//! The Cell Tracking Challenge's result layout: `maskTTT.tif`, a label image a frame, and `res_track.txt`.
//!
//! There a track is seen in every frame from its first to its last. One that is missing in between, because the cell was not found or
//! the frame was not answered, is split, and what comes before is the parent of what comes after. A frame without an answer is an
//! empty image, so that the files stay contiguous.

use std::{
    collections::BTreeMap,
    io::{Seek, Write},
};

use super::{ExportError, FrameCells, Provenance, labels, tracks::Tracks};

/// How the tracks of a series are written: as parts without gaps.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    frames: u32,
    /// By label.
    parts: BTreeMap<u16, Part>,
    /// (track, first frame of a part) to its label.
    labels: BTreeMap<(u64, u32), u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    first: u32,
    last: u32,
    parent: u16,
}

impl Layout {
    /// The first part of a track keeps its id as label, later ones get labels that no track has.
    pub fn new(tracks: &Tracks) -> Result<Self, ExportError> {
        let mut layout = Layout {
            frames: tracks.frames(),
            parts: BTreeMap::new(),
            labels: BTreeMap::new(),
        };
        let mut next = 1 + tracks.iter().map(|(id, _)| id).max().unwrap_or_default();
        // A track's label after its last part: what daughters have as parent.
        let mut last_labels = BTreeMap::new();
        for (id, history) in tracks.iter() {
            let mut label = fitting(id)?;
            let mut parent = history
                .parent_id
                .and_then(|parent| last_labels.get(&parent))
                .copied()
                .filter(|parent| layout.parts[parent].last < history.first().frame)
                .unwrap_or_default();
            let follows =
                |a: &super::tracks::Sighting, b: &super::tracks::Sighting| a.frame + 1 == b.frame;
            for (i, seen) in history.seen.chunk_by(follows).enumerate() {
                if i > 0 {
                    parent = label;
                    label = fitting(next)?;
                    next += 1;
                }
                let part = Part {
                    first: seen[0].frame,
                    last: seen[seen.len() - 1].frame,
                    parent,
                };
                layout.parts.insert(label, part);
                layout.labels.insert((id, part.first), label);
            }
            last_labels.insert(id, label);
        }
        Ok(layout)
    }

    /// The file of a frame: three digits, or as many as the last frame needs.
    pub fn mask_name(&self, frame: u32) -> String {
        let digits = self.frames.saturating_sub(1).to_string().len().max(3);
        format!("mask{frame:0digits$}.tif")
    }

    /// Writes `res_track.txt`: label, first frame, last frame, parent's label or 0.
    pub fn write_tracks(&self, mut out: impl Write) -> Result<(), ExportError> {
        for (label, part) in &self.parts {
            writeln!(out, "{label} {} {} {}", part.first, part.last, part.parent)?;
        }
        Ok(())
    }

    /// Writes the label image of frame number `frame` of the series. Cells that are not tracked are left out.
    pub fn write_mask(
        &self,
        out: impl Write + Seek,
        frame: u32,
        cells: &FrameCells,
        provenance: &Provenance,
    ) -> Result<(), ExportError> {
        let tracked = cells.segmentation.instances.iter().filter_map(|cell| {
            let id = cell.track?.id;
            let before = self.labels.range((id, 0)..=(id, frame));
            Some((&cell.mask, *before.last()?.1))
        });
        let size = (cells.segmentation.width, cells.segmentation.height);
        let image = labels::painted(tracked, size);
        labels::plain_tiff(out, &image, size, &provenance.line())
    }

    /// Writes the image of a frame without an answer.
    pub fn write_empty(
        &self,
        out: impl Write + Seek,
        size: (u32, u32),
        provenance: &Provenance,
    ) -> Result<(), ExportError> {
        let image = labels::painted(std::iter::empty(), size);
        labels::plain_tiff(out, &image, size, &provenance.line())
    }
}

fn fitting(id: u64) -> Result<u16, ExportError> {
    u16::try_from(id).map_err(|_| {
        ExportError::DoesNotFit(format!(
            "track {id}: a Cell Tracking Challenge mask holds labels up to 65535; export a shorter time, or --as csv"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::division;

    #[test]
    fn a_gap_splits_a_track_with_its_first_part_as_parent() {
        let layout = Layout::new(&division()).unwrap();
        let mut out = Vec::new();
        layout.write_tracks(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1 0 0 0\n2 3 3 4\n3 3 3 4\n4 2 2 1\n"
        );
        assert_eq!(layout.mask_name(3), "mask003.tif");
    }

    #[test]
    fn ids_over_16_bits_are_refused() {
        assert_eq!(fitting(65_535).unwrap(), 65_535);
        let error = fitting(65_536).unwrap_err().to_string();
        assert!(
            error.contains("65536") && error.contains("65535"),
            "{error}"
        );
    }
}
