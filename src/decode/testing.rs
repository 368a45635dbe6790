//! What most tests of this module start from.

use std::collections::BTreeMap;

use crate::{
    geometry::BoxF,
    mask::Mask,
    params::Thresholds,
    segmentation::{AppliedNormalization, AppliedPolicy, RawInstance, RawSegmentation, StageTimes},
};

/// Half confidence, half overlap, nothing filtered.
pub(super) fn thresholds() -> Thresholds {
    Thresholds {
        confidence: 0.5,
        iou: 0.5,
        class_agnostic: false,
        max_cells: 100,
        min_area_px: 0,
        min_area_um2: None,
        max_area_um2: None,
        classes: Vec::new(),
        class_confidence: BTreeMap::new(),
        border: Default::default(),
    }
}

/// An answer with these masks, in the order of their scores.
pub(super) fn raw(masks: Vec<Mask>, width: u32, height: u32) -> RawSegmentation {
    let instance = |mask| RawInstance {
        class_index: 0,
        score: 0.9,
        detected_box: BoxF::default(),
        mask,
    };
    RawSegmentation {
        width,
        height,
        instances: masks.into_iter().map(instance).collect(),
        normalization: AppliedNormalization {
            low: 0.0,
            high: 255.0,
            policy: AppliedPolicy::FullRange,
        },
        truncated: false,
        notices: Vec::new(),
        times: StageTimes::default(),
        own_span: None,
        tiles: 1,
    }
}

/// Rows of detections as columns, as the dense head has them.
pub(super) fn dense(rows: &[Vec<f32>]) -> Vec<f32> {
    (0..rows[0].len())
        .flat_map(|i| rows.iter().map(move |row| row[i]))
        .collect()
}
