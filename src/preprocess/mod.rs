//! Frame to network input: the meaning of the preprocessing kernels.
//!
//! Two steps: [`window`] says which counts become 0 and 1, [`letterbox`] normalises, scales and pads. Every operation and its
//! order is stated, so that a kernel can give the same bits. Nothing is squeezed through 8 bits on the way.

mod histogram;
mod letterbox;
mod notices;
mod percentile;
mod resample;

pub use letterbox::{FILL, letterbox};
pub use notices::scale_notice;
pub(crate) use notices::{Exposure, brightness, low_contrast};
pub(crate) use resample::{Normalize, channel_offsets};

use crate::{
    frame::Frame,
    params::{Normalization, Span},
    segmentation::{AppliedNormalization, AppliedPolicy, Notice},
};

/// Buffers kept from frame to frame.
#[derive(Debug, Default)]
pub struct Scratch {
    samples: Vec<u16>,
    histogram: histogram::Histogram,
    resampler: resample::Resampler,
}

/// How a frame is shown to the network.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which counts become 0 and 1.
    pub applied: AppliedNormalization,
    /// The frame's own percentiles, where they were asked for and far enough apart.
    pub own_span: Option<Span>,
    /// What somebody should know about its brightness.
    pub notices: Vec<Notice>,
}

impl Shown {
    /// By `smoothed` in place of the frame's own percentiles, if it is shown by those.
    pub fn by(mut self, smoothed: Option<Span>) -> Shown {
        if let (Some(Span { low, high }), Some(_)) = (smoothed, self.own_span) {
            (self.applied.low, self.applied.high) = (low, high);
        }
        self
    }
}

/// Which counts become 0 and 1 for this frame, and what somebody should know about its brightness.
///
/// Samples are all colour samples of the frame; alpha and row padding are none. Those above [`Frame::max_value`] count as
/// that. Percentiles are numpy's default: linear between the two nearest ranks, in f64. A span that is narrower than
/// `min_span`, or empty, is not stretched: the window is as wide as the full range, with the frame in its middle.
pub fn window(frame: &Frame, normalization: &Normalization, scratch: &mut Scratch) -> Shown {
    let most = frame.max_value();
    // An empty field becomes mid-grey whatever its level; at the range's ends a network may see things in it.
    let in_the_middle = |from: f64, to: f64| {
        let (middle, half) = ((from + to) / 2.0, f64::from(most) / 2.0);
        AppliedNormalization {
            low: middle - half,
            high: middle + half,
            policy: AppliedPolicy::LowContrast,
        }
    };
    let survey = histogram::survey(frame, &mut scratch.samples);
    let mut notices = brightness(&survey.exposure, most);
    let mut own_span = None;
    let applied = match *normalization {
        Normalization::FullRange => full_range(most),
        Normalization::Window { low, high } => fixed(low, high),
        Normalization::Percentiles {
            low,
            high,
            min_span,
        } => {
            let counts = scratch
                .histogram
                .count(frame, &survey, &mut scratch.samples);
            let (from, to) = (counts.percentile(low), counts.percentile(high));
            let least = min_span.counts(most);
            if to - from < least || to <= from {
                notices.push(low_contrast((low, high), (from, to), least));
                in_the_middle(from, to)
            } else {
                own_span = Some(Span {
                    low: from,
                    high: to,
                });
                AppliedNormalization {
                    low: from,
                    high: to,
                    policy: AppliedPolicy::Percentiles,
                }
            }
        }
    };
    Shown {
        applied,
        own_span,
        notices,
    }
}

/// By the camera's bits alone: counts from 0 to `most`.
pub(crate) fn full_range(most: u32) -> AppliedNormalization {
    AppliedNormalization {
        low: 0.0,
        high: f64::from(most),
        policy: AppliedPolicy::FullRange,
    }
}

/// Counts that somebody chose.
pub(crate) fn fixed(low: f64, high: f64) -> AppliedNormalization {
    AppliedNormalization {
        low,
        high,
        policy: AppliedPolicy::Window,
    }
}

#[cfg(test)]
mod tests;
