//! How camera counts become the network's 0..1.

use super::super::{Refusal, pixels::Pixels};
use crate::{
    frame::FrameLimits,
    params::{MinSpan, Normalization},
    preprocess,
    proto::{self as pb, normalization::Policy},
};

/// The rule, and its smoothing. A reference image becomes the window that it gives: milliseconds, where there is one.
pub(super) fn settled(
    policy: &Policy,
    default_min_span: MinSpan,
    limits: &FrameLimits,
) -> Result<(Normalization, f64), Refusal> {
    let mut smoothing = 0.0;
    let normalization = match policy {
        Policy::FullRange(_) => Normalization::FullRange,
        Policy::Window(window) => Normalization::Window {
            low: window.low,
            high: window.high,
        },
        Policy::Reference(reference) => window_of(reference, limits)?,
        Policy::Percentiles(percentiles) => {
            smoothing = percentiles.smoothing.unwrap_or(0.0);
            let min_span = percentiles
                .min_span
                .map_or(default_min_span, MinSpan::Counts);
            Normalization::Percentiles {
                low: percentiles.low,
                high: percentiles.high,
                min_span,
            }
        }
    };
    normalization.check()?;
    if !(0.0 <= smoothing && smoothing < 1.0) {
        return Err(Refusal::Invalid(format!(
            "normalization.percentiles.smoothing {smoothing}: must be 0 or more, below 1"
        )));
    }
    Ok((normalization, smoothing))
}

/// Whether it takes milliseconds to settle.
pub(in crate::server) fn is_slow(normalization: Option<&pb::Normalization>) -> bool {
    let policy = normalization.and_then(|normalization| normalization.policy.as_ref());
    matches!(policy, Some(Policy::Reference(_)))
}

/// As the contract tells it.
pub(super) fn told(normalization: &Normalization, smoothing: f64) -> pb::Normalization {
    use pb::normalization::{FullRange, Percentiles, Window};
    let policy = match *normalization {
        Normalization::FullRange => Policy::FullRange(FullRange {}),
        Normalization::Window { low, high } => Policy::Window(Window { low, high }),
        Normalization::Percentiles {
            low,
            high,
            min_span,
        } => Policy::Percentiles(Percentiles {
            low,
            high,
            smoothing: Some(smoothing),
            min_span: match min_span {
                MinSpan::Counts(counts) => Some(counts),
                // Known only with a frame's bits.
                MinSpan::OfFullRange(_) => None,
            },
        }),
    };
    pb::Normalization {
        policy: Some(policy),
    }
}

/// The percentiles of a reference image.
fn window_of(
    reference: &pb::normalization::Reference,
    limits: &FrameLimits,
) -> Result<Normalization, Refusal> {
    use pb::normalization::reference::Image;
    let pixels = match &reference.image {
        Some(Image::Raw(raw)) => Pixels::raw(raw.clone()),
        Some(Image::Encoded(image)) => Ok(Pixels::encoded(image.clone())),
        None => {
            return Err(Refusal::Invalid(
                "normalization.reference without an image: send raw or encoded".to_owned(),
            ));
        }
    };
    let image = super::image(pixels, "normalization.reference", limits)?;
    let percentiles = Normalization::Percentiles {
        low: reference.low,
        high: reference.high,
        min_span: MinSpan::Counts(0.0),
    };
    percentiles.check()?;
    let shown = preprocess::window(&image, &percentiles, &mut preprocess::Scratch::default());
    match shown.own_span {
        Some(span) => Ok(Normalization::Window {
            low: span.low,
            high: span.high,
        }),
        None => Err(Refusal::Invalid(format!(
            "normalization.reference: its percentiles {} and {} are the same count: take an image with cells",
            reference.low, reference.high
        ))),
    }
}
