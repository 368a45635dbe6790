//! The answer to a frame: first as decoded, then as one truth about each cell.

use std::{ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{geometry::BoxF, mask::Mask, params::Span};

/// What a lane answers: instances as the network gives them. Masks may overlap and be in pieces.
#[derive(Clone, Debug)]
pub struct RawSegmentation {
    /// Frame, pixels.
    pub width: u32,
    /// Frame, pixels.
    pub height: u32,
    /// Falling score, then rising anchor; none is empty.
    pub instances: Vec<RawInstance>,
    /// What was done to the counts.
    pub normalization: AppliedNormalization,
    /// The frame's own percentiles, where they were asked for and far enough apart to be shown.
    pub own_span: Option<Span>,
    /// Candidates or cells were cut at a bound.
    pub truncated: bool,
    /// What somebody should know.
    pub notices: Vec<Notice>,
    /// Where the lane's time went.
    pub times: StageTimes,
    /// Pieces that the frame was cut into; 1: whole.
    pub tiles: u32,
}

/// One instance as decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct RawInstance {
    /// Index into the model's classes.
    pub class_index: u32,
    /// 0..1.
    pub score: f32,
    /// The network's box, camera pixels, clipped to the frame.
    pub detected_box: BoxF,
    /// Its pixels.
    pub mask: Mask,
}

/// One truth about each cell: masks are disjoint and in one 4-connected piece, holes kept.
#[derive(Clone, Debug)]
pub struct Segmentation {
    /// Frame, pixels.
    pub width: u32,
    /// Frame, pixels.
    pub height: u32,
    /// Falling score, then rising anchor. The label of `instances[i]` is `i + 1`.
    pub instances: Vec<Instance>,
    /// Union of accepted masks before the area and border filters, over the analysed area; 0..1.
    pub confluence: f64,
    /// Pixels of the analysed area: the region, else the frame.
    pub analysed_px: u64,
    /// Hidden by the area filters.
    pub removed_by_area: u32,
    /// Hidden by the border rule.
    pub removed_at_border: u32,
    /// Distances among the cells, where they were asked for.
    pub neighbourhood: Option<Neighbourhood>,
    /// By how much the frame moved since the last one of its series, pixels to the right and down; where it is tracked.
    pub drift_px: Option<(f64, f64)>,
    /// How the cells grow, where it was asked for.
    pub growth: Option<Growth>,
    /// What was done to the counts.
    pub normalization: AppliedNormalization,
    /// Candidates or cells were cut at a bound.
    pub truncated: bool,
    /// What somebody should know.
    pub notices: Vec<Notice>,
}

impl Segmentation {
    /// What its cells hold in memory, bytes.
    pub fn bytes(&self) -> usize {
        self.instances.iter().map(Instance::bytes).sum()
    }
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Index into the model's classes.
    pub class_index: u32,
    /// 0..1.
    pub score: f32,
    /// The network's box, camera pixels, clipped to the frame.
    pub detected_box: BoxF,
    /// Its pixels; the mask's box is tight.
    pub mask: Mask,
    /// Number of pixels.
    pub area: u32,
    /// A pixel of it lies on the edge of the analysed area.
    pub touches_border: bool,
    /// What was asked for.
    pub measures: Option<Box<Measures>>,
    /// Its identity, where it is tracked.
    pub track: Option<Track>,
}

impl Instance {
    fn bytes(&self) -> usize {
        let measures = self.measures.as_deref().map_or(0, |measures| {
            size_of_val(measures) + size_of_val(&measures.intensity[..])
        });
        size_of_val(self) + size_of_val(self.mask.words()) + measures
    }
}

/// One cell's measurements, frame pixels and camera counts; micrometres follow from the frame's pixel size. Definitions: the
/// contract's message of the same name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Mean of its pixels' middles, pixel edges: x, y.
    pub centroid_px: (f64, f64),
    /// Asked for by `shape`.
    pub shape: Option<Shape>,
    /// Asked for by `hull`.
    pub hull: Option<Hull>,
    /// One a colour channel; asked for by `intensity`.
    pub intensity: Vec<Intensity>,
    /// Asked for by `neighbours`.
    pub neighbours: Option<Neighbours>,
}

/// The form of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "the contract documents each field, with its unit; said twice it would drift"
)]
pub struct Shape {
    pub perimeter_px: f64,
    pub major_axis_px: f64,
    pub minor_axis_px: f64,
    pub eccentricity: f64,
    pub orientation_rad: f64,
    pub extent: f64,
    pub equivalent_diameter_px: f64,
    pub circularity: f64,
    pub euler_number: i32,
}

/// The convex hull of a cell, and its calipers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "the contract documents each field, with its unit; said twice it would drift"
)]
pub struct Hull {
    pub convex_area_px: f64,
    pub solidity: f64,
    pub feret_max_px: f64,
    pub feret_min_px: f64,
}

/// The counts of one channel in a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "the contract documents each field, with its unit; said twice it would drift"
)]
pub struct Intensity {
    pub channel: String,
    pub mean: f64,
    pub min: f64,
    pub max: f64,
    pub std: f64,
    pub integrated: f64,
    pub background: Option<f64>,
    pub weighted_centroid_px: (f64, f64),
}

/// The cells around a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "the contract documents each field, with its unit; said twice it would drift"
)]
pub struct Neighbours {
    pub nearest_px: Option<f64>,
    pub within_radius: Option<u32>,
}

/// Distances among the cells of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Neighbourhood {
    /// Mean distance of centroids to the nearest other, pixels; none under 2 cells.
    pub nearest_mean_px: Option<f64>,
    /// Mean number of cells within the radius asked for; none without radius or cells.
    pub neighbours_mean: Option<f64>,
}

/// One cell's identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// From 1; unique per session and series.
    pub id: u64,
    /// It came of that cell's division.
    pub parent_id: Option<u64>,
    /// Frames since its first, that one included, missed ones too.
    pub age: u32,
    /// Frames just before in which it was missing.
    pub gap: u32,
    /// Of its centroid since it was last seen, drift taken out, pixels; none in its first frame.
    pub moved_px: Option<(f64, f64)>,
}

/// How the cells of a series, or of its well, grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// Of the number of cells.
    pub count: Option<GrowthRate>,
    /// Of the confluence.
    pub confluence: Option<GrowthRate>,
    /// In the window.
    pub points: u32,
    /// From the first point of the window to its last.
    pub span_hours: f64,
    /// Frames so far that failed, were dropped or truncated.
    pub excluded: u32,
    /// Fields that are summed.
    pub fields: u32,
}

/// One growth rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GrowthRate {
    /// Slope of ln N.
    pub per_hour: f64,
    /// ln 2 / rate with its 95 % t-interval, hours: (estimate, low, high); none where the rate's interval includes 0.
    pub doubling_hours: Option<(f64, f64, f64)>,
}

/// What was done to the counts: `(count - low) / (high - low)`, clipped to 0..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AppliedNormalization {
    /// Camera counts.
    pub low: f64,
    /// Camera counts.
    pub high: f64,
    /// Which rule made it.
    pub policy: AppliedPolicy,
}

/// The rule that made a normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppliedPolicy {
    /// By the camera's bits.
    FullRange,
    /// Fixed counts.
    Window,
    /// By the frame's own brightness.
    Percentiles,
    /// Percentiles were closer than the least span: as wide as the full range, with the frame in its middle.
    LowContrast,
}

/// What somebody should know about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What kind.
    pub code: NoticeCode,
    /// With the values.
    pub message: String,
}

/// Kinds of notices; meaning as in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeCode {
    /// Asked for micrometres without a pixel size.
    NoPixelSize,
    /// The network sees cells far from the size it was trained on.
    ScaleFarFromTrained,
    /// Percentiles closer than the least span.
    LowContrast,
    /// Over 1 % of the samples at the brightest value.
    Saturated,
    /// Cut at a bound.
    Truncated,
    /// Samples above the significant bits.
    BitsClipped,
    /// No elapsed_ms and no captured_at.
    NoTime,
    /// Older than its series' last frame.
    OutOfOrder,
    /// Of a plane that is not tracked.
    ZNotTracked,
}

/// Where a lane's time went. A stage that did not run is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// To the device.
    pub copy_up: Duration,
    /// Normalise and letterbox.
    pub preprocess: Duration,
    /// The network.
    pub infer: Duration,
    /// Outputs to raw masks.
    pub decode: Duration,
    /// From the device.
    pub copy_down: Duration,
}

/// What names each cell in a label image by its track: the lower half of the track's id, 0 for none; and first the background.
pub fn track_labels(instances: &[Instance]) -> Vec<u32> {
    let of_track = |cell: &Instance| cell.track.map_or(0, |track| track.id as u32);
    std::iter::once(0)
        .chain(instances.iter().map(of_track))
        .collect()
}

impl Add for StageTimes {
    type Output = StageTimes;

    /// One after the other.
    fn add(self, other: StageTimes) -> StageTimes {
        StageTimes {
            copy_up: self.copy_up + other.copy_up,
            preprocess: self.preprocess + other.preprocess,
            infer: self.infer + other.infer,
            decode: self.decode + other.decode,
            copy_down: self.copy_down + other.copy_down,
        }
    }
}

impl AppliedPolicy {
    /// As the contract spells it.
    pub fn name(self) -> &'static str {
        match self {
            AppliedPolicy::FullRange => "full_range",
            AppliedPolicy::Window => "window",
            AppliedPolicy::Percentiles => "percentiles",
            AppliedPolicy::LowContrast => "low_contrast",
        }
    }
}
