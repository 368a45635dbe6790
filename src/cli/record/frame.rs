//! `frames.jsonl`: a line a frame.

use serde::{Deserialize, Serialize};

use crate::{
    cli::segmenter::Answer,
    frame::FrameMetadata,
    segmentation::{Growth, GrowthRate},
};

/// What became of one frame. A later line of the same `image_id` replaces an earlier one.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::cli) struct FrameRecord {
    /// Files of the frame are named IMAGE_ID.labels.png, ...
    pub(in crate::cli) image_id: String,
    pub(in crate::cli) file: String,
    /// Of the file, from 0.
    #[serde(default)]
    pub(in crate::cli) page: u32,
    #[serde(default)]
    pub(in crate::cli) metadata: FrameMetadata,
    #[serde(flatten)]
    pub(in crate::cli) fate: Fate,
}

/// The variant is a key of the frame's line.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::cli) enum Fate {
    Segmented(Box<Summary>),
    /// Its counts are in the cells of the frame with this image_id.
    Measured {
        on: String,
    },
    Dropped(String),
    Failed(String),
}

/// Numbers of a segmented frame.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::cli) struct Summary {
    pub(in crate::cli) width: u32,
    pub(in crate::cli) height: u32,
    /// Those that are listed.
    pub(in crate::cli) cells: usize,
    pub(in crate::cli) confluence: f64,
    pub(in crate::cli) analysed_px: u64,
    pub(in crate::cli) removed_by_area: u32,
    pub(in crate::cli) removed_at_border: u32,
    pub(in crate::cli) truncated: bool,
    pub(in crate::cli) normalization: AppliedRecord,
    /// Mean distance of centroids to the nearest other, pixels.
    pub(in crate::cli) nearest_mean_px: Option<f64>,
    pub(in crate::cli) neighbours_mean: Option<f64>,
    /// To the right and down, pixels.
    pub(in crate::cli) drift_px: Option<(f64, f64)>,
    pub(in crate::cli) growth: Option<GrowthRecord>,
    /// Pieces that the frame was cut into; 1: whole.
    pub(in crate::cli) tiles: u32,
    pub(in crate::cli) notices: Vec<String>,
}

/// What was done to the counts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::cli) struct AppliedRecord {
    pub(in crate::cli) policy: String,
    pub(in crate::cli) low: f64,
    pub(in crate::cli) high: f64,
}

/// How the cells of the series, or of its well, grow.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::cli) struct GrowthRecord {
    pub(in crate::cli) count: Option<RateRecord>,
    pub(in crate::cli) confluence: Option<RateRecord>,
    pub(in crate::cli) points: u32,
    pub(in crate::cli) span_hours: f64,
    pub(in crate::cli) excluded: u32,
    pub(in crate::cli) fields: u32,
}

/// A slope of ln N.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(in crate::cli) struct RateRecord {
    pub(in crate::cli) per_hour: f64,
    /// Estimate and its 95 % interval; null where the interval of the rate includes 0.
    pub(in crate::cli) doubling_hours: Option<(f64, f64, f64)>,
}

impl Summary {
    pub(in crate::cli) fn new(answer: &Answer) -> Self {
        let segmentation = &answer.segmentation;
        let applied = &segmentation.normalization;
        let around = segmentation.neighbourhood;
        Summary {
            width: segmentation.width,
            height: segmentation.height,
            cells: segmentation.instances.len(),
            confluence: segmentation.confluence,
            analysed_px: segmentation.analysed_px,
            removed_by_area: segmentation.removed_by_area,
            removed_at_border: segmentation.removed_at_border,
            truncated: segmentation.truncated,
            normalization: AppliedRecord {
                policy: applied.policy.name().to_owned(),
                low: applied.low,
                high: applied.high,
            },
            nearest_mean_px: around.and_then(|around| around.nearest_mean_px),
            neighbours_mean: around.and_then(|around| around.neighbours_mean),
            drift_px: segmentation.drift_px,
            growth: segmentation.growth.as_ref().map(Into::into),
            tiles: answer.tiles,
            notices: answer.notices.clone(),
        }
    }
}

impl From<&Growth> for GrowthRecord {
    fn from(growth: &Growth) -> Self {
        let rate = |rate: GrowthRate| RateRecord {
            per_hour: rate.per_hour,
            doubling_hours: rate.doubling_hours,
        };
        GrowthRecord {
            count: growth.count.map(rate),
            confluence: growth.confluence.map(rate),
            points: growth.points,
            span_hours: growth.span_hours,
            excluded: growth.excluded,
            fields: growth.fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::SystemTime};

    use super::*;

    #[test]
    fn a_line_says_what_became_of_a_frame_and_is_read_back() {
        let metadata = FrameMetadata {
            index: BTreeMap::from([("t".to_owned(), 3)]),
            channel: "Phase".to_owned(),
            elapsed_ms: Some(1.8e6),
            captured_at: Some(SystemTime::UNIX_EPOCH),
            ..FrameMetadata::default()
        };
        let record = FrameRecord {
            image_id: "t03".to_owned(),
            file: "scan/t03.png".to_owned(),
            page: 0,
            metadata: metadata.clone(),
            fate: Fate::Measured {
                on: "t03_Phase".to_owned(),
            },
        };
        let line = serde_json::to_string(&record).unwrap();
        assert!(line.contains(r#""measured":{"on":"t03_Phase"}"#), "{line}");
        assert!(!line.contains("x_um"), "{line}");
        let back: FrameRecord = serde_json::from_str(&line).unwrap();
        assert_eq!(back.metadata, metadata);
        assert!(matches!(back.fate, Fate::Measured { on } if on == "t03_Phase"));
    }

    #[test]
    fn a_line_by_somebody_who_knows_little_is_read() {
        let line = r#"{"image_id": "a", "file": "a.png", "dropped": "REASON_NEWER_FRAME"}"#;
        let record: FrameRecord = serde_json::from_str(line).unwrap();
        assert!(matches!(record.fate, Fate::Dropped(why) if why == "REASON_NEWER_FRAME"));
    }
}
