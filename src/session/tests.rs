use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::frame::FrameMetadata;

type Frames = Session<u64, u64>;

fn series(p: u32) -> SeriesKey {
    FrameMetadata {
        index: [("p".to_owned(), p)].into(),
        ..Default::default()
    }
    .series()
}

fn offer(session: &mut Frames, id: u64, p: u32, now: Instant) {
    offer_until(session, id, p, now, None);
}

fn offer_until(session: &mut Frames, id: u64, p: u32, now: Instant, deadline: Option<Instant>) {
    let taken = session.offer(Offer {
        id,
        series: series(p),
        arrived: now,
        deadline,
        frame: id,
    });
    assert_eq!(taken, Ok(()));
}

fn replies(session: &mut Frames) -> Vec<Reply<u64>> {
    std::iter::from_fn(|| session.next_reply()).collect()
}

fn dropped(id: u64, reason: DropReason) -> Reply<u64> {
    Reply::Dropped { id, reason }
}

#[test]
fn answers_leave_in_the_order_of_the_offers() {
    let now = Instant::now();
    let mut session = Frames::new(Delivery::Lossless, 4);
    (1..=3).for_each(|id| offer(&mut session, id, 0, now));
    session.announce(99);
    let started: Vec<_> = std::iter::from_fn(|| session.start(now)).collect();
    assert_eq!(
        started.iter().map(|s| s.frame).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    for start in started.iter().rev() {
        assert_eq!(replies(&mut session), []);
        session.finish(start.seq, Outcome::Segmented, start.frame);
    }
    assert_eq!(replies(&mut session), [1, 2, 3, 99].map(Reply::Ready));
    assert!(session.is_idle());
}

#[test]
fn lossless_holds_the_client_back_at_its_window() {
    let now = Instant::now();
    let mut session = Frames::new(Delivery::Lossless, 2);
    offer(&mut session, 1, 0, now);
    offer(&mut session, 2, 0, now);
    assert!(!session.has_room(Some(&series(0))));
    let third = Offer {
        id: 3,
        series: series(0),
        arrived: now,
        deadline: None,
        frame: 3,
    };
    assert_eq!(session.offer(third), Err(3), "it comes back");
    let start = session.start(now).unwrap();
    session.finish(start.seq, Outcome::Segmented, 1);
    assert!(
        !session.has_room(Some(&series(0))),
        "an answer that was not taken counts"
    );
    assert_eq!(session.next_reply(), Some(Reply::Ready(1)));
    assert!(session.has_room(Some(&series(0))));
}

#[test]
fn latest_replaces_the_frame_that_waits_in_the_same_series() {
    let now = Instant::now();
    let mut session = Frames::new(Delivery::Latest, 3);
    offer(&mut session, 1, 0, now);
    let running = session.start(now).unwrap();
    offer(&mut session, 2, 0, now);
    offer(&mut session, 3, 1, now);
    assert!(
        session.has_room(Some(&series(0))),
        "frame 2 can be replaced"
    );
    assert!(
        session.has_room(Some(&series(2))),
        "another series has places of its own"
    );
    offer(&mut session, 4, 0, now);
    session.finish(running.seq, Outcome::Segmented, 1);
    assert_eq!(
        replies(&mut session),
        [Reply::Ready(1), dropped(2, DropReason::NewerFrame)]
    );
    assert_eq!(session.start(now).unwrap().frame, 3);
    assert_eq!(session.start(now).unwrap().frame, 4);
}

#[test]
fn latest_holds_back_a_client_that_does_not_read() {
    let now = Instant::now();
    let mut session = Frames::new(Delivery::Latest, 1);
    for id in 0..2 {
        assert!(session.has_room(Some(&series(0))));
        offer(&mut session, id, 0, now);
        let start = session.start(now).unwrap();
        session.finish(start.seq, Outcome::Segmented, id);
    }
    assert!(!session.has_room(Some(&series(0))));
    session.next_reply().unwrap();
    assert!(session.has_room(Some(&series(0))));
}

#[test]
fn a_frame_that_replaces_another_keeps_its_turn() {
    let now = Instant::now();
    let later = now + Duration::from_millis(5);
    let mut session = Frames::new(Delivery::Latest, 2);
    offer(&mut session, 1, 0, now);
    offer(&mut session, 2, 0, later);
    assert_eq!(session.waiting_since(), Some(now));
    assert_eq!(session.start(later).unwrap().arrived, later);
}

#[test]
fn a_cancelled_frame_frees_its_place_unless_it_has_started() {
    let now = Instant::now();
    let mut session = Frames::new(Delivery::Lossless, 2);
    offer(&mut session, 1, 0, now);
    offer(&mut session, 2, 0, now);
    let running = session.start(now).unwrap();
    assert!(!session.cancel(1), "it runs");
    assert!(session.cancel(2));
    assert!(!session.cancel(2), "it was cancelled");
    assert!(session.has_room(Some(&series(0))));
    session.finish(running.seq, Outcome::Failed, 1);
    assert_eq!(
        replies(&mut session),
        [Reply::Ready(1), dropped(2, DropReason::Cancelled)]
    );
    assert_eq!(
        session.counts(),
        Counts {
            segmented: 0,
            dropped: 1,
            failed: 1
        }
    );
}

#[test]
fn a_frame_past_its_deadline_is_dropped_and_never_starts() {
    let now = Instant::now();
    let later = now + Duration::from_millis(5);
    let mut session = Frames::new(Delivery::Lossless, 4);
    offer_until(&mut session, 1, 0, now, Some(later));
    offer(&mut session, 2, 0, now);
    assert_eq!(session.next_deadline(), Some(later));
    session.expire(now);
    assert_eq!(session.next_deadline(), Some(later), "not yet");
    assert_eq!(session.start(later).unwrap().frame, 2);
    assert_eq!(session.next_deadline(), None);
    assert_eq!(replies(&mut session), [dropped(1, DropReason::Deadline)]);
}

#[test]
fn unread_drop_notices_are_bounded() {
    let now = Instant::now();
    let mut session = Frames::new(Delivery::Latest, 2);
    offer(&mut session, 0, 0, now);
    let mut id = 0;
    while session.has_room(Some(&series(0))) {
        id += 1;
        offer(&mut session, id, 0, now);
    }
    assert_eq!(id as usize, MAX_NOTES);
    assert_eq!(
        session.next_reply(),
        Some(dropped(0, DropReason::NewerFrame))
    );
    assert!(session.has_room(Some(&series(0))));
}

#[test]
fn a_closed_session_forgets_its_frames_and_late_answers() {
    let now = Instant::now();
    let mut session = Frames::new(Delivery::Lossless, 4);
    offer(&mut session, 1, 0, now);
    offer(&mut session, 2, 0, now);
    let running = session.start(now).unwrap();
    session.close();
    session.finish(running.seq, Outcome::Segmented, 1);
    assert_eq!(session.waiting_since(), None);
    assert!(session.is_idle());
}

fn settled(seq: u64, settled: u64) -> Option<Turn<u64>> {
    Some(Turn::Settled { seq, settled })
}

fn missed(seq: u64, p: u32) -> Option<Turn<u64>> {
    let series = series(p);
    Some(Turn::Missed { seq, series })
}

#[test]
fn turns_come_in_the_order_of_the_offers_and_hold_replies_up() {
    let now = Instant::now();
    let mut session = Frames::new(Delivery::Lossless, 8).in_order();
    session.announce(90);
    assert_eq!(replies(&mut session), [Reply::Ready(90)]);
    (1..=4).for_each(|id| offer(&mut session, id, id as u32, now));
    session.refuse(5, Some(series(5)), 5);
    session.refuse(6, None, 6);
    let started: Vec<_> = (1..=3).map(|_| session.start(now).unwrap()).collect();
    assert!(session.cancel(4));
    session.settle(started[2].seq, 3);
    session.finish(started[1].seq, Outcome::Failed, 2);
    assert_eq!(session.next_turn(), None, "the first is on its lane");
    session.settle(started[0].seq, 1);
    assert!(session.has_turn());
    assert_eq!(session.next_turn(), settled(1, 1));
    assert_eq!(session.next_turn(), missed(2, 2));
    assert_eq!(replies(&mut session), [], "the first is not answered yet");
    assert_eq!(session.next_turn(), settled(3, 3));
    session.finish(3, Outcome::Segmented, 3);
    session.finish(1, Outcome::Segmented, 1);
    assert_eq!(replies(&mut session), [1, 2, 3].map(Reply::Ready));
    assert_eq!(session.next_turn(), missed(4, 4));
    assert_eq!(session.next_turn(), missed(5, 5));
    assert_eq!(session.next_turn(), None);
    let left = replies(&mut session);
    assert_eq!(
        left,
        [
            dropped(4, DropReason::Cancelled),
            Reply::Ready(5),
            Reply::Ready(6)
        ]
    );
    assert!(session.is_idle());
}

#[test]
fn without_an_order_a_frame_that_needs_no_lane_has_its_turn_after_those_before_it() {
    let now = Instant::now();
    let mut session = Frames::new(Delivery::Lossless, 4);
    (1..=2).for_each(|id| offer(&mut session, id, 0, now));
    session.pass_by(3, 30);
    assert!(session.is_in_flight(3));
    assert!(!session.cancel(3), "it does not wait for a lane");
    let [first, second] = [1, 2].map(|_| session.start(now).unwrap());
    session.finish(second.seq, Outcome::Failed, 2);
    assert_eq!(session.next_turn(), None);
    session.finish(first.seq, Outcome::Segmented, 1);
    assert_eq!(replies(&mut session), [1, 2].map(Reply::Ready));
    assert_eq!(session.next_turn(), settled(2, 30));
    assert_eq!(session.next_turn(), None, "once");
    session.finish(2, Outcome::Segmented, 3);
    assert_eq!(replies(&mut session), [Reply::Ready(3)]);
    session.pass_by(4, 40);
    session.close();
    assert_eq!(session.next_turn(), None);
}

#[derive(Clone, Debug)]
enum Event {
    Offer { p: u32, patience: Option<u64> },
    Refuse { p: Option<u32> },
    PassBy,
    Settle { which: usize },
    Turn,
    Note,
    Start,
    Finish { which: usize, failed: bool },
    Cancel { id: u64 },
    Take,
    Tick { ms: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..3u32, prop::option::of(0..20u64)).prop_map(|(p, patience)| Event::Offer { p, patience }),
        1 => prop::option::of(0..3u32).prop_map(|p| Event::Refuse { p }),
        1 => Just(Event::PassBy),
        4 => (0..4usize).prop_map(|which| Event::Settle { which }),
        4 => Just(Event::Turn),
        1 => Just(Event::Note),
        4 => Just(Event::Start),
        4 => (0..4usize, any::<bool>()).prop_map(|(which, failed)| Event::Finish { which, failed }),
        1 => (0..40u64).prop_map(|id| Event::Cancel { id }),
        4 => Just(Event::Take),
        2 => (0..10u64).prop_map(|ms| Event::Tick { ms }),
    ]
}

proptest! {
    /// Whatever happens, every frame gets one answer, in order, and the window holds.
    #[test]
    fn every_frame_gets_one_answer_in_order(
        latest in any::<bool>(),
        in_order in any::<bool>(),
        window in 1..5usize,
        events in prop::collection::vec(event(), 0..200),
    ) {
        let delivery = if latest { Delivery::Latest } else { Delivery::Lossless };
        let mut session = Frames::new(delivery, window);
        if in_order {
            session = session.in_order();
        }
        let mut now = Instant::now();
        let (mut offered, mut taken, mut running) = (0u64, Vec::new(), Vec::new());
        // Frames after their turn, and the places of all turns.
        let (mut passed, mut turns) = (Vec::new(), Vec::new());
        let mut turn = |session: &mut Frames, passed: &mut Vec<(u64, u64)>| {
            let next = session.next_turn();
            match &next {
                Some(Turn::Settled { seq, settled }) => {
                    turns.push(*seq);
                    passed.push((*seq, *settled));
                }
                Some(Turn::Missed { seq, .. }) => turns.push(*seq),
                None => {}
            }
            next.is_some()
        };
        let mut take = |session: &mut Frames| {
            let reply = session.next_reply();
            match reply {
                Some(Reply::Ready(id)) | Some(Reply::Dropped { id, .. }) => taken.push(id),
                None => return false,
            }
            true
        };
        for event in events {
            match event {
                Event::Offer { p, patience } if session.has_room(Some(&series(p))) => {
                    let deadline = patience.map(|ms| now + Duration::from_millis(ms));
                    offer_until(&mut session, offered, p, now, deadline);
                    offered += 1;
                }
                Event::Refuse { p } if session.has_room(None) => {
                    session.refuse(offered, p.map(series), offered);
                    offered += 1;
                }
                Event::PassBy if session.has_room(None) => {
                    session.pass_by(offered, offered);
                    offered += 1;
                }
                Event::Settle { which } if in_order && which < running.len() => {
                    let start: Started<u64> = running.swap_remove(which);
                    session.settle(start.seq, start.frame);
                }
                Event::Turn => {
                    let has_turn = session.has_turn();
                    prop_assert_eq!(turn(&mut session, &mut passed), has_turn);
                    if let Some((seq, id)) = passed.pop() {
                        session.finish(seq, Outcome::Segmented, id);
                    }
                }
                Event::Note if session.has_room_for_note() => {
                    session.announce(offered);
                    offered += 1;
                }
                Event::Start => running.extend(session.start(now)),
                Event::Finish { which, failed } if which < running.len() => {
                    let start = running.swap_remove(which);
                    match (failed, in_order) {
                        (true, _) => session.finish(start.seq, Outcome::Failed, start.frame),
                        (false, false) => session.finish(start.seq, Outcome::Segmented, start.frame),
                        (false, true) => session.settle(start.seq, start.frame),
                    }
                }
                Event::Cancel { id } => { session.cancel(id); }
                Event::Take => { take(&mut session); }
                Event::Tick { ms } => {
                    now += Duration::from_millis(ms);
                    session.expire(now);
                }
                Event::Offer { .. } | Event::Refuse { .. } | Event::PassBy => {}
                Event::Settle { .. } | Event::Note | Event::Finish { .. } => {}
            }
            let in_flight = session.slots.iter().filter(|slot| slot.state.is_frame()).count();
            prop_assert_eq!(in_flight, session.in_flight);
            prop_assert_eq!(session.slots.len() - in_flight, session.notes);
            let places = if latest { window + PLACES_OF_A_SERIES * 3 } else { window };
            prop_assert!(in_flight <= places, "{} in flight", in_flight);
            prop_assert!(running.len() <= places);
        }
        while let Some(start) = session.start(now) {
            running.push(start);
        }
        for start in running {
            match in_order {
                true => session.settle(start.seq, start.frame),
                false => session.finish(start.seq, Outcome::Segmented, start.frame),
            }
        }
        while turn(&mut session, &mut passed) {}
        for (seq, id) in passed {
            session.finish(seq, Outcome::Segmented, id);
        }
        while take(&mut session) {}
        prop_assert!(turns.is_sorted_by(|a, b| a < b), "{:?}", turns);
        prop_assert!(session.is_idle());
        prop_assert_eq!(taken, (0..offered).collect::<Vec<_>>());
    }
}
