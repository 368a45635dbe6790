//! A COCO dataset of many frames: images, annotations, categories in one file, as `pycocotools.COCO` reads it.

use std::io::Write;

use serde_json::json;

use super::{ExportError, FrameCells, Provenance, coco::CocoRle};

/// A dataset on its way into a file. Categories count from 1, as in COCO's own; so do images and annotations.
pub struct Dataset<W: Write> {
    out: W,
    images: Vec<serde_json::Value>,
    n_annotations: u64,
}

impl<W: Write> Dataset<W> {
    /// Without a frame.
    pub fn new(mut out: W, provenance: &Provenance) -> Result<Self, ExportError> {
        let info = json!({"description": "Cells segmented by cellsegd", "version": provenance.cellsegd,
            "date_created": provenance.started_at, "cellsegd": provenance.object()});
        let categories: Vec<_> = (1..)
            .zip(&provenance.classes)
            .map(|(id, name)| json!({"id": id, "name": name, "supercategory": ""}))
            .collect();
        write!(
            out,
            r#"{{"info":{info},"licenses":[],"categories":{},"annotations":["#,
            json!(categories)
        )?;
        Ok(Dataset {
            out,
            images: Vec::new(),
            n_annotations: 0,
        })
    }

    /// Adds the cells of a frame.
    pub fn add(&mut self, frame: &FrameCells) -> Result<(), ExportError> {
        let cells = frame.segmentation;
        let image_id = self.images.len() as u64 + 1;
        self.images.push(json!({"id": image_id, "file_name": frame.file, "image_id": frame.image_id,
            "width": cells.width, "height": cells.height, "pixel_size_um": frame.metadata.pixel_size_um}));
        for (label, cell) in (1u32..).zip(&cells.instances) {
            let (rle, tight) = CocoRle::new(&cell.mask, (cells.width, cells.height));
            let comma = if self.n_annotations == 0 { "" } else { "," };
            self.n_annotations += 1;
            let annotation = json!({"id": self.n_annotations, "image_id": image_id,
                "category_id": cell.class_index + 1, "iscrowd": 0, "area": cell.area, "score": cell.score,
                "bbox": [tight.x(), tight.y(), tight.width(), tight.height()], "segmentation": rle,
                "label": label, "track_id": cell.track.map(|track| track.id)});
            write!(self.out, "{comma}\n{annotation}")?;
        }
        Ok(())
    }

    /// Writes the images.
    pub fn finish(mut self) -> Result<(), ExportError> {
        writeln!(self.out, "\n],\"images\":{}}}", json!(self.images))?;
        Ok(self.out.flush()?)
    }
}
