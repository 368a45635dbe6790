mod links;
mod resumed;
mod simulation;

use super::Tracker;
use crate::{
    geometry::BoxF,
    mask::Mask,
    params::{Distance, Tracking},
    segmentation::{Instance, Track},
};

const SIZE: (u32, u32) = (400, 300);

/// A disc, cut at the frame's edge.
fn disc(x: f64, y: f64, radius: f64) -> Instance {
    disc_in((x, y), radius, SIZE)
}

fn disc_in(middle: (f64, f64), radius: f64, size: (u32, u32)) -> Instance {
    let mask = simulation::ellipse(middle, (radius, radius), 0.0, size);
    instance(mask.expect("it lies in the frame"), 0)
}

fn instance(mask: Mask, class_index: u32) -> Instance {
    Instance {
        class_index,
        score: 0.9,
        detected_box: BoxF {
            x0: 0.0,
            y0: 0.0,
            x1: 1.0,
            y1: 1.0,
        },
        area: mask.area(),
        mask,
        touches_border: false,
        measures: None,
        track: None,
    }
}

fn follow(tracker: &mut Tracker, cells: &[(f64, f64)]) -> Vec<Track> {
    let mut instances: Vec<_> = cells.iter().map(|&(x, y)| disc(x, y, 10.0)).collect();
    tracker.follow(SIZE, None, &mut instances);
    tracks(&instances)
}

fn tracks(instances: &[Instance]) -> Vec<Track> {
    instances
        .iter()
        .map(|instance| instance.track.expect("everybody gets an identity"))
        .collect()
}

fn ids(tracks: &[Track]) -> Vec<u64> {
    tracks.iter().map(|track| track.id).collect()
}

#[test]
fn cells_keep_their_ids_in_whatever_order_they_come() {
    let mut tracker = Tracker::new(Tracking::default());
    assert_eq!(
        ids(&follow(
            &mut tracker,
            &[(50.0, 50.0), (100.0, 50.0), (75.0, 100.0)]
        )),
        [1, 2, 3]
    );
    let tracks = follow(&mut tracker, &[(78.0, 100.0), (53.0, 50.0), (101.0, 53.0)]);
    assert_eq!(ids(&tracks), [3, 1, 2]);
    let (x, y) = tracks[1].moved_px.expect("it was there before");
    assert!((x - 3.0).abs() < 0.1 && y.abs() < 0.1, "({x}, {y})");
    assert_eq!(
        (tracks[1].age, tracks[1].gap, tracks[1].parent_id),
        (2, 0, None)
    );
}

#[test]
fn a_missing_cell_keeps_its_id_for_as_long_as_was_asked_for() {
    for (missing, back) in [(1, true), (2, true), (3, false)] {
        let mut tracker = Tracker::new(Tracking::default());
        follow(&mut tracker, &[(50.0, 50.0), (150.0, 50.0)]);
        for _ in 0..missing {
            follow(&mut tracker, &[(150.0, 50.0)]);
        }
        let tracks = follow(&mut tracker, &[(150.0, 50.0), (55.0, 52.0)]);
        assert_eq!(tracks[1].id == 1, back, "missing in {missing} frames");
        if back {
            assert_eq!((tracks[1].age, tracks[1].gap), (missing + 2, missing));
        }
    }
}

#[test]
fn no_track_ends_because_nobody_looked() {
    let mut tracker = Tracker::new(Tracking::default());
    follow(&mut tracker, &[(50.0, 50.0), (150.0, 50.0)]);
    (0..9).for_each(|_| tracker.missed());
    // After nine dropped frames cells may have gone further than from frame to frame: here 2.5 diameters.
    let tracks = follow(&mut tracker, &[(150.0, 50.0), (50.0, 100.0)]);
    assert_eq!(ids(&tracks), [2, 1]);
    assert_eq!((tracks[0].age, tracks[0].gap), (11, 9));
}

#[test]
fn a_cell_that_divides_has_two_daughters_with_new_ids() {
    let frames = [vec![disc(100.0, 100.0, 12.0), disc(200.0, 100.0, 12.0)], {
        vec![
            disc(92.0, 100.0, 8.5),
            disc(108.5, 101.0, 8.5),
            disc(200.0, 100.0, 12.0),
        ]
    }];
    for (divisions, expected) in [
        (true, [(3, Some(1)), (4, Some(1)), (2, None)]),
        (false, [(1, None), (3, None), (2, None)]),
    ] {
        let mut tracker = Tracker::new(Tracking {
            divisions,
            ..Tracking::default()
        });
        let mut frames = frames.clone();
        let [first, second] = &mut frames;
        tracker.follow(SIZE, None, first);
        tracker.follow(SIZE, None, second);
        let found: Vec<_> = tracks(second)
            .iter()
            .map(|track| (track.id, track.parent_id))
            .collect();
        assert_eq!(found, expected, "divisions: {divisions}");
        // Daughters say whose they are in every frame.
        tracker.follow(SIZE, None, second);
        let found: Vec<_> = tracks(second)
            .iter()
            .map(|track| (track.id, track.parent_id))
            .collect();
        assert_eq!(found, expected, "divisions: {divisions}");
    }
}

#[test]
fn a_small_neighbour_that_comes_is_no_daughter() {
    let mut tracker = Tracker::new(Tracking::default());
    tracker.follow(SIZE, None, &mut [disc(100.0, 100.0, 12.0)]);
    let mut second = [disc(100.0, 100.0, 12.0), disc(120.0, 100.0, 9.0)];
    tracker.follow(SIZE, None, &mut second);
    assert_eq!(ids(&tracks(&second)), [1, 2]);
    assert_eq!(second[1].track.and_then(|track| track.parent_id), None);
}

#[test]
fn a_cell_of_another_class_may_be_the_same() {
    let mut tracker = Tracker::new(Tracking::default());
    tracker.follow(SIZE, None, &mut [disc(100.0, 100.0, 12.0)]);
    let mut second = [disc(102.0, 100.0, 12.0)];
    second[0].class_index = 1;
    tracker.follow(SIZE, None, &mut second);
    assert_eq!(ids(&tracks(&second)), [1]);
}

#[test]
fn nobody_goes_further_than_was_said() {
    for (most, size_um, same) in [
        (None, None, true),
        (Some(Distance::Px(11.0)), None, true),
        (Some(Distance::Px(9.0)), None, false),
        (Some(Distance::Um(5.5)), Some(0.5), true),
        (Some(Distance::Um(4.5)), Some(0.5), false),
        (Some(Distance::Um(4.5)), None, true),
    ] {
        let mut tracker = Tracker::new(Tracking {
            max_distance: most,
            ..Tracking::default()
        });
        tracker.follow(SIZE, size_um, &mut [disc(100.0, 100.0, 10.0)]);
        let mut second = [disc(110.0, 100.0, 10.0)];
        tracker.follow(SIZE, size_um, &mut second);
        assert_eq!(
            ids(&tracks(&second)) == [1],
            same,
            "{most:?} of {size_um:?} um/px"
        );
    }
}

#[test]
fn cells_that_may_go_anywhere_are_followed_all_the_same() {
    // Only the nearest are weighed against each other.
    let side = 40u32;
    let places: Vec<_> = (0..side * side)
        .map(|i| (f64::from(i % side), f64::from(i / side)))
        .collect();
    let frame = |by: f64| -> Vec<Instance> {
        let dot =
            |&(x, y): &(f64, f64)| disc_in((12.0 * x + 8.0 + by, 12.0 * y + 8.0), 4.0, (500, 500));
        places.iter().map(dot).collect()
    };
    let mut tracker = Tracker::new(Tracking {
        max_distance: Some(Distance::Px(1e9)),
        ..Tracking::default()
    });
    tracker.follow((500, 500), None, &mut frame(0.0));
    let mut second = frame(2.0);
    tracker.follow((500, 500), None, &mut second);
    assert!(
        ids(&tracks(&second))
            .into_iter()
            .eq(1..=u64::from(side * side))
    );
}

#[test]
fn frames_of_another_size_show_nobody_known() {
    let mut tracker = Tracker::new(Tracking::default());
    tracker.follow(SIZE, None, &mut [disc(100.0, 100.0, 10.0)]);
    assert_eq!(tracker.size(), Some(SIZE));
    let mut second = [disc(100.0, 100.0, 10.0)];
    assert_eq!(tracker.follow((500, 300), None, &mut second), None);
    assert_eq!(ids(&tracks(&second)), [2]);
}

#[test]
fn ids_go_on_from_where_they_are_told_to() {
    let mut tracker = Tracker::starting_at(Tracking::default(), 41);
    assert_eq!((tracker.next_id(), tracker.bytes()), (41, 0));
    assert_eq!(
        ids(&follow(&mut tracker, &[(50.0, 50.0), (100.0, 50.0)])),
        [41, 42]
    );
    assert_eq!(tracker.next_id(), 43);
    assert!(tracker.bytes() > 2 * 4 * 20, "two masks of 20 rows");
}

#[test]
fn empty_frames_one_pixel_and_a_full_frame_are_followed() {
    let mut tracker = Tracker::new(Tracking::default());
    let mut full = Mask::empty(0, 0, SIZE.0, SIZE.1);
    (0..SIZE.1).for_each(|y| full.fill(y, 0..SIZE.0));
    let mut dot = Mask::empty(399, 299, 1, 1);
    dot.set(0, 0);
    assert_eq!(tracker.follow(SIZE, None, &mut []), None);
    for _ in 0..2 {
        let mut cells = [instance(full.clone(), 0), instance(dot.clone(), 0)];
        tracker.follow(SIZE, None, &mut cells);
        assert_eq!(ids(&tracks(&cells)), [1, 2]);
        tracker.follow(SIZE, None, &mut []);
    }
}

#[test]
fn a_few_cells_that_move_are_no_drift() {
    let mut tracker = Tracker::new(Tracking::default());
    let first: Vec<_> = [(50.0, 50.0), (150.0, 60.0)]
        .map(|(x, y)| disc(x, y, 10.0))
        .into();
    let mut second: Vec<_> = [(56.0, 50.0), (156.0, 60.0)]
        .map(|(x, y)| disc(x, y, 10.0))
        .into();
    tracker.follow(SIZE, None, &mut first.clone());
    assert_eq!(tracker.follow(SIZE, None, &mut second), None);
    let moved = tracks(&second)[0].moved_px.expect("it was there before");
    assert!((moved.0 - 6.0).abs() < 0.2, "{moved:?}");
}
