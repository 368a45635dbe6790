//! What somebody should know about a frame's brightness and scale.

use crate::{
    geometry::Letterbox,
    segmentation::{Notice, NoticeCode},
};

/// How bright a frame's colour samples are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exposure {
    /// Colour samples.
    pub n_samples: u64,
    /// Samples above what the camera can deliver.
    pub n_above: u64,
    /// Samples at the brightest value that the camera can deliver, or above.
    pub n_at_most: u64,
}

/// A note where the network sees the frame's pixels more than twice as large or as small as those it was trained on.
/// `pixel_size_um` is the frame's; at the network's input a pixel covers `pixel_size_um / scale`.
pub fn scale_notice(
    pixel_size_um: f64,
    letterbox: &Letterbox,
    trained_um_per_px: f64,
) -> Option<Notice> {
    let (scale, _) = letterbox.scale();
    let seen_um = pixel_size_um / scale;
    let ratio = seen_um / trained_um_per_px;
    let far = ratio > 2.0 || (0.0 < ratio && ratio < 0.5);
    far.then(|| Notice {
        code: NoticeCode::ScaleFarFromTrained,
        message: format!(
            "at the network's input a pixel covers {seen_um:.3} um; it was trained at {trained_um_per_px} um: cells look {:.1} \
             times too {}",
            if ratio > 1.0 { ratio } else { 1.0 / ratio },
            if ratio > 1.0 { "small" } else { "large" },
        ),
    })
}

/// Notes on samples that the camera cannot have meant, and on too many at its brightest value, `most`.
pub(crate) fn brightness(exposure: &Exposure, most: u32) -> Vec<Notice> {
    let Exposure {
        n_samples,
        n_above,
        n_at_most,
    } = exposure;
    let mut notices = Vec::new();
    if *n_above > 0 {
        notices.push(Notice {
            code: NoticeCode::BitsClipped,
            message: format!(
                "{n_above} of {n_samples} samples are above {most}, the brightest value of the significant bits: clipped"
            ),
        });
    }
    if n_at_most * 100 > *n_samples {
        notices.push(Notice {
            code: NoticeCode::Saturated,
            message: format!(
                "{n_at_most} of {n_samples} samples ({:.1} %) are at the brightest value, {most}",
                100.0 * *n_at_most as f64 / *n_samples as f64
            ),
        });
    }
    notices
}

/// A note on percentiles, from and to which counts, that are closer than `min_span`.
pub(crate) fn low_contrast(
    (low, high): (f64, f64),
    (from, to): (f64, f64),
    min_span: f64,
) -> Notice {
    Notice {
        code: NoticeCode::LowContrast,
        message: format!(
            "percentiles {low} to {high} are at {from} and {to} counts, closer than {min_span:.1}: not stretched"
        ),
    }
}
