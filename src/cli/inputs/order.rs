//! Planes in the order of time, channels of one place and moment together.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Listing, Plane, files::Found};
use crate::{
    cli::UsageError,
    frame::{FrameMetadata, SeriesKey},
};

/// A plane that is segmented, and those that are measured in its cells.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct Group {
    pub(in crate::cli) main: Plane,
    pub(in crate::cli) measured: Vec<Plane>,
}

/// What is done with a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Segmented,
    Measured,
    /// Of a channel that nobody asked for.
    LeftOut,
}

/// Numbers planes that do not say when they were taken, and groups channels.
pub(super) struct Order {
    segment: Option<String>,
    measure_on: Vec<String>,
    numbered: bool,
    interval_ms: Option<f64>,
    /// Each series' next time point.
    next_t: BTreeMap<SeriesKey, u32>,
}

/// Place and moment, whatever the channel.
type Moment = (SeriesKey, String, Option<u32>);

impl Order {
    pub(super) fn new(listing: &Listing) -> Self {
        Order {
            segment: listing.segment.clone(),
            measure_on: listing.measure_on.clone(),
            numbered: listing.numbered,
            interval_ms: listing.interval_ms,
            next_t: BTreeMap::new(),
        }
    }

    /// Refuses files whose results would overwrite one another.
    pub(super) fn check_names(&self, files: &[Found]) -> Result<(), UsageError> {
        let mut by_stem = BTreeMap::from([(
            "run".to_owned(),
            PathBuf::from("run.json, the record of the run"),
        )]);
        for file in files {
            let stem = file.stem();
            if let Some(other) = by_stem.insert(stem.clone(), file.path.clone()) {
                return Err(overwrites(&stem, &other, &file.path));
            }
        }
        Ok(())
    }

    /// Refuses channels that were asked for and are not there; `channels`: those that are.
    pub(super) fn check_channels(
        &self,
        planes: &[Plane],
        channels: &[String],
    ) -> Result<(), UsageError> {
        let segment = self.segment.iter().map(|name| ("--segment", name));
        let measured = self.measure_on.iter().map(|name| ("--measure-on", name));
        let is_there = |name: &String| planes.iter().any(|plane| is(name, &plane.metadata));
        match segment.chain(measured).find(|(_, name)| !is_there(name)) {
            None => Ok(()),
            Some((flag, name)) => Err(UsageError(format!(
                "{flag} {name}: there is no frame of that channel; there are: {}",
                channels.join(", ")
            ))),
        }
    }

    /// What is done with a plane of this channel.
    pub(super) fn role(&self, metadata: &FrameMetadata) -> Role {
        let is = |name: &String| is(name, metadata);
        match &self.segment {
            None => Role::Segmented,
            Some(name) if is(name) => Role::Segmented,
            Some(_) if self.measure_on.iter().any(is) => Role::Measured,
            Some(_) => Role::LeftOut,
        }
    }

    /// Gives a plane its time point, where it has none and they are numbered, and its time.
    pub(super) fn place(&mut self, plane: &mut Plane) {
        let metadata = &mut plane.metadata;
        if self.numbered {
            let next = self.next_t.entry(metadata.series()).or_default();
            let t = *metadata.index.entry("t".to_owned()).or_insert(*next);
            *next = (*next).max(t.saturating_add(1));
        }
        if let (None, Some(interval_ms), Some(&t)) = (
            metadata.elapsed_ms,
            self.interval_ms,
            metadata.index.get("t"),
        ) {
            metadata.elapsed_ms = Some(f64::from(t) * interval_ms);
        }
    }

    /// Everything that a run works on, earlier time points first. Planes that are measured and have nothing to be measured in are
    /// refused, and so are two planes of one series at one time.
    pub(super) fn groups(&mut self, mut planes: Vec<Plane>) -> Result<Vec<Group>, UsageError> {
        planes.retain(|plane| self.role(&plane.metadata) != Role::LeftOut);
        for plane in &mut planes {
            self.place(plane);
        }
        let time = |plane: &Plane| plane.metadata.index.get("t").copied().unwrap_or(0);
        planes.sort_by_key(time);
        let mut ids = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for plane in &planes {
            if let Some(other) = ids.insert(&plane.image_id, plane) {
                return Err(overwrites(&plane.image_id, &other.path, &plane.path));
            }
            if (self.numbered || !self.measure_on.is_empty())
                && let Some(t) = plane.metadata.index.get("t")
                && let Some(other) = seen.insert((plane.metadata.series(), *t), plane)
            {
                return Err(UsageError(format!(
                    "{} and {} are both time point {t} of the same position and channel: tell their positions or channels apart with --pattern",
                    other.path.display(),
                    plane.path.display()
                )));
            }
        }
        let (main, measured): (Vec<Plane>, Vec<Plane>) = planes
            .into_iter()
            .partition(|plane| self.role(&plane.metadata) == Role::Segmented);
        if self.measure_on.is_empty() {
            return Ok(main.into_iter().map(Group::alone).collect());
        }
        let mut of_moment: BTreeMap<Moment, Vec<Plane>> = BTreeMap::new();
        for plane in measured {
            let at = moment(&plane.metadata);
            of_moment.entry(at).or_default().push(plane);
        }
        let groups = main.into_iter().map(|main| Group {
            measured: of_moment
                .remove(&moment(&main.metadata))
                .unwrap_or_default(),
            main,
        });
        let groups: Vec<Group> = groups.collect();
        match of_moment.into_values().flatten().next() {
            Some(lonely) if !groups.is_empty() => Err(UsageError(format!(
                "{}: no frame of channel {} at its place and time to measure it in",
                lonely.image_id,
                self.segment.as_deref().unwrap_or_default()
            ))),
            _ => Ok(groups),
        }
    }

    /// A frame with this metadata has been before.
    pub(super) fn after(&mut self, metadata: &FrameMetadata) {
        if let Some(&t) = metadata.index.get("t") {
            let next = self.next_t.entry(metadata.series()).or_default();
            *next = (*next).max(t.saturating_add(1));
        }
    }
}

impl Group {
    pub(super) fn alone(main: Plane) -> Group {
        Group {
            main,
            measured: Vec::new(),
        }
    }

    /// All of it, the segmented one first.
    pub(in crate::cli) fn planes(&self) -> impl Iterator<Item = &Plane> {
        [&self.main].into_iter().chain(&self.measured)
    }
}

/// Whether a plane is of the channel that the user calls `name`: one without a name goes by its number.
fn is(name: &str, metadata: &FrameMetadata) -> bool {
    match metadata.channel.is_empty() {
        false => name == metadata.channel,
        true => name
            .parse()
            .is_ok_and(|c: u32| metadata.index.get("c") == Some(&c)),
    }
}

fn overwrites(stem: &str, first: &Path, second: &Path) -> UsageError {
    UsageError(format!(
        "{} and {} would both be written as {stem}.json: give them different names or segment them into different folders",
        first.display(),
        second.display(),
    ))
}

/// Cameras may differ from channel to channel.
pub(super) fn moment(metadata: &FrameMetadata) -> Moment {
    let anywhere = FrameMetadata {
        channel: String::new(),
        camera: String::new(),
        ..metadata.clone()
    };
    (
        anywhere.series(),
        metadata.well.clone(),
        metadata.index.get("t").copied(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(name: &str, position: &str, channel: &str, t: Option<u32>) -> Plane {
        Plane {
            path: name.into(),
            page: 0,
            in_stack: false,
            image_id: name.to_owned(),
            metadata: FrameMetadata {
                position: position.to_owned(),
                channel: channel.to_owned(),
                index: t.map(|t| ("t".to_owned(), t)).into_iter().collect(),
                ..FrameMetadata::default()
            },
        }
    }

    fn order(segment: Option<&str>, measure_on: &[&str], numbered: bool) -> Order {
        Order::new(&Listing {
            segment: segment.map(str::to_owned),
            measure_on: measure_on.iter().map(|&name| name.to_owned()).collect(),
            numbered,
            interval_ms: Some(1000.0),
            ..Listing::default()
        })
    }

    fn names(groups: &[Group]) -> Vec<String> {
        let names = groups.iter().map(|group| {
            let names: Vec<&str> = group
                .planes()
                .map(|plane| plane.image_id.as_str())
                .collect();
            names.join("+")
        });
        names.collect()
    }

    #[test]
    fn positions_take_turns_in_the_order_of_time() {
        let planes = vec![
            plane("a0", "a", "", None),
            plane("a1", "a", "", None),
            plane("b0", "b", "", None),
            plane("b1", "b", "", None),
        ];
        let groups = order(None, &[], true).groups(planes).unwrap();
        assert_eq!(names(&groups), ["a0", "b0", "a1", "b1"]);
        assert_eq!(groups[3].main.metadata.index["t"], 1);
        assert_eq!(groups[3].main.metadata.elapsed_ms, Some(1000.0));
    }

    #[test]
    fn channels_of_one_moment_belong_together() {
        let planes = || {
            vec![
                plane("g1", "a", "GFP", Some(1)),
                plane("p1", "a", "Phase", Some(1)),
                plane("g0", "a", "GFP", Some(0)),
                plane("d0", "a", "DAPI", Some(0)),
                plane("p0", "a", "Phase", Some(0)),
            ]
        };
        let groups = order(Some("Phase"), &["GFP"], false)
            .groups(planes())
            .unwrap();
        assert_eq!(names(&groups), ["p0+g0", "p1+g1"]);
        let groups = order(None, &[], false).groups(planes()).unwrap();
        assert_eq!(groups.len(), 5);
        let lonely = plane("g9", "a", "GFP", Some(9));
        let planes = [planes(), vec![lonely]].concat();
        let error = order(Some("Phase"), &["GFP"], false)
            .groups(planes)
            .unwrap_err();
        assert!(error.to_string().contains("g9"), "{error}");
    }

    #[test]
    fn a_channel_without_a_name_goes_by_its_number() {
        let order = order(Some("1"), &["2"], false);
        let role = |c: Option<u32>| {
            order.role(&FrameMetadata {
                index: c.map(|c| ("c".to_owned(), c)).into_iter().collect(),
                ..FrameMetadata::default()
            })
        };
        assert_eq!(role(Some(1)), Role::Segmented);
        assert_eq!(role(Some(2)), Role::Measured);
        assert_eq!(role(None), Role::LeftOut);
        let named = self::order(Some("Phase"), &[], false);
        assert_eq!(named.role(&FrameMetadata::default()), Role::LeftOut);
    }

    #[test]
    fn two_frames_of_one_moment_are_refused() {
        let planes = vec![plane("x", "", "", Some(3)), plane("y", "", "", Some(3))];
        let error = order(None, &[], true)
            .groups(planes)
            .unwrap_err()
            .to_string();
        for word in ["x", "y", "time point 3", "--pattern"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
