//! What a client may choose about the segmentation of a frame, settled and checked.

mod analysis;

use std::{collections::BTreeMap, ops::RangeInclusive};

pub use analysis::{Analysis, BorderRule, Distance, GrowthOptions, Measurements, Tracking};
use serde::{Deserialize, Serialize};

use crate::frame::PIXEL_SIZES_UM;

/// Camera counts that a window may be made of: a camera has 16 bits, and what is much wider makes every frame black.
const COUNTS: RangeInclusive<f64> = -1e6..=1e6;

/// Everything a lane needs to know beside the frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// Which cells are kept.
    pub thresholds: Thresholds,
    /// How camera counts become the network's 0..1.
    pub normalization: Normalization,
    /// How much an older frame of a series weighs against the next in [`Params::smoothed`]; 0: each frame for itself. Not for
    /// lanes: who keeps the series folds.
    pub smoothing: f64,
    /// Camera counts that become 0 and 1 in place of the frame's own percentiles, which are measured all the same: those of
    /// earlier frames of its series, folded. Only with [`Normalization::Percentiles`].
    pub smoothed: Option<Span>,
    /// Large frames in pieces. Not for lanes: who calls them cuts ([`crate::backend::tiled`]).
    pub tiling: Tiling,
    /// Input pixels a camera pixel, at most; none: a small frame is enlarged to fill the network's input.
    pub largest_scale: Option<f64>,
}

/// Camera counts from the one that becomes 0 to the one that becomes 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Becomes 0.
    pub low: f64,
    /// Becomes 1.
    pub high: f64,
}

/// Large frames in pieces of the network's size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiling {
    /// When a frame is tiled.
    pub mode: TilingMode,
    /// Fraction of a tile's side that neighbours share; 0..0.5.
    pub overlap: f64,
    /// Micrometres an input pixel; none: the model's own scale.
    pub target_um_per_px: Option<f64>,
}

/// When a frame is tiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TilingMode {
    /// Where the whole frame would be shrunk to pixels over 2x larger than those that the model was trained on.
    Auto,
    /// Never: the whole frame is scaled to the network's input.
    Off,
    /// Always.
    On,
}

impl Default for Tiling {
    /// Where it helps, with a fifth of a tile shared.
    fn default() -> Self {
        Tiling {
            mode: TilingMode::Auto,
            overlap: 0.2,
            target_um_per_px: None,
        }
    }
}

/// Which cells are kept.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Thresholds {
    /// A score must be above it; 0..1.
    pub confidence: f32,
    /// Boxes overlapping by more than it are one cell; 0..1.
    pub iou: f32,
    /// Boxes of different classes suppress each other too.
    pub class_agnostic: bool,
    /// The highest scores are kept.
    pub max_cells: u32,
    /// Smaller cells are hidden; camera pixels.
    pub min_area_px: u32,
    /// Smaller cells are hidden; square micrometres.
    pub min_area_um2: Option<f32>,
    /// Larger cells are hidden; square micrometres.
    pub max_area_um2: Option<f32>,
    /// Only these class indices; empty means all.
    pub classes: Vec<u32>,
    /// A class's own confidence.
    pub class_confidence: BTreeMap<u32, f32>,
    /// Cells cut by the edge of the analysed area.
    pub border: BorderRule,
}

/// How camera counts become the network's 0..1: `(count - low) / (high - low)`, clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Normalization {
    /// 0 .. 2^significant_bits - 1.
    FullRange,
    /// Fixed camera counts.
    Window {
        /// Counts that become 0.
        low: f64,
        /// Counts that become 1.
        high: f64,
    },
    /// Percentiles of the frame's own samples, linear interpolation in f64.
    Percentiles {
        /// 0..100.
        low: f64,
        /// 0..100, above `low`.
        high: f64,
        /// A narrower span is not stretched.
        min_span: MinSpan,
    },
}

/// The narrowest percentile span that counts as an image rather than noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MinSpan {
    /// Camera counts.
    Counts(f64),
    /// A fraction of the frame's full range, for models that see cameras of any depth.
    OfFullRange(f64),
}

/// A choice that cannot be meant: names the value and what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field} {value}: {right}")]
pub struct ParamError {
    /// As the contract spells it.
    pub field: &'static str,
    /// What was asked for.
    pub value: String,
    /// What may be asked for.
    pub right: String,
}

impl Params {
    /// With every other choice at its default.
    pub fn new(thresholds: Thresholds, normalization: Normalization) -> Self {
        Params {
            thresholds,
            normalization,
            smoothing: 0.0,
            smoothed: None,
            tiling: Tiling::default(),
            largest_scale: None,
        }
    }
}

impl Tiling {
    /// Refuses NaN, overlap over half a tile and pixels of a size that no camera has.
    pub fn check(&self) -> Result<(), ParamError> {
        if !(0.0 <= self.overlap && self.overlap <= 0.5) {
            let right = "must be 0 to 0.5 of a tile's side".to_owned();
            return Err(error("tiling.overlap", self.overlap, right));
        }
        match self.target_um_per_px {
            Some(um) if !PIXEL_SIZES_UM.contains(&um) => {
                let (least, most) = (PIXEL_SIZES_UM.start(), PIXEL_SIZES_UM.end());
                let right = format!("must be {least} to {most}");
                Err(error("tiling.target_um_per_px", um, right))
            }
            _ => Ok(()),
        }
    }
}

impl MinSpan {
    /// In counts, for a frame whose brightest possible value is `max_value`.
    pub fn counts(self, max_value: u32) -> f64 {
        match self {
            MinSpan::Counts(counts) => counts,
            MinSpan::OfFullRange(fraction) => fraction * f64::from(max_value),
        }
    }
}

impl Thresholds {
    /// Refuses NaN, numbers outside their range and classes that the model does not have.
    pub fn check(&self, n_classes: usize, max_cells: u32) -> Result<(), ParamError> {
        let unit = |field, value: f32| match 0.0 <= value && value <= 1.0 {
            true => Ok(()),
            false => Err(error(field, value, "must be 0 to 1".to_owned())),
        };
        unit("thresholds.confidence", self.confidence)?;
        unit("thresholds.iou", self.iou)?;
        self.class_confidence
            .values()
            .try_for_each(|&value| unit("thresholds.class_confidence", value))?;
        if self.max_cells == 0 || self.max_cells > max_cells {
            return Err(error(
                "thresholds.max_cells",
                self.max_cells,
                format!("must be 1 to {max_cells}"),
            ));
        }
        for (field, area) in [
            ("thresholds.min_area_um2", self.min_area_um2),
            ("thresholds.max_area_um2", self.max_area_um2),
        ] {
            if let Some(area) = area
                && !(0.0 <= area && area.is_finite())
            {
                return Err(error(field, area, "must be 0 or more".to_owned()));
            }
        }
        if let (Some(min), Some(max)) = (self.min_area_um2, self.max_area_um2)
            && min > max
        {
            return Err(error(
                "thresholds.min_area_um2",
                min,
                format!("must not be over max_area_um2 {max}"),
            ));
        }
        if self.classes.len() > n_classes {
            let right = format!("the model has {n_classes} classes: name each at most once");
            return Err(error(
                "thresholds.classes",
                format!("with {} entries", self.classes.len()),
                right,
            ));
        }
        let known = |field, &class: &u32| match (class as usize) < n_classes {
            true => Ok(()),
            false => Err(error(
                field,
                class,
                format!("the model has classes 0 to {}", n_classes - 1),
            )),
        };
        self.classes
            .iter()
            .try_for_each(|class| known("thresholds.classes", class))?;
        self.class_confidence
            .keys()
            .try_for_each(|class| known("thresholds.class_confidence", class))
    }

    /// The confidence that a score of `class` must be above.
    pub fn confidence_of(&self, class: u32) -> f32 {
        self.class_confidence
            .get(&class)
            .copied()
            .unwrap_or(self.confidence)
    }
}

impl Normalization {
    /// Refuses NaN, windows that are empty or of no camera's counts, and percentiles outside 0..100.
    pub fn check(&self) -> Result<(), ParamError> {
        match *self {
            Normalization::FullRange => Ok(()),
            Normalization::Window { low, high } => {
                if COUNTS.contains(&low) && COUNTS.contains(&high) && low < high {
                    return Ok(());
                }
                let (least, most) = (COUNTS.start(), COUNTS.end());
                Err(error(
                    "normalization.window",
                    format!("{low}..{high}"),
                    format!("low must be below high, both {least} to {most} counts"),
                ))
            }
            Normalization::Percentiles {
                low,
                high,
                min_span,
            } => {
                if !(0.0 <= low && low < high && high <= 100.0) {
                    let right = "must be 0 to 100, low below high".to_owned();
                    return Err(error(
                        "normalization.percentiles",
                        format!("{low}..{high}"),
                        right,
                    ));
                }
                let (MinSpan::Counts(span) | MinSpan::OfFullRange(span)) = min_span;
                let most = COUNTS.end();
                match 0.0 <= span && span <= *most {
                    true => Ok(()),
                    false => Err(error(
                        "normalization.percentiles.min_span",
                        span,
                        format!("must be 0 to {most}"),
                    )),
                }
            }
        }
    }
}

fn error(field: &'static str, value: impl ToString, right: String) -> ParamError {
    ParamError {
        field,
        value: value.to_string(),
        right,
    }
}
