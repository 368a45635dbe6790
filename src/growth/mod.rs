//! Growth rates while an experiment runs.
//!
//! The slope of ln N against hours, by least squares over a sliding window, for the number of cells and for the confluence. A
//! well is watched in several fields, one after the other, so a point of it is a round: what its fields showed, summed, at the
//! mean of their times. Rounds in which a field is missing are left out, since their sum would drop with no cell gone; where
//! it is the first field of a round, its next frame completes the round: fields of a point may be an interval apart.
//! Frames without a cell have no logarithm: such points are counted, but not in the fit.

mod fit;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use crate::{
    params::GrowthOptions,
    segmentation::{Growth, GrowthRate},
};

/// A field that was in none of so many rounds is no longer of the well.
const ROUNDS_OF_A_FIELD: usize = 3;
/// Samples of a field in a window, at most: a frame sooner after its field's last one is left out. Bounds memory, whatever the
/// frame rate; so many points tell a rate as well as more would.
const MOST_IN_WINDOW: f64 = 512.0;
/// A rate needs points over as many hours.
const LEAST_HOURS: f64 = 2.0;
/// Hours that rounding may take away: 3.6 ms.
const ROUNDED: f64 = 1e-6;

/// The growth of one series, or of the fields of one well.
#[derive(Debug)]
pub struct Curve {
    options: GrowthOptions,
    /// Oldest first; each holds a field once at most. The last one may still be going on.
    rounds: VecDeque<Vec<Sample>>,
    excluded: u32,
}

/// What one frame showed, or all fields of a well.
#[derive(Clone, Copy, Debug)]
struct Sample {
    field: usize,
    hours: f64,
    count: f64,
    confluence: f64,
}

impl Curve {
    /// Without a point.
    pub fn new(options: GrowthOptions) -> Self {
        Curve {
            options,
            rounds: VecDeque::new(),
            excluded: 0,
        }
    }

    /// A frame of `field` (fields of a well are numbered by whoever keeps them), `hours` after any fixed moment. A time that is
    /// not a number, or before that of the field's last frame, excludes the frame.
    pub fn add(&mut self, field: usize, hours: f64, count: u32, confluence: f64) {
        let last = self
            .rounds
            .iter()
            .rev()
            .find_map(|round| of_field(round, field));
        let since = last.map(|last| hours - last.hours);
        if !hours.is_finite() || since.is_some_and(|since| since < 0.0) {
            return self.exclude();
        }
        if since.is_some_and(|since| since < self.options.window_hours / MOST_IN_WINDOW - ROUNDED) {
            return;
        }
        let sample = Sample {
            field,
            hours,
            count: f64::from(count),
            confluence,
        };
        match self.rounds.back_mut() {
            Some(round) if of_field(round, field).is_none() => round.push(sample),
            _ => self.rounds.push_back(vec![sample]),
        }
        let latest = self
            .rounds
            .iter()
            .map(|round| newest(round))
            .fold(hours, f64::max);
        while self.rounds.len() > ROUNDS_OF_A_FIELD
            && newest(&self.rounds[0]) < latest - self.options.window_hours - ROUNDED
        {
            self.rounds.pop_front();
        }
    }

    /// A frame that says nothing: failed, dropped or truncated.
    pub fn exclude(&mut self) {
        self.excluded = self.excluded.saturating_add(1);
    }

    /// Memory that it holds, about.
    pub fn bytes(&self) -> usize {
        self.rounds
            .iter()
            .map(|round| size_of::<Vec<Sample>>() + size_of_val(&round[..]))
            .sum()
    }

    /// As far as is known now.
    pub fn growth(&self) -> Growth {
        let (points, fields) = self.points();
        let hours = |point: Option<&Sample>| point.map_or(0.0, |point| point.hours);
        Growth {
            count: self.rate(points.iter().map(|point| (point.hours, point.count))),
            confluence: self.rate(points.iter().map(|point| (point.hours, point.confluence))),
            points: points.len() as u32,
            span_hours: hours(points.last()) - hours(points.first()),
            excluded: self.excluded,
            fields,
        }
    }

    /// The well's points in the window by time, and the number of its fields.
    fn points(&self) -> (Vec<Sample>, u32) {
        let recent = self.rounds.iter().rev().take(ROUNDS_OF_A_FIELD);
        let fields: BTreeSet<usize> = recent.flatten().map(|sample| sample.field).collect();
        let whole = self.rounds.iter().filter_map(|round| {
            let of_fields: Vec<&Sample> = round
                .iter()
                .filter(|sample| fields.contains(&sample.field))
                .collect();
            let sum =
                |of: fn(&Sample) -> f64| of_fields.iter().map(|sample| of(sample)).sum::<f64>();
            (of_fields.len() == fields.len() && !fields.is_empty()).then(|| Sample {
                field: 0,
                hours: sum(|sample| sample.hours) / fields.len() as f64,
                count: sum(|sample| sample.count),
                confluence: sum(|sample| sample.confluence),
            })
        });
        let mut points: Vec<Sample> = whole.collect();
        points.sort_by(|a, b| a.hours.total_cmp(&b.hours));
        let latest = points.last().map_or(0.0, |point| point.hours);
        points.retain(|point| point.hours >= latest - self.options.window_hours - ROUNDED);
        (points, fields.len() as u32)
    }

    /// The rate of some quantity, where enough of its points over enough hours have a logarithm.
    fn rate(&self, points: impl Iterator<Item = (f64, f64)>) -> Option<GrowthRate> {
        let points: Vec<(f64, f64)> = points.filter(|point| point.1 > 0.0).collect();
        let span = points.last()?.0 - points.first()?.0;
        let enough =
            points.len() >= self.options.min_points as usize && span >= LEAST_HOURS - ROUNDED;
        if enough { fit::rate(&points) } else { None }
    }
}

fn of_field(round: &[Sample], field: usize) -> Option<&Sample> {
    round.iter().find(|sample| sample.field == field)
}

/// Its latest time, hours.
fn newest(round: &[Sample]) -> f64 {
    round
        .iter()
        .map(|sample| sample.hours)
        .fold(f64::NEG_INFINITY, f64::max)
}
