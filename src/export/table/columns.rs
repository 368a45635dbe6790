//! What the columns of the table of cells are.

use super::{Kind, Value};
use crate::{
    export::FrameCells,
    mask::Mask,
    segmentation::{Hull, Instance, Intensity, Measures, Shape, Track},
};

/// A cell where it lies.
pub(super) struct Row<'a> {
    pub(super) frame: &'a FrameCells<'a>,
    pub(super) class: &'a str,
    pub(super) label: u32,
    pub(super) cell: &'a Instance,
}

/// A column: its name, what it holds, and where that comes from.
pub(super) type Definition = (&'static str, Kind, fn(&Row) -> Value);

/// Of every table; columns of channels follow. Coordinates are pixel edges: the centre of the top left pixel is (0.5, 0.5).
pub(super) const COLUMNS: [Definition; 55] = [
    ("image_id", Kind::Text, |row| {
        Value::text(row.frame.image_id)
    }),
    ("plate", Kind::Text, |row| {
        Value::text(&row.frame.metadata.plate)
    }),
    ("well", Kind::Text, |row| {
        Value::text(&row.frame.metadata.well)
    }),
    ("field", Kind::Int, |row| {
        Value::int(row.frame.metadata.field)
    }),
    ("position", Kind::Text, |row| {
        Value::text(&row.frame.position())
    }),
    ("channel", Kind::Text, |row| {
        Value::text(&row.frame.metadata.channel)
    }),
    ("t", Kind::Int, |row| Value::int(row.frame.index("t"))),
    ("z", Kind::Int, |row| Value::int(row.frame.index("z"))),
    ("elapsed_h", Kind::Float, |row| {
        Value::float(row.frame.metadata.elapsed_ms.map(|ms| ms / 3_600_000.0))
    }),
    ("label", Kind::Int, |row| Value::Int(row.label.into())),
    ("class", Kind::Text, |row| Value::text(row.class)),
    // As short as the number that it is: 0.9, not 0.89999998.
    ("score", Kind::Float, |row| {
        Value::float(row.cell.score.to_string().parse().ok())
    }),
    ("track_id", Kind::Int, |row| {
        row.track(|track| Value::id(Some(track.id)))
    }),
    ("parent_id", Kind::Int, |row| {
        row.track(|track| Value::id(track.parent_id))
    }),
    ("track_age_frames", Kind::Int, |row| {
        row.track(|track| Value::Int(track.age.into()))
    }),
    ("track_gap_frames", Kind::Int, |row| {
        row.track(|track| Value::Int(track.gap.into()))
    }),
    ("moved_x_px", Kind::Float, |row| {
        row.track(|track| Value::float(track.moved_px.map(|(x, _)| x)))
    }),
    ("moved_y_px", Kind::Float, |row| {
        row.track(|track| Value::float(track.moved_px.map(|(_, y)| y)))
    }),
    ("moved_um", Kind::Float, |row| {
        row.track(|track| row.um(track.moved_px.map(|(x, y)| x.hypot(y))))
    }),
    ("area_px", Kind::Int, |row| Value::Int(row.cell.area.into())),
    ("area_um2", Kind::Float, |row| {
        row.um2(Some(row.cell.area.into()))
    }),
    ("bbox_x0_px", Kind::Int, |row| {
        Value::Int(row.cell.mask.x().into())
    }),
    ("bbox_y0_px", Kind::Int, |row| {
        Value::Int(row.cell.mask.y().into())
    }),
    ("bbox_x1_px", Kind::Int, |row| {
        Value::Int((row.cell.mask.x() + row.cell.mask.width()).into())
    }),
    ("bbox_y1_px", Kind::Int, |row| {
        Value::Int((row.cell.mask.y() + row.cell.mask.height()).into())
    }),
    ("centroid_x_px", Kind::Float, |row| {
        Value::Float(row.centroid_px().0)
    }),
    ("centroid_y_px", Kind::Float, |row| {
        Value::Float(row.centroid_px().1)
    }),
    ("centroid_x_um", Kind::Float, |row| {
        row.um(Some(row.centroid_px().0))
    }),
    ("centroid_y_um", Kind::Float, |row| {
        row.um(Some(row.centroid_px().1))
    }),
    ("stage_x_um", Kind::Float, |row| {
        Value::float(row.on_stage_um().map(|(x, _)| x))
    }),
    ("stage_y_um", Kind::Float, |row| {
        Value::float(row.on_stage_um().map(|(_, y)| y))
    }),
    ("touches_border", Kind::Bool, |row| {
        Value::Bool(row.cell.touches_border)
    }),
    ("perimeter_px", Kind::Float, |row| {
        row.shape(|shape| Value::Float(shape.perimeter_px))
    }),
    ("perimeter_um", Kind::Float, |row| {
        row.shape(|shape| row.um(Some(shape.perimeter_px)))
    }),
    ("major_axis_px", Kind::Float, |row| {
        row.shape(|shape| Value::Float(shape.major_axis_px))
    }),
    ("major_axis_um", Kind::Float, |row| {
        row.shape(|shape| row.um(Some(shape.major_axis_px)))
    }),
    ("minor_axis_px", Kind::Float, |row| {
        row.shape(|shape| Value::Float(shape.minor_axis_px))
    }),
    ("minor_axis_um", Kind::Float, |row| {
        row.shape(|shape| row.um(Some(shape.minor_axis_px)))
    }),
    ("eccentricity", Kind::Float, |row| {
        row.shape(|shape| Value::Float(shape.eccentricity))
    }),
    ("orientation_rad", Kind::Float, |row| {
        row.shape(|shape| Value::Float(shape.orientation_rad))
    }),
    ("extent", Kind::Float, |row| {
        row.shape(|shape| Value::Float(shape.extent))
    }),
    ("equivalent_diameter_px", Kind::Float, |row| {
        row.shape(|shape| Value::Float(shape.equivalent_diameter_px))
    }),
    ("equivalent_diameter_um", Kind::Float, |row| {
        row.shape(|shape| row.um(Some(shape.equivalent_diameter_px)))
    }),
    ("circularity", Kind::Float, |row| {
        row.shape(|shape| Value::Float(shape.circularity))
    }),
    ("euler_number", Kind::Int, |row| {
        row.shape(|shape| Value::Int(shape.euler_number.into()))
    }),
    ("convex_area_px", Kind::Float, |row| {
        row.hull(|hull| Value::Float(hull.convex_area_px))
    }),
    ("convex_area_um2", Kind::Float, |row| {
        row.hull(|hull| row.um2(Some(hull.convex_area_px)))
    }),
    ("solidity", Kind::Float, |row| {
        row.hull(|hull| Value::Float(hull.solidity))
    }),
    ("feret_max_px", Kind::Float, |row| {
        row.hull(|hull| Value::Float(hull.feret_max_px))
    }),
    ("feret_max_um", Kind::Float, |row| {
        row.hull(|hull| row.um(Some(hull.feret_max_px)))
    }),
    ("feret_min_px", Kind::Float, |row| {
        row.hull(|hull| Value::Float(hull.feret_min_px))
    }),
    ("feret_min_um", Kind::Float, |row| {
        row.hull(|hull| row.um(Some(hull.feret_min_px)))
    }),
    ("nearest_px", Kind::Float, |row| {
        Value::float(row.nearest_px())
    }),
    ("nearest_um", Kind::Float, |row| row.um(row.nearest_px())),
    ("neighbours_within_radius", Kind::Int, |row| {
        Value::int(row.measures().and_then(|it| it.neighbours?.within_radius))
    }),
];

/// A column of a channel: the end of its name, and where its value comes from.
pub(super) type ChannelDefinition = (&'static str, fn(&Intensity) -> Option<f64>);

pub(super) const CHANNEL_COLUMNS: [ChannelDefinition; 8] = [
    ("mean_counts", |it| Some(it.mean)),
    ("min_counts", |it| Some(it.min)),
    ("max_counts", |it| Some(it.max)),
    ("std_counts", |it| Some(it.std)),
    ("integrated_counts", |it| Some(it.integrated)),
    ("background_counts", |it| it.background),
    ("weighted_centroid_x_px", |it| {
        Some(it.weighted_centroid_px.0)
    }),
    ("weighted_centroid_y_px", |it| {
        Some(it.weighted_centroid_px.1)
    }),
];

impl Row<'_> {
    pub(super) fn measures(&self) -> Option<&Measures> {
        self.cell.measures.as_deref()
    }

    fn track(&self, value: impl FnOnce(&Track) -> Value) -> Value {
        self.cell.track.as_ref().map_or(Value::Absent, value)
    }

    fn shape(&self, value: impl FnOnce(&Shape) -> Value) -> Value {
        let shape = self.measures().and_then(|it| it.shape.as_ref());
        shape.map_or(Value::Absent, value)
    }

    fn hull(&self, value: impl FnOnce(&Hull) -> Value) -> Value {
        let hull = self.measures().and_then(|it| it.hull.as_ref());
        hull.map_or(Value::Absent, value)
    }

    fn nearest_px(&self) -> Option<f64> {
        self.measures()?.neighbours?.nearest_px
    }

    fn centroid_px(&self) -> (f64, f64) {
        self.measures()
            .map_or_else(|| centroid(&self.cell.mask), |it| it.centroid_px)
    }

    fn on_stage_um(&self) -> Option<(f64, f64)> {
        self.frame.metadata.on_stage(self.centroid_px())
    }

    fn um(&self, px: Option<f64>) -> Value {
        Value::float(
            px.zip(self.frame.metadata.pixel_size_um)
                .map(|(px, um)| px * um),
        )
    }

    fn um2(&self, px: Option<f64>) -> Value {
        Value::float(px.zip(self.frame.um2_per_px()).map(|(px, um2)| px * um2))
    }
}

/// What was measured of a cell, by the names of the table's columns.
pub(in crate::export) fn measurements(
    frame: &FrameCells,
    label: u32,
    cell: &Instance,
) -> Vec<(String, f64)> {
    let row = Row {
        frame,
        class: "",
        label,
        cell,
    };
    let first = COLUMNS.iter().position(|(name, ..)| *name == "area_px");
    let of_cell = COLUMNS[first.unwrap_or_default()..]
        .iter()
        .filter_map(|(name, _, value)| match value(&row) {
            Value::Int(number) => Some(((*name).to_owned(), number as f64)),
            Value::Float(number) => Some(((*name).to_owned(), number)),
            Value::Text(_) | Value::Bool(_) | Value::Absent => None,
        });
    let channels = row.measures().into_iter().flat_map(|it| &it.intensity);
    let of_channels = channels.flat_map(|intensity| {
        CHANNEL_COLUMNS.iter().filter_map(|(name, value)| {
            Some((channel_column(&intensity.channel, name), value(intensity)?))
        })
    });
    of_cell.chain(of_channels).collect()
}

/// The name of a channel's column.
pub(super) fn channel_column(channel: &str, name: &str) -> String {
    match channel {
        "" => format!("intensity_{name}"),
        _ => format!("{channel}_{name}"),
    }
}

/// Mean of the pixels' centres, in the frame's pixel edges: for cells that were not measured.
pub(in crate::export) fn centroid(mask: &Mask) -> (f64, f64) {
    let (mut n, mut doubled_x, mut sum_y) = (0u64, 0u64, 0u64);
    for y in 0..mask.height() {
        for xs in mask.row_runs(y) {
            let length = u64::from(xs.end - xs.start);
            n += length;
            // Twice the sum of the numbers from start to end - 1, half a pixel added to each.
            doubled_x += u64::from(xs.start + xs.end) * length;
            sum_y += u64::from(y) * length;
        }
    }
    (
        f64::from(mask.x()) + doubled_x as f64 / (2 * n) as f64,
        f64::from(mask.y()) + sum_y as f64 / n as f64 + 0.5,
    )
}
