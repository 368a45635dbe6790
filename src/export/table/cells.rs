//! The table with a row a cell.

use std::{collections::BTreeSet, io::Write};

use super::{
    Column, Format, Kind, TableFile, Value,
    columns::{CHANNEL_COLUMNS, COLUMNS, Row, channel_column},
};
use crate::{
    export::{ExportError, FrameCells, Provenance, class_name},
    segmentation::Segmentation,
};

/// Cells of one frame or of many.
pub struct CellTable<W: Write + Send> {
    file: TableFile<W>,
    channels: Vec<String>,
    classes: Vec<String>,
}

/// The channels in which cells were measured.
pub fn channels(segmentation: &Segmentation) -> BTreeSet<String> {
    segmentation
        .instances
        .iter()
        .filter_map(|cell| cell.measures.as_deref())
        .flat_map(|measures| &measures.intensity)
        .map(|intensity| intensity.channel.clone())
        .collect()
}

impl<W: Write + Send> CellTable<W> {
    /// Starts a file. `channels`: those of all frames that will be added.
    pub fn new(
        format: Format,
        out: W,
        channels: &BTreeSet<String>,
        provenance: &Provenance,
    ) -> Result<Self, ExportError> {
        let column = |name: String, kind| Column { name, kind };
        let always = COLUMNS
            .iter()
            .map(|&(name, kind, _)| column(name.to_owned(), kind));
        let of_channels = channels.iter().flat_map(|channel| {
            CHANNEL_COLUMNS
                .iter()
                .map(move |(name, _)| column(channel_column(channel, name), Kind::Float))
        });
        let columns = always.chain(of_channels).collect();
        Ok(CellTable {
            file: TableFile::new(format, out, columns, provenance)?,
            channels: channels.iter().cloned().collect(),
            classes: provenance.classes.clone(),
        })
    }

    /// Adds the cells of a frame.
    pub fn add(&mut self, frame: &FrameCells) -> Result<(), ExportError> {
        for (label, cell) in (1..).zip(&frame.segmentation.instances) {
            let row = Row {
                frame,
                class: class_name(&self.classes, cell.class_index),
                label,
                cell,
            };
            let mut values: Vec<Value> = COLUMNS.iter().map(|(_, _, value)| value(&row)).collect();
            for channel in &self.channels {
                let intensity = row
                    .measures()
                    .and_then(|it| it.intensity.iter().find(|it| it.channel == *channel));
                let of_channel = CHANNEL_COLUMNS
                    .iter()
                    .map(|(_, value)| Value::float(intensity.and_then(value)));
                values.extend(of_channel);
            }
            self.file.row(values)?;
        }
        Ok(())
    }

    /// Hands the last rows on.
    pub fn finish(self) -> Result<(), ExportError> {
        self.file.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::{metadata, one_cell, provenance, two_cells, with};

    fn table(pixel_size_um: Option<f64>, cells: &Segmentation) -> Vec<Vec<String>> {
        let mut out = Vec::new();
        let metadata = metadata(pixel_size_um);
        let channels = channels(cells);
        let mut table = CellTable::new(Format::Csv, &mut out, &channels, &provenance()).unwrap();
        table.add(&with(&metadata, cells)).unwrap();
        table.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines()
            .map(|line| line.split(',').map(str::to_owned).collect())
            .collect()
    }

    fn value<'a>(table: &'a [Vec<String>], row: usize, column: &str) -> &'a str {
        let at = table[0].iter().position(|name| name == column);
        &table[row][at.unwrap_or_else(|| panic!("no column {column}"))]
    }

    #[test]
    fn a_cell_is_a_row_with_units_in_the_header() {
        let table = table(Some(0.5), &one_cell(8, 6));
        assert_eq!(table.len(), 2);
        // Pixels (2, 1), (3, 1), (2, 2), (3, 2), (4, 2).
        for (column, expected) in [
            ("image_id", "t01"),
            ("label", "1"),
            ("class", "nucleus"),
            ("score", "0.9"),
            ("area_px", "5"),
            ("area_um2", "1.25"),
            ("bbox_x0_px", "2"),
            ("bbox_y1_px", "3"),
            ("centroid_x_px", "3.3"),
            ("centroid_y_px", "2.1"),
            ("centroid_y_um", "1.05"),
            ("touches_border", "false"),
            ("perimeter_px", ""),
            ("track_id", ""),
        ] {
            assert_eq!(value(&table, 1, column), expected, "{column}");
        }
    }

    #[test]
    fn micrometres_are_empty_without_a_pixel_size() {
        let table = table(None, &two_cells());
        let empty = table[0]
            .iter()
            .filter(|name| name.contains("_um"))
            .inspect(|name| assert_eq!(value(&table, 1, name), "", "{name}"));
        assert!(empty.count() > 8);
    }

    #[test]
    fn measures_tracks_and_channels_have_columns() {
        let table = table(Some(2.0), &two_cells());
        for (column, expected) in [
            ("perimeter_px", "7.25"),
            ("perimeter_um", "14.5"),
            ("track_id", "7"),
            ("parent_id", "3"),
            ("GFP_mean_counts", "100.5"),
            ("GFP_background_counts", ""),
        ] {
            assert_eq!(value(&table, 2, column), expected, "{column}");
        }
        assert_eq!(value(&table, 1, "GFP_mean_counts"), "");
    }

    #[test]
    fn no_two_columns_have_one_name() {
        let names: BTreeSet<_> = COLUMNS.iter().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), COLUMNS.len());
    }
}
