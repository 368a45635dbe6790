//! What a run has seen of each series: its cells' identities and its growth.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    frame::FrameMetadata,
    segmentation::{Growth, GrowthRate, Segmentation},
};

/// By well, else by series.
#[derive(Default)]
pub(super) struct Tally {
    places: BTreeMap<String, Place>,
}

#[derive(Default)]
struct Place {
    /// Ids are unique within a series.
    tracks: BTreeSet<(String, u64)>,
    divided: BTreeSet<(String, u64)>,
    growth: Option<Growth>,
}

impl Tally {
    pub(super) fn add(&mut self, metadata: &FrameMetadata, segmentation: &Segmentation) {
        let series = metadata.series().to_string();
        let name = match metadata.well.as_str() {
            "" => series.clone(),
            well => format!("well {well}"),
        };
        let place = self.places.entry(name).or_default();
        for track in segmentation.instances.iter().filter_map(|cell| cell.track) {
            place.tracks.insert((series.clone(), track.id));
            place
                .divided
                .extend(track.parent_id.map(|id| (series.clone(), id)));
        }
        place.growth = segmentation.growth.or(place.growth);
    }

    /// For a person: a line for each place, where there is something to say.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |(name, place): (&String, &Place)| {
            let mut parts = Vec::new();
            if !place.tracks.is_empty() {
                let (cells, divisions) = (place.tracks.len(), place.divided.len());
                parts.push(format!("{cells} cells followed, {divisions} divisions"));
            }
            if let Some(growth) = &place.growth {
                parts.push(said(growth));
            }
            let name = match name.as_str() {
                "the only one" => String::new(),
                name => format!("{name}: "),
            };
            (!parts.is_empty()).then(|| format!("{name}{}", parts.join("; ")))
        };
        self.places.iter().filter_map(line).collect()
    }
}

fn said(growth: &Growth) -> String {
    let rates = [("count", growth.count), ("confluence", growth.confluence)];
    let known: Vec<String> = rates
        .into_iter()
        .filter_map(|(what, rate)| Some(doubling(what, &rate?)))
        .collect();
    match known.is_empty() {
        true => format!(
            "no growth rate yet from {} frames over {:.1} h",
            growth.points, growth.span_hours
        ),
        false => known.join("; "),
    }
}

fn doubling(what: &str, rate: &GrowthRate) -> String {
    match rate.doubling_hours {
        None => format!("{what} {:+.4} per hour, not told from 0", rate.per_hour),
        Some((hours, low, high)) => {
            let does = match 0.0 < hours {
                true => "doubles",
                false => "halves",
            };
            let (low, high) = (low.abs().min(high.abs()), low.abs().max(high.abs()));
            format!(
                "{what} {does} in {:.1} h ({low:.1} to {high:.1})",
                hours.abs()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{export::testing::one_cell, segmentation::Track};

    #[test]
    fn each_place_is_a_line() {
        let mut tally = Tally::default();
        for (well, id, parent_id) in [("B03", 1, None), ("B03", 2, Some(1)), ("", 7, None)] {
            let metadata = FrameMetadata {
                well: well.to_owned(),
                ..FrameMetadata::default()
            };
            let mut segmentation = one_cell(8, 6);
            segmentation.instances[0].track = Some(Track {
                id,
                parent_id,
                ..Track::default()
            });
            segmentation.growth = (id == 2).then(|| Growth {
                count: Some(GrowthRate {
                    per_hour: 0.035,
                    doubling_hours: Some((19.8, 18.1, 22.0)),
                }),
                points: 9,
                ..Growth::default()
            });
            tally.add(&metadata, &segmentation);
        }
        assert_eq!(
            tally.lines(),
            [
                "1 cells followed, 0 divisions",
                "well B03: 2 cells followed, 1 divisions; count doubles in 19.8 h (18.1 to 22.0)"
            ]
        );
    }

    #[test]
    fn what_is_not_told_from_standing_still_is_said_so() {
        let rate = |doubling_hours| GrowthRate {
            per_hour: -0.01,
            doubling_hours,
        };
        assert_eq!(
            doubling("count", &rate(None)),
            "count -0.0100 per hour, not told from 0"
        );
        let halves = doubling("count", &rate(Some((-69.3, -80.0, -60.0))));
        assert_eq!(halves, "count halves in 69.3 h (60.0 to 80.0)");
    }
}
