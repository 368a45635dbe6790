//! Measurements with their units.

use crate::{
    frame::FrameMetadata,
    proto as pb,
    segmentation::{self as seg, Instance},
};

/// What pixels of a frame are in the world.
pub(super) struct Units<'a> {
    pixel_size_um: Option<f64>,
    metadata: &'a FrameMetadata,
}

impl<'a> Units<'a> {
    pub(super) fn of(metadata: &'a FrameMetadata) -> Self {
        Units {
            pixel_size_um: metadata.pixel_size_um,
            metadata,
        }
    }

    /// Micrometres, where the size of a pixel is known.
    pub(super) fn um(&self, px: f64) -> Option<f64> {
        self.pixel_size_um.map(|um| px * um)
    }

    fn um2(&self, px: f64) -> Option<f64> {
        self.pixel_size_um.map(|um| px * um * um)
    }
}

/// What was measured of a cell, if anything was.
pub(super) fn told(cell: &Instance, units: &Units<'_>) -> Option<pb::Measures> {
    let measures = cell.measures.as_deref()?;
    let stage = units.metadata.on_stage(measures.centroid_px);
    Some(pb::Measures {
        area_px: cell.area,
        area_um2: units.um2(f64::from(cell.area)),
        centroid_x_px: measures.centroid_px.0,
        centroid_y_px: measures.centroid_px.1,
        stage_x_um: stage.map(|(x, _)| x),
        stage_y_um: stage.map(|(_, y)| y),
        shape: measures
            .shape
            .as_ref()
            .map(|shape| self::shape(shape, units)),
        hull: measures.hull.as_ref().map(|hull| self::hull(hull, units)),
        intensity: measures.intensity.iter().map(intensity).collect(),
        neighbours: measures.neighbours.map(|neighbours| pb::Neighbours {
            nearest_px: neighbours.nearest_px,
            nearest_um: neighbours.nearest_px.and_then(|px| units.um(px)),
            within_radius: neighbours.within_radius,
        }),
    })
}

/// The counts of one channel.
pub(super) fn intensity(channel: &seg::Intensity) -> pb::Intensity {
    pb::Intensity {
        channel: channel.channel.clone(),
        mean: channel.mean,
        min: channel.min,
        max: channel.max,
        std: channel.std,
        integrated: channel.integrated,
        background: channel.background,
        weighted_centroid_x_px: channel.weighted_centroid_px.0,
        weighted_centroid_y_px: channel.weighted_centroid_px.1,
    }
}

fn shape(shape: &seg::Shape, units: &Units<'_>) -> pb::Shape {
    pb::Shape {
        perimeter_px: shape.perimeter_px,
        perimeter_um: units.um(shape.perimeter_px),
        major_axis_px: shape.major_axis_px,
        major_axis_um: units.um(shape.major_axis_px),
        minor_axis_px: shape.minor_axis_px,
        minor_axis_um: units.um(shape.minor_axis_px),
        eccentricity: shape.eccentricity,
        orientation_rad: shape.orientation_rad,
        extent: shape.extent,
        equivalent_diameter_px: shape.equivalent_diameter_px,
        equivalent_diameter_um: units.um(shape.equivalent_diameter_px),
        circularity: shape.circularity,
        euler_number: shape.euler_number,
    }
}

fn hull(hull: &seg::Hull, units: &Units<'_>) -> pb::Hull {
    pb::Hull {
        convex_area_px: hull.convex_area_px,
        convex_area_um2: units.um2(hull.convex_area_px),
        solidity: hull.solidity,
        feret_max_px: hull.feret_max_px,
        feret_max_um: units.um(hull.feret_max_px),
        feret_min_px: hull.feret_min_px,
        feret_min_um: units.um(hull.feret_min_px),
    }
}
