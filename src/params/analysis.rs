//! What is made of a frame's cells after a lane: region, measurements, identities, growth.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::mask::Ring;

/// Everything that is asked for beside the masks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analysis {
    /// Rings of the analysed area, frame pixels; none: the whole frame.
    pub region: Option<Arc<[Ring]>>,
    /// What is measured of each cell.
    pub measurements: Measurements,
    /// Identities from frame to frame; none: not kept.
    pub tracking: Option<Tracking>,
    /// Growth rates; none: not estimated.
    pub growth: Option<GrowthOptions>,
}

/// Which groups of measurements are made; what was not asked for costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Measurements {
    /// Perimeter, axes and what follows from them.
    pub shape: bool,
    /// Convex hull and calipers.
    pub hull: bool,
    /// Counts in the cell.
    pub intensity: bool,
    /// Counts around the cell; comes with `intensity`.
    pub background: bool,
    /// Distances to other cells.
    pub neighbours: bool,
    /// How far a neighbour is one.
    pub neighbour_radius: Option<Distance>,
}

/// A distance in the unit in which it was given.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// Frame pixels.
    Px(f64),
    /// Micrometres; needs the frame's pixel size.
    Um(f64),
}

/// How identities are kept.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Tracking {
    /// Frames for which a cell may be missing and come back.
    pub max_gap: u32,
    /// Most that a cell moves from frame to frame, drift taken out; none: by the cells' size.
    pub max_distance: Option<Distance>,
    /// Look for divisions.
    pub divisions: bool,
    /// Of a z-stack the plane that is tracked.
    pub z_plane: u32,
}

/// How growth is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct GrowthOptions {
    /// Of the sliding window; at least 2.
    pub window_hours: f64,
    /// In the window; at least 5.
    pub min_points: u32,
}

/// What becomes of cells cut by the edge of the analysed area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BorderRule {
    /// Counted like any other.
    #[default]
    Keep,
    /// Hidden.
    Drop,
    /// Those on the right and bottom edge are hidden: unbiased counting frame.
    Unbiased,
}

impl Measurements {
    /// Everything, without a radius.
    pub const ALL: Measurements = Measurements {
        shape: true,
        hull: true,
        intensity: true,
        background: true,
        neighbours: true,
        neighbour_radius: None,
    };

    /// Whether anything is measured.
    pub fn any(&self) -> bool {
        self.shape || self.hull || self.intensity || self.background || self.neighbours
    }

    /// Whether pixels of the frame are needed after the lane.
    pub fn needs_pixels(&self) -> bool {
        self.intensity || self.background
    }
}

impl Default for Tracking {
    /// Gaps of two frames, divisions looked for, plane 0.
    fn default() -> Self {
        Tracking {
            max_gap: 2,
            max_distance: None,
            divisions: true,
            z_plane: 0,
        }
    }
}

impl Default for GrowthOptions {
    /// Twelve hours, at least five points.
    fn default() -> Self {
        GrowthOptions {
            window_hours: 12.0,
            min_points: 5,
        }
    }
}
