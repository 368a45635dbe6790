//! A table with a row a cell, for spreadsheets and data frames.

use std::io::Write;

use anyhow::Result;

use super::coco::class_name;
use crate::{frame::Frame, mask::Mask, segmentation::Segmentation};

/// Coordinates are pixel edges: the centre of the top left pixel is (0.5, 0.5). Columns that need a pixel size are empty without.
const COLUMNS: [&str; 13] = [
    "image_id",
    "label",
    "class",
    "score",
    "area_px",
    "area_um2",
    "bbox_x0_px",
    "bbox_y0_px",
    "bbox_x1_px",
    "bbox_y1_px",
    "centroid_x_px",
    "centroid_y_px",
    "touches_border",
];

/// Cells of one frame or of many.
pub(super) struct CellTable<W: Write>(csv::Writer<W>);

impl<W: Write> CellTable<W> {
    /// Starts with the names of the columns.
    pub(super) fn new(out: W) -> Result<Self> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(COLUMNS)?;
        Ok(CellTable(writer))
    }

    /// Adds the cells of a frame.
    pub(super) fn add(
        &mut self,
        image_id: &str,
        frame: &Frame,
        segmentation: &Segmentation,
        classes: &[String],
    ) -> Result<()> {
        let um2_per_px = frame.metadata().pixel_size_um.map(|um| um * um);
        for (i, cell) in segmentation.instances.iter().enumerate() {
            let mask = &cell.mask;
            let (x, y) = centroid(mask);
            self.0.write_record([
                image_id,
                &(i + 1).to_string(),
                class_name(classes, cell.class_index),
                &cell.score.to_string(),
                &cell.area.to_string(),
                &um2_per_px.map_or(String::new(), |um2| {
                    format!("{:.3}", f64::from(cell.area) * um2)
                }),
                &mask.x().to_string(),
                &mask.y().to_string(),
                &(mask.x() + mask.width()).to_string(),
                &(mask.y() + mask.height()).to_string(),
                &format!("{x:.3}"),
                &format!("{y:.3}"),
                &cell.touches_border.to_string(),
            ])?;
        }
        Ok(())
    }

    /// Hands the last rows on.
    pub(super) fn finish(mut self) -> Result<()> {
        Ok(self.0.flush()?)
    }
}

/// Mean of the pixels' centres, in the frame's pixel edges.
fn centroid(mask: &Mask) -> (f64, f64) {
    let (mut n, mut sum_x, mut sum_y) = (0u64, 0u64, 0u64);
    for y in 0..mask.height() {
        for x in (0..mask.width()).filter(|&x| mask.get(x, y)) {
            n += 1;
            sum_x += u64::from(x);
            sum_y += u64::from(y);
        }
    }
    let mean = |corner: u32, sum: u64| f64::from(corner) + sum as f64 / n as f64 + 0.5;
    (mean(mask.x(), sum_x), mean(mask.y(), sum_y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{frame, one_cell};

    fn table(pixel_size_um: Option<f64>) -> String {
        let mut out = Vec::new();
        let mut table = CellTable::new(&mut out).unwrap();
        let classes = ["cell".to_owned(), "nucleus".to_owned()];
        table
            .add(
                "t01",
                &frame(8, 6, pixel_size_um),
                &one_cell(8, 6),
                &classes,
            )
            .unwrap();
        table.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_cell_is_a_row_with_units_in_the_header() {
        let text = table(Some(0.5));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], COLUMNS.join(","));
        // Pixels (2, 1), (3, 1), (2, 2), (3, 2), (4, 2).
        assert_eq!(
            lines[1..],
            ["t01,1,nucleus,0.9,5,1.250,2,1,5,3,3.300,2.100,false"]
        );
    }

    #[test]
    fn micrometres_are_empty_without_a_pixel_size() {
        assert!(table(None).contains(",5,,2,"));
    }
}
