//! The cells of a session's last segmented frames: those in which later frames are measured.

use std::{collections::BTreeMap, sync::Arc};

use crate::segmentation::Segmentation;

/// Bytes of cells that are kept for one session; past them the oldest frames go early.
pub const KEPT_BYTES: u64 = 64 << 20;

/// Why there are no cells to measure a frame in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// No such frame.
    Unknown {
        /// Frames that are kept at most.
        most: usize,
        /// Ids of those that are kept, the last first.
        known: Vec<u64>,
    },
    /// Frames differ.
    OtherSize {
        /// Of the frame to be measured, pixels.
        size: (u32, u32),
        /// Of the frame with the cells, pixels.
        kept: (u32, u32),
    },
}

/// Cells by their frame's place in the session.
#[derive(Debug)]
pub struct Kept {
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
    pub fn new(most: u32) -> Self {
        Kept {
            most: most as usize,
            frames: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Takes the cells of the frame `id`, `seq` its place. Of the frames before `turn`, which whoever is measured next may name,
    /// the last ones stay; frames after it are kept beside them: lanes may be done with them early.
    pub fn keep(&mut self, seq: u64, id: u64, cells: &Arc<Segmentation>, turn: u64) {
        if self.most == 0 {
            return;
        }
        let bytes = cells.bytes();
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

    /// The cells of the last frame `id` before the place `seq`, for a frame of this size that is measured in them. `Err`: why there
    /// are none.
    pub fn find(
        &self,
        id: u64,
        seq: u64,
        (width, height): (u32, u32),
    ) -> Result<Arc<Segmentation>, NotKept> {
        let earlier = || self.frames.range(..seq).rev().take(self.most);
        let Some((_, frame)) = earlier().find(|(_, frame)| frame.id == id) else {
            return Err(NotKept::Unknown {
                most: self.most,
                known: earlier().map(|(_, frame)| frame.id).collect(),
            });
        };
        let cells = &frame.cells;
        if (cells.width, cells.height) != (width, height) {
            return Err(NotKept::OtherSize {
                size: (width, height),
                kept: (cells.width, cells.height),
            });
        }
        Ok(Arc::clone(cells))
    }
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
        assert!(kept.find(10, 4, (3, 1)).is_ok());
        assert!(kept.find(9, 4, (2, 1)).is_ok());
        let unknown = NotKept::Unknown {
            most: 2,
            known: vec![10, 9],
        };
        assert_eq!(kept.find(8, 4, (5, 1)).unwrap_err(), unknown);
        assert!(kept.find(8, 6, (5, 1)).is_ok());
        let other = NotKept::OtherSize {
            size: (5, 2),
            kept: (5, 1),
        };
        assert_eq!(kept.find(8, 6, (5, 2)).unwrap_err(), other);
        assert!(Kept::new(0).find(1, 9, (1, 1)).is_err());
    }
}
