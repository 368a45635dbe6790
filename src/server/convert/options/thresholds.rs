//! Which cells are kept.

use super::super::{Refusal, known};
use crate::{
    params::{BorderRule, Thresholds},
    proto as pb,
};

/// `base` with what `over` sets. Classes are the model's to check.
pub(super) fn over(base: &Thresholds, over: &pb::Thresholds) -> Result<Thresholds, Refusal> {
    Ok(Thresholds {
        confidence: over.confidence.unwrap_or(base.confidence),
        iou: over.iou.unwrap_or(base.iou),
        class_agnostic: over.class_agnostic.unwrap_or(base.class_agnostic),
        max_cells: over.max_cells.unwrap_or(base.max_cells),
        min_area_px: over.min_area_px.unwrap_or(base.min_area_px),
        min_area_um2: over.min_area_um2.or(base.min_area_um2),
        max_area_um2: over.max_area_um2.or(base.max_area_um2),
        classes: match over.classes.is_empty() {
            true => base.classes.clone(),
            false => over.classes.clone(),
        },
        class_confidence: match over.class_confidence.is_empty() {
            true => base.class_confidence.clone(),
            false => over.class_confidence.clone(),
        },
        border: match known("thresholds.border", over.border)? {
            pb::BorderRule::Unspecified => base.border,
            pb::BorderRule::Keep => BorderRule::Keep,
            pb::BorderRule::Drop => BorderRule::Drop,
            pb::BorderRule::Unbiased => BorderRule::Unbiased,
        },
    })
}

/// As the contract tells them.
pub(super) fn told(thresholds: &Thresholds) -> pb::Thresholds {
    let border = match thresholds.border {
        BorderRule::Keep => pb::BorderRule::Keep,
        BorderRule::Drop => pb::BorderRule::Drop,
        BorderRule::Unbiased => pb::BorderRule::Unbiased,
    };
    pb::Thresholds {
        confidence: Some(thresholds.confidence),
        iou: Some(thresholds.iou),
        class_agnostic: Some(thresholds.class_agnostic),
        max_cells: Some(thresholds.max_cells),
        min_area_um2: thresholds.min_area_um2,
        max_area_um2: thresholds.max_area_um2,
        min_area_px: Some(thresholds.min_area_px),
        border: border.into(),
        classes: thresholds.classes.clone(),
        class_confidence: thresholds.class_confidence.clone(),
    }
}

/// As [`over`], among wishes: fields that are set replace those before.
pub(super) fn merge(asked: &mut pb::Thresholds, update: &pb::Thresholds) {
    fn set<T: Copy>(asked: &mut Option<T>, update: Option<T>) {
        *asked = update.or(*asked);
    }
    set(&mut asked.confidence, update.confidence);
    set(&mut asked.iou, update.iou);
    set(&mut asked.class_agnostic, update.class_agnostic);
    set(&mut asked.max_cells, update.max_cells);
    set(&mut asked.min_area_px, update.min_area_px);
    set(&mut asked.min_area_um2, update.min_area_um2);
    set(&mut asked.max_area_um2, update.max_area_um2);
    if update.border != pb::BorderRule::Unspecified as i32 {
        asked.border = update.border;
    }
    if !update.classes.is_empty() {
        asked.classes.clone_from(&update.classes);
    }
    if !update.class_confidence.is_empty() {
        asked.class_confidence.clone_from(&update.class_confidence);
    }
}
