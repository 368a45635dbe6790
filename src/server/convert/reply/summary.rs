//! Numbers for the whole frame.

use std::collections::BTreeMap;

use crate::{
    proto as pb,
    segmentation::{Growth, GrowthRate, Instance, Segmentation},
};

/// Of the `instances` listed in the answer to `frame`.
pub(super) fn told(
    instances: &[Instance],
    frame: &Segmentation,
    pixel_size_um: Option<f64>,
) -> pb::FrameSummary {
    let count = instances.len() as u32;
    let mut count_by_class = BTreeMap::new();
    for cell in instances {
        *count_by_class.entry(cell.class_index).or_default() += 1;
    }
    let mm2 = |um: f64| frame.analysed_px as f64 * um * um * 1e-6;
    let um = |px: f64| pixel_size_um.map(|um| px * um);
    let neighbourhood = frame.neighbourhood.unwrap_or_default();
    pb::FrameSummary {
        count,
        confluence: frame.confluence,
        density_per_mm2: pixel_size_um.map(|um| f64::from(count) / mm2(um)),
        count_by_class,
        removed_by_area: frame.removed_by_area,
        removed_at_border: frame.removed_at_border,
        analysed_px: frame.analysed_px,
        nearest_neighbour_mean_px: neighbourhood.nearest_mean_px,
        nearest_neighbour_mean_um: neighbourhood.nearest_mean_px.and_then(um),
        neighbours_mean: neighbourhood.neighbours_mean,
        drift: frame.drift_px.map(|(x, y)| pb::Drift {
            x_px: x,
            y_px: y,
            x_um: um(x),
            y_um: um(y),
        }),
        growth: frame.growth.as_ref().map(growth),
    }
}

fn growth(growth: &Growth) -> pb::Growth {
    pb::Growth {
        count: growth.count.as_ref().map(rate),
        confluence: growth.confluence.as_ref().map(rate),
        points: growth.points,
        span_hours: growth.span_hours,
        excluded: growth.excluded,
        fields: growth.fields,
    }
}

fn rate(rate: &GrowthRate) -> pb::GrowthRate {
    let doubling = rate.doubling_hours;
    pb::GrowthRate {
        per_hour: rate.per_hour,
        doubling_hours: doubling.map(|(estimate, _, _)| estimate),
        doubling_low_hours: doubling.map(|(_, low, _)| low),
        doubling_high_hours: doubling.map(|(_, _, high)| high),
    }
}
