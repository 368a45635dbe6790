//! What is made of the cells, in the contract's messages.

use crate::{
    cli::segmenter::Wishes,
    mask::{Mask, Ring, encode_coco},
    params::{Analysis, Distance, GrowthOptions, Measurements, Tracking},
    proto,
    segmentation::Track,
    track::{Resumed, ResumedCell},
};

use super::request::metadata;

pub(super) fn region(analysis: &Analysis) -> Option<proto::Region> {
    let rings = analysis.region.as_ref()?.iter().map(ring);
    Some(proto::Region {
        rings: rings.collect(),
    })
}

fn ring(ring: &Ring) -> proto::Ring {
    let mut last = (0, 0);
    let mut xy_delta = Vec::with_capacity(2 * ring.corners.len());
    for &(x, y) in &ring.corners {
        xy_delta.extend([x - last.0, y - last.1]);
        last = (x, y);
    }
    proto::Ring {
        xy_delta,
        hole: ring.hole,
    }
}

pub(super) fn measurements(analysis: &Analysis) -> Option<proto::Measurements> {
    let wishes = analysis.measurements;
    let (neighbour_radius_px, neighbour_radius_um) = distance(wishes.neighbour_radius);
    let asked = proto::Measurements {
        shape: wishes.shape,
        hull: wishes.hull,
        intensity: wishes.intensity,
        background: wishes.background,
        neighbours: wishes.neighbours,
        neighbour_radius_px,
        neighbour_radius_um,
    };
    wishes.any().then_some(asked)
}

/// Pixels, micrometres.
fn distance(distance: Option<Distance>) -> (Option<f64>, Option<f64>) {
    match distance {
        None => (None, None),
        Some(Distance::Px(px)) => (Some(px), None),
        Some(Distance::Um(um)) => (None, Some(um)),
    }
}

pub(super) fn tracking(wishes: &Wishes) -> Option<proto::Tracking> {
    let tracking = wishes.analysis.tracking?;
    let (max_distance_px, max_distance_um) = distance(tracking.max_distance);
    let series = wishes.resumed.iter().map(|(frame, resumed)| {
        let cells = resumed.cells.iter();
        proto::ResumedSeries {
            metadata: Some(metadata(frame.clone())),
            width: resumed.width,
            height: resumed.height,
            next_id: resumed.next_id,
            instances: cells.map(|cell| resumed_cell(cell, resumed)).collect(),
        }
    });
    let resume = proto::Resume {
        series: series.collect(),
    };
    Some(proto::Tracking {
        max_gap: Some(tracking.max_gap),
        max_distance_px,
        max_distance_um,
        divisions: Some(tracking.divisions),
        z_plane: Some(tracking.z_plane),
        resume: (!resume.series.is_empty()).then_some(resume),
    })
}

fn resumed_cell(cell: &ResumedCell, of: &Resumed) -> proto::ResumedInstance {
    let rle = |mask: &Mask| proto::CocoRle {
        counts: encode_coco(mask, of.width, of.height).into(),
    };
    proto::ResumedInstance {
        track: Some(proto::Track {
            id: cell.track.id,
            parent_id: cell.track.parent_id,
            age: cell.track.age,
            gap: cell.track.gap,
            moved_x_px: cell.track.moved_px.map(|(x, _)| x),
            moved_y_px: cell.track.moved_px.map(|(_, y)| y),
            moved_um: None,
        }),
        class_index: cell.class_index,
        mask: Some(proto::resumed_instance::Mask::Rle(rle(&cell.mask))),
        missing: cell.missing,
        dropped: cell.dropped,
        drifted: Some(proto::Drift {
            x_px: cell.drifted_px.0,
            y_px: cell.drifted_px.1,
            ..Default::default()
        }),
    }
}

pub(super) fn growth(analysis: &Analysis) -> Option<proto::GrowthOptions> {
    let growth = analysis.growth?;
    Some(proto::GrowthOptions {
        window_hours: Some(growth.window_hours),
        min_points: Some(growth.min_points),
    })
}

/// What a server settled.
pub(super) fn settled(options: &proto::SessionOptions) -> Analysis {
    let asked = options.measurements.unwrap_or_default();
    let default = (Tracking::default(), GrowthOptions::default());
    let distance = |px: Option<f64>, um: Option<f64>| um.map(Distance::Um).or(px.map(Distance::Px));
    Analysis {
        region: options.region.as_ref().map(|region| {
            let rings: Vec<Ring> = region.rings.iter().map(corners).collect();
            rings.into()
        }),
        measurements: Measurements {
            shape: asked.shape,
            hull: asked.hull,
            intensity: asked.intensity,
            background: asked.background,
            neighbours: asked.neighbours,
            neighbour_radius: distance(asked.neighbour_radius_px, asked.neighbour_radius_um),
        },
        tracking: options.tracking.as_ref().map(|tracking| Tracking {
            max_gap: tracking.max_gap.unwrap_or(default.0.max_gap),
            max_distance: distance(tracking.max_distance_px, tracking.max_distance_um),
            divisions: tracking.divisions.unwrap_or(default.0.divisions),
            z_plane: tracking.z_plane.unwrap_or(default.0.z_plane),
        }),
        growth: options.growth.map(|growth| GrowthOptions {
            window_hours: growth.window_hours.unwrap_or(default.1.window_hours),
            min_points: growth.min_points.unwrap_or(default.1.min_points),
        }),
    }
}

fn corners(ring: &proto::Ring) -> Ring {
    let mut at = (0i32, 0i32);
    let corners = ring.xy_delta.chunks_exact(2).map(|delta| {
        at = (at.0.saturating_add(delta[0]), at.1.saturating_add(delta[1]));
        at
    });
    Ring {
        corners: corners.collect(),
        hole: ring.hole,
    }
}

/// One cell's identity.
pub(super) fn track(track: proto::Track) -> Track {
    Track {
        id: track.id,
        parent_id: track.parent_id,
        age: track.age,
        gap: track.gap,
        moved_px: track.moved_x_px.zip(track.moved_y_px),
    }
}
