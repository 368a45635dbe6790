//! Identities from frame to frame of one series, while it runs.
//!
//! Each frame: first by how much the whole frame moved (`drift`), then which cell is which (`link`), by the
//! overlap of masks and by motion, cells that were missing and divisions included. The same frames give the same ids, on every
//! machine. What is kept is what a client can hand back after a lost connection: the cells as they were last seen, and the next
//! id. It does not look ahead, so that what later frames would correct stays as it was answered.

mod assign;
mod body;
mod divide;
mod drift;
mod grid;
mod link;
mod overlap;
mod resume;
#[cfg(test)]
mod tests;

use body::{Body, Known, minus, plus};
use link::{Link, Scene};
pub use resume::{ResumeError, Resumed, ResumedCell, check_ids};

use crate::{
    params::{Distance, Tracking},
    segmentation::{Instance, Track},
};

/// The cells of one series and who they are.
#[derive(Debug)]
pub struct Tracker {
    options: Tracking,
    /// Of the last frame; none before the first.
    size: Option<(u32, u32)>,
    next_id: u64,
    /// Rising ids.
    known: Vec<Known>,
}

impl Tracker {
    /// Before the first frame.
    pub fn new(options: Tracking) -> Self {
        Tracker::starting_at(options, 1)
    }

    /// Before the first frame, where smaller ids than `next_id` were given already: to cells that nobody knows any more.
    pub fn starting_at(options: Tracking, next_id: u64) -> Self {
        Tracker {
            options,
            size: None,
            next_id,
            known: Vec::new(),
        }
    }

    /// After an earlier session's last frame: goes on as if it had not stopped.
    pub fn resume(options: Tracking, resumed: Resumed) -> Result<Self, ResumeError> {
        let (size, next_id) = ((resumed.width, resumed.height), resumed.next_id);
        let mut known = resume::known(resumed)?;
        known.retain(|cell| cell.unseen() <= options.max_gap);
        Ok(Tracker {
            options,
            size: Some(size),
            next_id,
            known,
        })
    }

    /// Pixels of the last frame; none before the first. Where the next one has others, nobody in it is known.
    pub fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

    /// The id of the next new cell: above every id so far.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Memory that it holds, about: that of the cells it knows.
    pub fn bytes(&self) -> usize {
        let cells = self
            .known
            .iter()
            .map(|cell| size_of::<Known>() + size_of_val(cell.body.mask.words()));
        cells.sum()
    }

    /// A frame of the series was dropped or failed: nobody was seen in it. Cells may have moved further in the next one, and are
    /// older by it, but no track ends because nobody looked.
    pub fn missed(&mut self) {
        for cell in &mut self.known {
            cell.missing = cell.missing.saturating_add(1);
            cell.dropped = cell.dropped.saturating_add(1);
        }
    }

    /// Says who the instances of the next frame are, hidden ones too. Returns by how much the frame moved since the last one,
    /// pixels to the right and down; none where too few cells are in both to tell.
    pub fn follow(
        &mut self,
        size: (u32, u32),
        pixel_size_um: Option<f64>,
        instances: &mut [Instance],
    ) -> Option<(f64, f64)> {
        if self.size.is_some_and(|last| last != size) {
            self.known.clear();
        }
        self.size = Some(size);
        let seen: Vec<Body> = instances
            .iter()
            .map(|instance| Body::new(&instance.mask, instance.class_index))
            .collect();
        let last = self.known.iter().map(|cell| cell.missing).min();
        let of_last: Vec<&Known> = self
            .known
            .iter()
            .filter(|cell| Some(cell.missing) == last)
            .collect();
        let drift = drift::drift(&of_last, &seen, size);
        let scene = Scene {
            known: &self.known,
            seen: &seen,
            drift: drift.unwrap_or_default(),
            most_px: most_px(self.options.max_distance, pixel_size_um),
        };
        let links = scene.links(self.options.divisions);
        self.settle(seen, &links, drift.unwrap_or_default(), instances);
        drift
    }

    /// Gives ids, and keeps what the next frame needs.
    fn settle(
        &mut self,
        seen: Vec<Body>,
        links: &[Link],
        drift: (f64, f64),
        instances: &mut [Instance],
    ) {
        let mut found = vec![false; self.known.len()];
        let mut next = Vec::with_capacity(seen.len());
        for ((body, link), instance) in seen.into_iter().zip(links).zip(instances) {
            let track = match *link {
                Link::Same(known) => {
                    found[known] = true;
                    self.known[known].seen_again(&body, drift)
                }
                Link::Daughter(mother) => {
                    found[mother] = true;
                    self.new_track(Some(self.known[mother].track.id))
                }
                Link::New => self.new_track(None),
            };
            instance.track = Some(track);
            next.push(Known {
                track,
                body,
                missing: 0,
                dropped: 0,
                drifted: (0.0, 0.0),
            });
        }
        for (mut cell, found) in std::mem::take(&mut self.known).into_iter().zip(found) {
            cell.missing = cell.missing.saturating_add(1);
            cell.drifted = plus(cell.drifted, drift);
            if !found && cell.unseen() <= self.options.max_gap {
                next.push(cell);
            }
        }
        next.sort_by_key(|cell| cell.track.id);
        self.known = next;
    }

    fn new_track(&mut self, parent_id: Option<u64>) -> Track {
        let id = self.next_id;
        self.next_id += 1;
        Track {
            id,
            parent_id,
            age: 1,
            gap: 0,
            moved_px: None,
        }
    }
}

impl Known {
    /// Its identity now that it is seen as `body`, in a frame that moved by `drift`.
    fn seen_again(&self, body: &Body, drift: (f64, f64)) -> Track {
        Track {
            age: self
                .track
                .age
                .saturating_add(self.missing)
                .saturating_add(1),
            gap: self.missing,
            moved_px: Some(minus(body.centroid, plus(self.stayed(), drift))),
            ..self.track
        }
    }
}

/// The option in pixels; none where it is not given, or in micrometres that nobody can convert.
fn most_px(distance: Option<Distance>, pixel_size_um: Option<f64>) -> Option<f64> {
    match distance? {
        Distance::Px(px) => Some(px),
        Distance::Um(um) => pixel_size_um.map(|size| um / size),
    }
}
