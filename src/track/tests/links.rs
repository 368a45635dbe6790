//! How many links of simulated cells are right.

use std::collections::HashMap;

use super::{
    simulation::{Scene, Shown, World},
    tracks,
};
use crate::{params::Tracking, track::Tracker};

#[test]
fn a_jump_of_the_stage_is_told_and_changes_no_id() {
    for seed in 0..4 {
        for jump in [
            (0.0, 0.0),
            (4.0, -3.0),
            (130.0, 0.0),
            (-70.0, 110.0),
            (0.0, -137.0),
        ] {
            let mut world = World::new(Scene::crowded(seed));
            let mut tracker = Tracker::new(Tracking::default());
            let mut links = Links::default();
            for frame in 0..4 {
                let shown = world.next(if frame == 2 { jump } else { (0.0, 0.0) });
                let drift = links.follow(&mut tracker, &shown);
                if frame == 2 {
                    let (x, y) = drift.expect("there are cells enough");
                    let off = (x - jump.0).hypot(y - jump.1);
                    assert!(off < 1.0, "seed {seed}: {jump:?} was taken for ({x}, {y})");
                }
            }
            let right = links.right();
            assert!(
                right > 0.97,
                "seed {seed}, {jump:?}: {right} of links right"
            );
        }
    }
}

#[test]
fn nearly_every_link_of_a_simulated_sequence_is_right() {
    let mut all = Links::default();
    for seed in 0..6 {
        let mut world = World::new(Scene::growing(seed));
        let mut tracker = Tracker::new(Tracking::default());
        let mut links = Links::default();
        for frame in 0..40 {
            if frame % 13 == 7 {
                world.next((0.0, 0.0));
                tracker.missed();
                continue;
            }
            // The stage jitters by a pixel or two, and is moved once.
            let jump = if frame == 20 {
                (90.0, -60.0)
            } else {
                (f64::from(frame % 3) - 1.0, f64::from(frame % 5) - 2.0)
            };
            links.follow(&mut tracker, &world.next(jump));
        }
        let (right, divisions) = (links.right(), links.divisions_found());
        assert!(right >= 0.98, "seed {seed}: {right} of links right");
        assert!(
            divisions >= 0.6,
            "seed {seed}: {divisions} of divisions found"
        );
        all.add(links);
    }
    let found = (all.right(), all.divisions_found(), all.divisions_right());
    assert!(
        found.0 >= 0.98 && found.1 >= 0.85 && found.2 >= 0.85,
        "links right, divisions found, of those named right: {found:?}"
    );
}

/// What became of the links of a sequence.
#[derive(Default)]
struct Links {
    /// Of each true cell: who it was taken for, where it was last shown.
    last: HashMap<u64, u64>,
    true_links: usize,
    right_links: usize,
    true_divisions: usize,
    right_divisions: usize,
    named_divisions: usize,
}

impl Links {
    fn follow(&mut self, tracker: &mut Tracker, shown: &Shown) -> Option<(f64, f64)> {
        let mut instances = shown.instances.clone();
        let drift = tracker.follow(shown.size, None, &mut instances);
        let before = self.last.clone();
        let mut parents: HashMap<u64, Vec<u64>> = HashMap::new();
        for (track, truth) in tracks(&instances).into_iter().zip(&shown.truth) {
            if let Some(&taken_for) = before.get(&truth.id) {
                self.true_links += 1;
                self.right_links += usize::from(taken_for == track.id);
            }
            if track.age == 1 && track.parent_id.is_some() {
                self.named_divisions += 1;
            }
            if let Some(mother) = truth.mother.filter(|_| truth.is_first)
                && let Some(&mother) = before.get(&mother)
                && track.parent_id == Some(mother)
            {
                parents.entry(mother).or_default().push(track.id);
            }
            self.last.insert(truth.id, track.id);
        }
        self.true_divisions += shown.divisions;
        self.right_divisions += parents
            .values()
            .filter(|daughters| daughters.len() == 2)
            .count();
        drift
    }

    fn add(&mut self, other: Links) {
        self.true_links += other.true_links;
        self.right_links += other.right_links;
        self.true_divisions += other.true_divisions;
        self.right_divisions += other.right_divisions;
        self.named_divisions += other.named_divisions;
    }

    fn right(&self) -> f64 {
        self.right_links as f64 / self.true_links as f64
    }

    fn divisions_found(&self) -> f64 {
        self.right_divisions as f64 / self.true_divisions as f64
    }

    fn divisions_right(&self) -> f64 {
        2.0 * self.right_divisions as f64 / self.named_divisions as f64
    }
}
