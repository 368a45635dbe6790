//! The cells of a session's last segmented frames: those in which later frames are measured.

use std::{collections::BTreeMap, sync::Arc};

use crate::segmentation::{Instance, Segmentation};

/// Bytes of cells that are kept for one session; past them the oldest frames go early.
pub(crate) const KEPT_BYTES: u64 = 64 << 20;

/// Cells by their frame's place in the session.
#[derive(Debug)]
pub(super) struct Kept {
    most: usize,
    frames: BTreeMap<u64, Frame>,
    bytes: usize,
}

#[derive(Debug)]
struct Frame {
    id: u64,
    cells: Arc<Segmentation>,
    bytes: usize,
}

impl Kept {
    /// For the last `most` frames.
    pub(super) fn new(most: u32) -> Self {
        Kept {
            most: most as usize,
            frames: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Takes the cells of the frame `id`, `seq` its place. Of the frames before `turn`, which whoever is measured next may name,
    /// the last ones stay; frames after it are kept beside them: lanes may be done with them early.
    pub(super) fn keep(&mut self, seq: u64, id: u64, cells: &Arc<Segmentation>, turn: u64) {
        if self.most == 0 {
            return;
        }
        let bytes = cells.instances.iter().map(bytes_of).sum();
        let cells = Arc::clone(cells);
        self.bytes += bytes;
        self.frames.insert(seq, Frame { id, cells, bytes });
        while self.most < self.frames.range(..turn.max(1)).count()
            || KEPT_BYTES < self.bytes as u64 && 1 < self.frames.len()
        {
            if let Some((_, gone)) = self.frames.pop_first() {
                self.bytes -= gone.bytes;
            }
        }
    }

    /// The cells of the last frame `id` before the place `seq`. `Err`: why there are none.
    pub(super) fn find(&self, id: u64, seq: u64) -> Result<Arc<Segmentation>, String> {
        let earlier = || self.frames.range(..seq).rev().take(self.most);
        match earlier().find(|(_, frame)| frame.id == id) {
            Some((_, frame)) => Ok(Arc::clone(&frame.cells)),
            None => {
                let known: Vec<String> = earlier().map(|(_, frame)| frame.id.to_string()).collect();
                Err(format!(
                    "measure_on {id}: no such frame among the last {} that were segmented before this one ({}); it was dropped, failed, answered with raw_masks, or is too long ago",
                    self.most,
                    known.join(", ")
                ))
            }
        }
    }
}

/// A cell with all that it holds.
fn bytes_of(cell: &Instance) -> usize {
    let measures = cell.measures.as_deref().map_or(0, |measures| {
        size_of_val(measures) + size_of_val(&measures.intensity[..])
    });
    size_of_val(cell) + size_of_val(cell.mask.words()) + measures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segmentation::{AppliedNormalization, AppliedPolicy};

    fn cells(width: u32) -> Arc<Segmentation> {
        Arc::new(Segmentation {
            width,
            height: 1,
            instances: Vec::new(),
            confluence: 0.0,
            analysed_px: 0,
            removed_by_area: 0,
            removed_at_border: 0,
            neighbourhood: None,
            drift_px: None,
            growth: None,
            normalization: AppliedNormalization {
                low: 0.0,
                high: 1.0,
                policy: AppliedPolicy::FullRange,
            },
            truncated: false,
            notices: Vec::new(),
        })
    }

    #[test]
    fn the_last_frames_are_found_by_their_ids_whatever_lanes_finished_first() {
        let mut kept = Kept::new(2);
        // Place 5 is done before place 3, and an id came twice.
        for (seq, id, turn) in [(0, 7, 1), (1, 8, 2), (2, 9, 3), (5, 8, 3), (3, 10, 4)] {
            kept.keep(seq, id, &cells(seq as u32), turn);
        }
        assert_eq!(kept.find(10, 4).unwrap().width, 3);
        assert_eq!(kept.find(9, 4).unwrap().width, 2);
        let error = kept.find(8, 4).unwrap_err();
        assert!(
            error.contains("measure_on 8") && error.contains("last 2"),
            "{error}"
        );
        assert!(error.contains("(10, 9)"), "{error}");
        assert_eq!(kept.find(8, 6).unwrap().width, 5);
        assert!(Kept::new(0).find(1, 9).is_err());
    }
}
