//! COCO results lists, as pycocotools' `loadRes` reads them, and the way back.
//!
//! Beside COCO's own keys each cell carries all that we know of it: a frame's list is what the folder of a run keeps of it, and
//! every other export is made of.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::{ExportError, class_name};
use crate::{
    geometry::BoxF,
    mask::{Mask, decode_coco, encode_coco},
    segmentation::{Instance, Measures, RawInstance, Segmentation, Track},
};

/// One cell of the list. Without a label: a mask as decoded.
#[derive(Debug, Serialize, Deserialize)]
struct CocoResult {
    image_id: String,
    /// The contract's class index, from 0.
    category_id: u32,
    category: String,
    /// x, y, width, height; pixels.
    bbox: [u32; 4],
    score: f32,
    /// Pixels.
    area: u32,
    segmentation: CocoRle,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<u32>,
    /// The network's box: x0, y0, x1, y1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detected_box: Option<[f32; 4]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    touches_border: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    track: Option<Track>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measures: Option<Box<Measures>>,
}

/// A mask as pycocotools spells it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CocoRle {
    /// Height, width.
    size: [u32; 2],
    counts: String,
}

/// Writes every cell of a frame; where `raw` is given, its masks as decoded instead.
pub fn write(
    out: impl Write,
    image_id: &str,
    segmentation: &Segmentation,
    raw: Option<&[RawInstance]>,
    classes: &[String],
) -> Result<(), ExportError> {
    let size = (segmentation.width, segmentation.height);
    let new = |class_index, score, mask: &Mask| {
        let (segmentation, tight) = CocoRle::new(mask, size);
        CocoResult {
            image_id: image_id.to_owned(),
            category_id: class_index,
            category: class_name(classes, class_index).to_owned(),
            bbox: [tight.x(), tight.y(), tight.width(), tight.height()],
            score,
            area: tight.area(),
            segmentation,
            label: None,
            detected_box: None,
            touches_border: None,
            track: None,
            measures: None,
        }
    };
    let results: Vec<CocoResult> = match raw {
        Some(raw) => raw
            .iter()
            .map(|cell| new(cell.class_index, cell.score, &cell.mask))
            .collect(),
        None => (1..)
            .zip(&segmentation.instances)
            .map(|(label, cell)| CocoResult {
                label: Some(label),
                detected_box: Some(corners(cell.detected_box)),
                touches_border: Some(cell.touches_border),
                track: cell.track,
                measures: cell.measures.clone(),
                ..new(cell.class_index, cell.score, &cell.mask)
            })
            .collect(),
    };
    serde_json::to_writer(out, &results).map_err(|error| ExportError::Io(error.into()))
}

/// The cells that [`write()`] wrote, in the order of their labels. `size` is that of the frame, width and height.
pub fn read(list: &[u8], size: (u32, u32)) -> Result<Vec<Instance>, ExportError> {
    let results: Vec<CocoResult> = serde_json::from_slice(list)
        .map_err(|error| ExportError::Damaged(format!("not a list of COCO results: {error}")))?;
    (1..)
        .zip(results)
        .map(|(label, result)| result.instance(label, size))
        .collect()
}

impl CocoResult {
    fn instance(self, label: u32, (width, height): (u32, u32)) -> Result<Instance, ExportError> {
        let damaged = |why: String| Err(ExportError::Damaged(format!("cell {label}: {why}")));
        match self.label {
            Some(own) if own == label => {}
            Some(own) => return damaged(format!("has label {own}: labels count from 1")),
            None => {
                return damaged(
                    "has no label: these are masks as decoded (--raw-masks), which overlap"
                        .to_owned(),
                );
            }
        }
        let [rle_height, rle_width] = self.segmentation.size;
        if (rle_width, rle_height) != (width, height) {
            return damaged(format!(
                "its mask is of {rle_width}x{rle_height} pixels, its frame of {width}x{height}"
            ));
        }
        let mask = match decode_coco(self.segmentation.counts.as_bytes(), width, height) {
            Ok(mask) if !mask.is_empty() => mask,
            Ok(_) => return damaged("has no pixels".to_owned()),
            Err(error) => return damaged(error.to_string()),
        };
        let [x0, y0, x1, y1] = self.detected_box.unwrap_or_else(|| {
            let [x, y, width, height] = self.bbox.map(|px| px as f32);
            [x, y, x + width, y + height]
        });
        Ok(Instance {
            class_index: self.category_id,
            score: self.score,
            detected_box: BoxF { x0, y0, x1, y1 },
            area: mask.area(),
            mask,
            touches_border: self.touches_border.unwrap_or_default(),
            measures: self.measures,
            track: self.track,
        })
    }
}

impl CocoRle {
    /// Of a frame of `size`, width and height; and the mask in a tight box, whoever made it.
    pub(super) fn new(mask: &Mask, (width, height): (u32, u32)) -> (Self, Mask) {
        let counts = encode_coco(mask, width, height);
        let tight = decode_coco(&counts, width, height).expect("our own run lengths");
        let rle = CocoRle {
            size: [height, width],
            counts: String::from_utf8(counts).expect("counts are ASCII"),
        };
        (rle, tight)
    }
}

fn corners(BoxF { x0, y0, x1, y1 }: BoxF) -> [f32; 4] {
    [x0, y0, x1, y1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing::two_cells;

    fn written() -> Vec<u8> {
        let mut list = Vec::new();
        let classes = ["cell".to_owned(), "nucleus".to_owned()];
        write(&mut list, "t01", &two_cells(), None, &classes).unwrap();
        list
    }

    #[test]
    fn cells_come_back_with_all_that_is_known_of_them() {
        let cells = two_cells();
        let back = read(&written(), (cells.width, cells.height)).unwrap();
        assert_eq!(back, cells.instances);
    }

    #[test]
    fn what_we_did_not_write_is_refused_by_name() {
        let size = (20, 10);
        let text = String::from_utf8(written()).unwrap();
        for (list, expected) in [
            ("{}".to_owned(), "not a list of COCO results"),
            (text[..40].to_owned(), "not a list of COCO results"),
            (
                text.replace("\"label\":2", "\"label\":7"),
                "cell 2: has label 7",
            ),
            (text.replace("\"label\":1", "\"other\":1"), "--raw-masks"),
            (
                text.replace("[10,20]", "[11,20]"),
                "20x11 pixels, its frame of 20x10",
            ),
        ] {
            let error = read(list.as_bytes(), size).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
