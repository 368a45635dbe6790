//! A tracker that goes on from answers alone.

use proptest::prelude::*;

use super::{
    simulation::{Scene, World},
    tracks,
};
use crate::{
    params::Tracking,
    segmentation::Instance,
    track::{Resumed, ResumedCell, Tracker},
};

/// What a client knows of a series from its answers, so that it can go on with it.
struct Client {
    options: Tracking,
    resumed: Resumed,
}

impl Client {
    fn answered(&mut self, size: (u32, u32), drift: Option<(f64, f64)>, instances: &[Instance]) {
        (self.resumed.width, self.resumed.height) = size;
        let (x, y) = drift.unwrap_or_default();
        for cell in &mut self.resumed.cells {
            cell.missing += 1;
            cell.drifted_px.0 += x;
            cell.drifted_px.1 += y;
        }
        let seen = tracks(instances);
        self.resumed.cells.retain(|cell| {
            let id = cell.track.id;
            seen.iter().all(|track| track.id != id)
                && cell.missing <= self.options.max_gap + cell.dropped
        });
        for (track, instance) in seen.into_iter().zip(instances) {
            self.resumed.next_id = self.resumed.next_id.max(track.id + 1);
            self.resumed.cells.push(ResumedCell {
                track,
                class_index: instance.class_index,
                mask: instance.mask.clone(),
                missing: 0,
                dropped: 0,
                drifted_px: (0.0, 0.0),
            });
        }
    }

    fn missed(&mut self) {
        for cell in &mut self.resumed.cells {
            cell.missing += 1;
            cell.dropped += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_resumed_tracker_decides_as_if_it_had_not_stopped(seed in 0u64..1000, cut in 1usize..12, dropped in 0usize..12) {
        let options = Tracking::default();
        let mut world = World::new(Scene::growing(seed));
        let mut whole = Tracker::new(options);
        let mut client = Client { options, resumed: Resumed { next_id: 1, ..Resumed::default() } };
        let mut resumed: Option<Tracker> = None;
        for frame in 0..12 {
            let jump = if frame == 6 { (60.0, 40.0) } else { (1.0, -0.5) };
            let shown = world.next(jump);
            if frame == cut {
                let mut state = client.resumed.clone();
                state.cells.reverse();
                resumed = Some(Tracker::resume(options, state).expect("the answers can be resumed"));
            }
            if frame == dropped && frame > 0 {
                whole.missed();
                client.missed();
                if let Some(tracker) = &mut resumed { tracker.missed() }
                continue;
            }
            let mut instances = shown.instances.clone();
            let drift = whole.follow(shown.size, None, &mut instances);
            client.answered(shown.size, drift, &instances);
            if let Some(tracker) = &mut resumed {
                let mut again = shown.instances.clone();
                prop_assert_eq!(tracker.follow(shown.size, None, &mut again), drift);
                prop_assert_eq!(tracks(&again), tracks(&instances), "frame {}", frame);
            }
        }
    }
}
