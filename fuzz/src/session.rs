//! The session's state machine, seen from outside: whatever happens, every frame gets one answer, in order, and bounds hold.

use std::time::{Duration, Instant};

use cellsegd::{
    frame::{FrameMetadata, SeriesKey},
    session::{
        Counts, Delivery, MAX_NOTES, MAX_SERIES, Offer, Outcome, Reply, Session, Started, Turn,
    },
};

use crate::script::Script;

/// A session with what was put into it and taken out.
struct Driven {
    session: Session<u64, u64>,
    now: Instant,
    /// The next frame's or note's number; each must come out once, in order.
    next: u64,
    taken: u64,
    notes_taken: u64,
    running: Vec<Started<u64>>,
    /// Frames pass in their order between their lanes and their answers.
    in_order: bool,
    /// Frames after their turn.
    passed: Vec<(u64, u64)>,
    /// The place of the last turn.
    last_turn: Option<u64>,
}

/// Any sequence of events.
pub(crate) fn session(input: &[u8]) {
    let mut script = Script::new(input);
    let delivery = match script.flag() {
        true => Delivery::Latest,
        false => Delivery::Lossless,
    };
    let window = 1 + script.below(6);
    let in_order = script.flag();
    let session = Session::new(delivery, window);
    let mut driven = Driven {
        session: match in_order {
            true => session.in_order(),
            false => session,
        },
        now: Instant::now(),
        next: 0,
        taken: 0,
        notes_taken: 0,
        running: Vec::new(),
        in_order,
        passed: Vec::new(),
        last_turn: None,
    };
    let in_flight = window + 2 * MAX_SERIES;
    let most = match delivery {
        Delivery::Lossless => window + MAX_NOTES,
        Delivery::Latest => in_flight + MAX_NOTES,
    };
    while !script.is_over() {
        if script.below(64) == 63 {
            return driven.close();
        }
        driven.event(&mut script);
        let held = (driven.next - driven.taken) as usize;
        assert!(held <= most + 1, "{held} frames and notes are held");
        assert!(driven.running.len() <= in_flight);
    }
    driven.finish();
}

impl Driven {
    fn event(&mut self, script: &mut Script) {
        match script.below(13) {
            0..=2 => self.offer(script),
            3 => {
                if self.session.has_room(None) {
                    let id = self.number();
                    let series = script.flag().then(|| series(script.below(4) as u32));
                    self.session.refuse(id, series, id);
                }
            }
            4 => {
                if self.session.has_room_for_note() {
                    let id = self.number();
                    self.session.announce(id);
                }
            }
            5 => self.running.extend(self.session.start(self.now)),
            6 => {
                if !self.running.is_empty() {
                    let which = script.below(self.running.len().min(256));
                    let started = self.running.swap_remove(which);
                    match script.flag() {
                        true => {
                            let (seq, frame) = (started.seq, started.frame);
                            self.session.finish(seq, Outcome::Failed, frame);
                        }
                        false => self.through(started),
                    }
                }
            }
            7 => {
                let id = self.next.saturating_sub(script.below(40) as u64);
                let was_in_flight = self.session.is_in_flight(id);
                let cancelled = self.session.cancel(id);
                assert!(was_in_flight || !cancelled, "cancelled what was not there");
            }
            8 => {
                self.take();
            }
            9 => {
                if self.session.has_room(None) {
                    let id = self.number();
                    self.session.pass_by(id, id);
                }
            }
            10 => {
                self.turn();
            }
            11 => self.answer_passed(),
            _ => {
                self.now += Duration::from_millis(script.below(20) as u64);
                self.session.expire(self.now);
                let next = self.session.next_deadline();
                assert!(next.is_none_or(|deadline| self.now < deadline));
            }
        }
    }

    fn offer(&mut self, script: &mut Script) {
        let series = series(script.below(MAX_SERIES + 4) as u32);
        let patience = script.flag().then(|| script.below(30) as u64);
        let has_room = self.session.has_room(Some(&series));
        let id = self.next;
        let taken = self.session.offer(Offer {
            id,
            series,
            arrived: self.now,
            deadline: patience.map(|ms| self.now + Duration::from_millis(ms)),
            frame: id,
        });
        assert_eq!(taken.is_ok(), has_room);
        assert_eq!(self.session.is_in_flight(id), has_room);
        self.next += u64::from(has_room);
    }

    /// A lane is through with a frame.
    fn through(&mut self, started: Started<u64>) {
        let (seq, frame) = (started.seq, started.frame);
        match self.in_order {
            true => self.session.settle(seq, frame),
            false => self.session.finish(seq, Outcome::Segmented, frame),
        }
    }

    fn turn(&mut self) -> bool {
        let expected = self.session.has_turn();
        let turn = self.session.next_turn();
        assert_eq!(turn.is_some(), expected);
        let seq = match turn {
            None => return false,
            Some(Turn::Missed { seq, .. }) => {
                assert!(self.in_order);
                seq
            }
            Some(Turn::Settled { seq, settled }) => {
                self.passed.push((seq, settled));
                seq
            }
        };
        assert!(self.last_turn < Some(seq), "turns come in order, once");
        self.last_turn = Some(seq);
        true
    }

    fn answer_passed(&mut self) {
        if let Some((seq, frame)) = self.passed.pop() {
            self.session.finish(seq, Outcome::Segmented, frame);
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn take(&mut self) -> bool {
        let expected = self.session.has_reply();
        let before = self.session.counts();
        let Some(reply) = self.session.next_reply() else {
            assert!(!expected);
            return false;
        };
        let (Reply::Ready(id) | Reply::Dropped { id, .. }) = reply;
        assert_eq!(id, self.taken, "answers leave in the order of the offers");
        self.taken += 1;
        self.notes_taken += u64::from(self.session.counts() == before);
        true
    }

    /// Everything that was put in comes out.
    fn finish(mut self) {
        while let Some(started) = self.session.start(self.now) {
            self.running.push(started);
        }
        for started in std::mem::take(&mut self.running) {
            self.through(started);
        }
        while self.turn() {}
        while !self.passed.is_empty() {
            self.answer_passed();
        }
        while self.take() {}
        assert!(self.session.is_idle());
        assert_eq!(self.taken, self.next);
        let Counts {
            segmented,
            dropped,
            failed,
        } = self.session.counts();
        assert_eq!(segmented + dropped + failed + self.notes_taken, self.next);
    }

    /// The client is gone: late answers go nowhere.
    fn close(mut self) {
        self.session.close();
        for started in std::mem::take(&mut self.running) {
            let (seq, frame) = (started.seq, started.frame);
            self.session.finish(seq, Outcome::Segmented, frame);
        }
        assert!(self.session.is_idle() && !self.session.has_reply());
        assert_eq!(self.session.start(self.now), None);
    }
}

fn series(p: u32) -> SeriesKey {
    FrameMetadata {
        index: [("p".to_owned(), p)].into(),
        ..Default::default()
    }
    .series()
}
