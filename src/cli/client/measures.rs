//! A server's measurements in our types.

use crate::{
    proto,
    segmentation::{
        Growth, GrowthRate, Hull, Intensity, Measures, Neighbourhood, Neighbours, Shape,
    },
};

pub(super) fn measures(measures: proto::Measures) -> Box<Measures> {
    Box::new(Measures {
        centroid_px: (measures.centroid_x_px, measures.centroid_y_px),
        shape: measures.shape.map(shape),
        hull: measures.hull.map(hull),
        intensity: intensities(measures.intensity),
        neighbours: measures.neighbours.map(|neighbours| Neighbours {
            nearest_px: neighbours.nearest_px,
            within_radius: neighbours.within_radius,
        }),
    })
}

fn shape(shape: proto::Shape) -> Shape {
    Shape {
        perimeter_px: shape.perimeter_px,
        major_axis_px: shape.major_axis_px,
        minor_axis_px: shape.minor_axis_px,
        eccentricity: shape.eccentricity,
        orientation_rad: shape.orientation_rad,
        extent: shape.extent,
        equivalent_diameter_px: shape.equivalent_diameter_px,
        circularity: shape.circularity,
        euler_number: shape.euler_number,
    }
}

fn hull(hull: proto::Hull) -> Hull {
    Hull {
        convex_area_px: hull.convex_area_px,
        solidity: hull.solidity,
        feret_max_px: hull.feret_max_px,
        feret_min_px: hull.feret_min_px,
    }
}

pub(super) fn intensities(channels: Vec<proto::Intensity>) -> Vec<Intensity> {
    let intensity = |channel: proto::Intensity| Intensity {
        channel: channel.channel,
        mean: channel.mean,
        min: channel.min,
        max: channel.max,
        std: channel.std,
        integrated: channel.integrated,
        background: channel.background,
        weighted_centroid_px: (
            channel.weighted_centroid_x_px,
            channel.weighted_centroid_y_px,
        ),
    };
    channels.into_iter().map(intensity).collect()
}

/// None: no neighbours were asked for, or nobody has any.
pub(super) fn neighbourhood(summary: &proto::FrameSummary) -> Option<Neighbourhood> {
    let around = Neighbourhood {
        nearest_mean_px: summary.nearest_neighbour_mean_px,
        neighbours_mean: summary.neighbours_mean,
    };
    (around != Neighbourhood::default()).then_some(around)
}

pub(super) fn growth(growth: proto::Growth) -> Growth {
    Growth {
        count: growth.count.map(rate),
        confluence: growth.confluence.map(rate),
        points: growth.points,
        span_hours: growth.span_hours,
        excluded: growth.excluded,
        fields: growth.fields,
    }
}

fn rate(rate: proto::GrowthRate) -> GrowthRate {
    let interval = rate.doubling_low_hours.zip(rate.doubling_high_hours);
    GrowthRate {
        per_hour: rate.per_hour,
        doubling_hours: rate
            .doubling_hours
            .zip(interval)
            .map(|(estimate, (low, high))| (estimate, low, high)),
    }
}
