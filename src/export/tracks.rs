//! The tracks of a series: where each cell was seen, and whose daughter it is.

use std::collections::BTreeMap;

use super::{FrameCells, table::centroid};

/// The tracks of one series, gathered frame by frame.
#[derive(Clone, Debug, Default)]
pub struct Tracks {
    frames: u32,
    by_id: BTreeMap<u64, History>,
}

/// One cell through time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// It came of that cell's division.
    pub parent_id: Option<u64>,
    /// In the order of the frames; at least one.
    pub seen: Vec<Sighting>,
}

/// A cell in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting {
    /// Number of the frame in its series, from 0, frames without an answer counted.
    pub frame: u32,
    /// Since the experiment's start, where known.
    pub hours: Option<f64>,
    /// Pixel edges.
    pub centroid_px: (f64, f64),
    /// Since it was last seen, drift taken out.
    pub moved_px: Option<(f64, f64)>,
    /// Pixels.
    pub area_px: u32,
    /// Of the frame.
    pub pixel_size_um: Option<f64>,
}

impl Tracks {
    /// Adds the next frame of the series; none: it was dropped, or failed.
    pub fn add(&mut self, frame: Option<&FrameCells>) {
        let number = self.frames;
        self.frames += 1;
        let Some(frame) = frame else { return };
        for cell in &frame.segmentation.instances {
            let Some(track) = &cell.track else { continue };
            let history = self.by_id.entry(track.id).or_default();
            history.parent_id = history.parent_id.or(track.parent_id);
            history.seen.push(Sighting {
                frame: number,
                hours: frame.metadata.elapsed_ms.map(|ms| ms / 3_600_000.0),
                centroid_px: cell
                    .measures
                    .as_ref()
                    .map_or_else(|| centroid(&cell.mask), |it| it.centroid_px),
                moved_px: track.moved_px,
                area_px: cell.area,
                pixel_size_um: frame.metadata.pixel_size_um,
            });
        }
    }

    /// Frames added, those without an answer too.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Every track by rising id.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &History)> {
        self.by_id.iter().map(|(&id, history)| (id, history))
    }

    /// Its ancestors from the first one that was seen, itself last.
    pub fn lineage(&self, id: u64) -> Vec<u64> {
        let mut line = vec![id];
        let mut at = id;
        // A parent has the smaller id; whatever else a file says must not go round for ever.
        while let Some(parent) = self.parent(at).filter(|&parent| parent < at) {
            line.push(parent);
            at = parent;
        }
        line.reverse();
        line
    }

    /// Cells that came of its division.
    pub fn daughters(&self) -> BTreeMap<u64, u32> {
        let mut daughters = BTreeMap::new();
        for history in self.by_id.values() {
            if let Some(parent) = history.parent_id {
                *daughters.entry(parent).or_default() += 1;
            }
        }
        daughters
    }

    /// A parent that was seen itself.
    fn parent(&self, id: u64) -> Option<u64> {
        let parent = self.by_id.get(&id)?.parent_id?;
        self.by_id.contains_key(&parent).then_some(parent)
    }
}

impl History {
    /// Where it was first seen.
    pub fn first(&self) -> &Sighting {
        self.seen.first().expect("a track has been seen")
    }

    /// Where it was last seen.
    pub fn last(&self) -> &Sighting {
        self.seen.last().expect("a track has been seen")
    }

    /// Length of its way, drift taken out, pixels; none where that is not known.
    pub fn path_px(&self) -> Option<f64> {
        self.seen[1..]
            .iter()
            .map(|sighting| sighting.moved_px)
            .try_fold(0.0, |sum, moved| moved.map(|(x, y)| sum + x.hypot(y)))
    }

    /// Mean of its areas, pixels.
    pub fn mean_area_px(&self) -> f64 {
        let sum: f64 = self.seen.iter().map(|it| f64::from(it.area_px)).sum();
        sum / self.seen.len() as f64
    }
}
