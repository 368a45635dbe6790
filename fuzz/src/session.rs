//! The session's state machine, seen from outside: whatever happens, every frame gets one answer, in order, and bounds hold.

use std::time::{Duration, Instant};

use cellsegd::{
    frame::{FrameMetadata, SeriesKey},
    session::{Counts, Delivery, MAX_NOTES, MAX_SERIES, Offer, Outcome, Reply, Session, Started},
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
}

/// Any sequence of events.
pub(crate) fn session(input: &[u8]) {
    let mut script = Script::new(input);
    let delivery = match script.flag() {
        true => Delivery::Latest,
        false => Delivery::Lossless,
    };
    let window = 1 + script.below(6);
    let mut driven = Driven {
        session: Session::new(delivery, window),
        now: Instant::now(),
        next: 0,
        taken: 0,
        notes_taken: 0,
        running: Vec::new(),
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
        match script.below(10) {
            0..=2 => self.offer(script),
            3 => {
                if self.session.has_room(None) {
                    let id = self.number();
                    self.session.refuse(id, id);
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
                    let outcome = match script.flag() {
                        true => Outcome::Failed,
                        false => Outcome::Segmented,
                    };
                    self.session.finish(started.seq, outcome, started.frame);
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
            let (seq, frame) = (started.seq, started.frame);
            self.session.finish(seq, Outcome::Segmented, frame);
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
