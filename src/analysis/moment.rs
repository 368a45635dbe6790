//! When a frame was taken, as far as its controller says.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::frame::FrameMetadata;

/// By what the times of a growth curve are told: all of one by the same, for each counts from a moment of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    Elapsed,
    Captured,
    Received,
}

/// What tells a frame's place in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    index: Option<u32>,
    elapsed_ms: Option<f64>,
    captured_at: Option<SystemTime>,
}

impl Moment {
    pub(super) fn of(metadata: &FrameMetadata) -> Self {
        Moment {
            index: metadata.index.get("t").copied(),
            elapsed_ms: metadata.elapsed_ms.filter(|elapsed| elapsed.is_finite()),
            captured_at: metadata.captured_at,
        }
    }

    /// Whether it lies before `last`, said in words. By the index "t" where both have one, else by elapsed_ms, else by
    /// captured_at; what cannot be compared is in order.
    pub(super) fn before(&self, last: &Moment) -> Option<String> {
        if let Some((own, last)) = self.index.zip(last.index) {
            return (own < last).then(|| format!("index t {own} comes after {last}"));
        }
        if let Some((own, last)) = self.elapsed_ms.zip(last.elapsed_ms) {
            return (own < last).then(|| format!("elapsed_ms {own} comes after {last}"));
        }
        let (own, last) = self.captured_at.zip(last.captured_at)?;
        let seconds = last.duration_since(own).ok()?.as_secs_f64();
        (own < last).then(|| format!("captured_at is {seconds} s before that of the last frame"))
    }

    /// By what its time is told.
    pub(super) fn clock(&self) -> Clock {
        match (self.elapsed_ms, self.captured_at) {
            (Some(_), _) => Clock::Elapsed,
            (None, Some(_)) => Clock::Captured,
            (None, None) => Clock::Received,
        }
    }

    /// Hours by `clock`, after a moment of its own; none where the controller did not say.
    pub(super) fn hours(&self, clock: Clock, received_at: SystemTime) -> Option<f64> {
        let since_epoch = |time: SystemTime| match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        };
        match clock {
            Clock::Elapsed => self.elapsed_ms.map(|elapsed_ms| elapsed_ms / 3.6e6),
            Clock::Captured => self.captured_at.map(|time| since_epoch(time) / 3600.0),
            Clock::Received => Some(since_epoch(received_at) / 3600.0),
        }
    }
}
