//! What is made of the cells: region, measurements, identities, growth.

use std::sync::Arc;

use super::super::{Refusal, reply};
use crate::{
    mask::{self, Ring},
    params::{Analysis, Distance, GrowthOptions, Measurements, Tracking},
    proto as pb,
};

/// Most frames for which a cell may be missing and come back.
const MAX_GAP: u32 = 50;

/// A year.
const MOST_WINDOW_HOURS: f64 = 8760.0;

/// Everything that is asked for beside the masks, but where an earlier session stopped.
pub(super) fn settled(options: &pb::SessionOptions) -> Result<Analysis, Refusal> {
    Ok(Analysis {
        region: options.region.as_ref().map(region).transpose()?,
        measurements: options
            .measurements
            .as_ref()
            .map(measurements)
            .transpose()?
            .unwrap_or_default(),
        tracking: options.tracking.as_ref().map(tracking).transpose()?,
        growth: options.growth.as_ref().map(growth).transpose()?,
    })
}

/// As the contract tells it; without what was resumed.
pub(super) fn tell(analysis: &Analysis, options: &mut pb::SessionOptions) {
    let px_um = |distance: Option<Distance>| match distance {
        None => (None, None),
        Some(Distance::Px(px)) => (Some(px), None),
        Some(Distance::Um(um)) => (None, Some(um)),
    };
    options.region = analysis.region.as_ref().map(|rings| pb::Region {
        rings: rings.iter().map(reply::ring).collect(),
    });
    let measurements = &analysis.measurements;
    options.measurements = measurements.any().then(|| {
        let (neighbour_radius_px, neighbour_radius_um) = px_um(measurements.neighbour_radius);
        pb::Measurements {
            shape: measurements.shape,
            hull: measurements.hull,
            intensity: measurements.intensity,
            background: measurements.background,
            neighbours: measurements.neighbours,
            neighbour_radius_px,
            neighbour_radius_um,
        }
    });
    options.tracking = analysis.tracking.as_ref().map(|tracking| {
        let (max_distance_px, max_distance_um) = px_um(tracking.max_distance);
        pb::Tracking {
            max_gap: Some(tracking.max_gap),
            max_distance_px,
            max_distance_um,
            divisions: Some(tracking.divisions),
            z_plane: Some(tracking.z_plane),
            resume: None,
        }
    });
    options.growth = analysis.growth.as_ref().map(|growth| pb::GrowthOptions {
        window_hours: Some(growth.window_hours),
        min_points: Some(growth.min_points),
    });
}

fn region(asked: &pb::Region) -> Result<Arc<[Ring]>, Refusal> {
    let rings = asked.rings.iter().map(|asked| ring(asked, "region"));
    let rings: Arc<[Ring]> = rings.collect::<Result<Vec<_>, _>>()?.into();
    mask::check_region(&rings).map_err(|error| Refusal::Invalid(error.to_string()))?;
    Ok(rings)
}

/// A ring's corners, of the differences that the contract sends.
pub(super) fn ring(asked: &pb::Ring, field: &str) -> Result<Ring, Refusal> {
    if !asked.xy_delta.len().is_multiple_of(2) {
        return Err(Refusal::Invalid(format!(
            "{field}: a ring's xy_delta has {} numbers: x and y of each corner are two",
            asked.xy_delta.len()
        )));
    }
    let (mut x, mut y) = (0i32, 0i32);
    let corners = asked.xy_delta.as_chunks().0.iter().map(|&[dx, dy]| {
        (x, y) = (x.checked_add(dx)?, y.checked_add(dy)?);
        Some((x, y))
    });
    let corners: Option<Vec<_>> = corners.collect();
    Ok(Ring {
        corners: corners.ok_or_else(|| {
            Refusal::Invalid(format!("{field}: a ring's corner is over 2^31 pixels away"))
        })?,
        hole: asked.hole,
    })
}

fn measurements(asked: &pb::Measurements) -> Result<Measurements, Refusal> {
    Ok(Measurements {
        shape: asked.shape,
        hull: asked.hull,
        intensity: asked.intensity,
        background: asked.background && asked.intensity,
        neighbours: asked.neighbours,
        neighbour_radius: distance(
            "measurements.neighbour_radius",
            asked.neighbour_radius_px,
            asked.neighbour_radius_um,
        )?,
    })
}

fn tracking(asked: &pb::Tracking) -> Result<Tracking, Refusal> {
    let default = Tracking::default();
    let max_gap = asked.max_gap.unwrap_or(default.max_gap);
    if max_gap > MAX_GAP {
        return Err(Refusal::Invalid(format!(
            "tracking.max_gap {max_gap}: must be 0 to {MAX_GAP}"
        )));
    }
    Ok(Tracking {
        max_gap,
        max_distance: distance(
            "tracking.max_distance",
            asked.max_distance_px,
            asked.max_distance_um,
        )?,
        divisions: asked.divisions.unwrap_or(default.divisions),
        z_plane: asked.z_plane.unwrap_or(default.z_plane),
    })
}

/// A distance in one of its two units.
fn distance(field: &str, px: Option<f64>, um: Option<f64>) -> Result<Option<Distance>, Refusal> {
    let (distance, unit, value) = match (px, um) {
        (None, None) => return Ok(None),
        (Some(px), None) => (Distance::Px(px), "px", px),
        (None, Some(um)) => (Distance::Um(um), "um", um),
        (Some(px), Some(um)) => {
            return Err(Refusal::Invalid(format!(
                "{field}_px {px} and {field}_um {um}: give one of them"
            )));
        }
    };
    match 0.0 < value && value.is_finite() {
        true => Ok(Some(distance)),
        false => Err(Refusal::Invalid(format!(
            "{field}_{unit} {value}: must be above 0"
        ))),
    }
}

fn growth(asked: &pb::GrowthOptions) -> Result<GrowthOptions, Refusal> {
    let default = GrowthOptions::default();
    let window_hours = asked.window_hours.unwrap_or(default.window_hours);
    if !(2.0..=MOST_WINDOW_HOURS).contains(&window_hours) {
        return Err(Refusal::Invalid(format!(
            "growth.window_hours {window_hours}: must be 2 to {MOST_WINDOW_HOURS}"
        )));
    }
    let min_points = asked.min_points.unwrap_or(default.min_points);
    if min_points < 5 {
        return Err(Refusal::Invalid(format!(
            "growth.min_points {min_points}: must be at least 5"
        )));
    }
    Ok(GrowthOptions {
        window_hours,
        min_points,
    })
}
