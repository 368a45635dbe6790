//! COCO results lists, as pycocotools' `loadRes` reads them.

use serde::Serialize;

use super::segmenter::Answer;
use crate::mask::{Mask, decode_coco, encode_coco};

/// One cell of the list.
#[derive(Debug, Serialize)]
pub(super) struct CocoResult<'a> {
    image_id: &'a str,
    /// The contract's class index, from 0.
    category_id: u32,
    category: &'a str,
    /// x, y, width, height; pixels.
    bbox: [u32; 4],
    score: f32,
    /// Pixels.
    area: u32,
    segmentation: CocoRle,
}

#[derive(Debug, Serialize)]
struct CocoRle {
    /// Height, width.
    size: [u32; 2],
    counts: String,
}

/// Every cell; every mask as decoded where those were asked for.
pub(super) fn results<'a>(
    image_id: &'a str,
    answer: &Answer,
    classes: &'a [String],
) -> Vec<CocoResult<'a>> {
    let segmentation = &answer.segmentation;
    let size = [segmentation.height, segmentation.width];
    let result = |class_index: u32, score: f32, mask: &Mask| {
        CocoResult::new(image_id, size, classes, class_index, score, mask)
    };
    match &answer.raw {
        Some(raw) => raw
            .iter()
            .map(|cell| result(cell.class_index, cell.score, &cell.mask))
            .collect(),
        None => segmentation
            .instances
            .iter()
            .map(|cell| result(cell.class_index, cell.score, &cell.mask))
            .collect(),
    }
}

impl<'a> CocoResult<'a> {
    fn new(
        image_id: &'a str,
        size: [u32; 2],
        classes: &'a [String],
        class_index: u32,
        score: f32,
        mask: &Mask,
    ) -> Self {
        let [height, width] = size;
        let counts = encode_coco(mask, width, height);
        // A mask as decoded has its detection's box; run lengths read back have a tight one, whoever made them.
        let tight = decode_coco(&counts, width, height).expect("our own run lengths");
        CocoResult {
            image_id,
            category_id: class_index,
            category: class_name(classes, class_index),
            bbox: [tight.x(), tight.y(), tight.width(), tight.height()],
            score,
            area: tight.area(),
            segmentation: CocoRle {
                size,
                counts: String::from_utf8(counts).expect("counts are ASCII"),
            },
        }
    }
}

/// Its name, or nothing where the model names fewer classes than it gives.
pub(super) fn class_name(classes: &[String], class_index: u32) -> &str {
    classes.get(class_index as usize).map_or("", String::as_str)
}
