//! Choices that no flag names: a file of options says them.

use std::collections::BTreeMap;

use crate::pool::Priority;

/// Which cells are kept. What a flag says too lies in [`super::Choices`] itself.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct OfFile {
    /// Boxes of different classes suppress each other too; none: as the model says.
    pub(in crate::cli) class_agnostic: Option<bool>,
    /// Smaller cells are hidden, pixels.
    pub(in crate::cli) min_area_px: Option<u32>,
    /// Smaller cells are hidden, square micrometres.
    pub(in crate::cli) min_area_um2: Option<f32>,
    /// Only these classes; empty: all.
    pub(in crate::cli) classes: Vec<u32>,
    /// A class's own confidence.
    pub(in crate::cli) class_confidence: BTreeMap<u32, f32>,
    /// Percentiles closer than this are not stretched, counts.
    pub(in crate::cli) min_span: Option<f64>,
}

/// What a session with a server has beside what is made of frames; a lane in this process has no use for it.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct SessionChoices {
    /// The model that the options are for; empty: any.
    pub(in crate::cli) model: String,
    /// Frames in flight; 0: as the server likes.
    pub(in crate::cli) window: u32,
    /// None: as the server likes.
    pub(in crate::cli) priority: Option<Priority>,
    /// What the session is called; empty: by the program.
    pub(in crate::cli) name: String,
}
