//! Flags about the frames, and what of them a run remembers.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Pattern;
use crate::{cli::UsageError, frame::PIXEL_SIZES_UM};

/// What is known of the frames beside their pixels.
#[derive(Args, Clone, Debug, Default)]
pub(in crate::cli) struct InputFlags {
    /// Regular expression over the names (below a folder that was given); its named groups t, p, c, z, well, field say time point,
    /// position, channel, plane
    #[arg(long, value_name = "REGEX")]
    pattern: Option<Pattern>,
    /// Leave out files whose names do not match --pattern, instead of refusing to start
    #[arg(long, requires = "pattern")]
    skip_unmatched: bool,
    /// Micrometres a pixel [default: what the files say, in OME, ImageJ, Nikon's or Micro-Manager's words]
    #[arg(long, value_name = "UM", value_parser = micrometres)]
    pub(in crate::cli) pixel_size: Option<f64>,
    /// Time from one time point to the next where the files do not say when they were taken, as 10min, 30s or 1h
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    interval: Option<f64>,
    /// Segment this channel only [default: every one, each for itself]
    #[arg(long = "segment", value_name = "CHANNEL")]
    segment: Option<String>,
    /// Measure the counts of these channels in the cells of the segmented one
    #[arg(
        long,
        value_name = "CHANNEL,...",
        value_delimiter = ',',
        requires = "segment"
    )]
    measure_on: Vec<String>,
}

/// Where the frames of a run come from, so that it can be gone on with.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(in crate::cli) struct Listing {
    /// Files and folders.
    pub(in crate::cli) paths: Vec<PathBuf>,
    /// The folder that is watched in their place.
    pub(in crate::cli) watch: Option<PathBuf>,
    pub(in crate::cli) pattern: Option<String>,
    pub(in crate::cli) skip_unmatched: bool,
    pub(in crate::cli) pixel_size_um: Option<f64>,
    pub(in crate::cli) interval_ms: Option<f64>,
    pub(in crate::cli) segment: Option<String>,
    pub(in crate::cli) measure_on: Vec<String>,
    /// Frames without a time point are numbered, in their order.
    pub(in crate::cli) numbered: bool,
}

impl InputFlags {
    /// Whether counts of other channels are measured in the cells.
    pub(in crate::cli) fn measures_other_channels(&self) -> bool {
        !self.measure_on.is_empty()
    }

    /// Of `paths`, or of the watched folder.
    pub(in crate::cli) fn listing(
        &self,
        paths: &[PathBuf],
        watch: Option<&Path>,
        numbered: bool,
    ) -> Result<Listing, UsageError> {
        if let Some(segment) = &self.segment
            && self.measure_on.contains(segment)
        {
            return Err(UsageError(format!(
                "--measure-on {segment}: the segmented channel is measured by --measure intensity"
            )));
        }
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Listing {
            paths: paths.iter().map(|path| whole(path)).collect(),
            watch: watch.map(whole),
            pattern: self.pattern.as_ref().map(Pattern::to_string),
            skip_unmatched: self.skip_unmatched,
            pixel_size_um: self.pixel_size,
            interval_ms: self.interval,
            segment: self.segment.clone(),
            measure_on: self.measure_on.clone(),
            numbered: numbered || self.interval.is_some(),
        })
    }
}

fn micrometres(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(um) if PIXEL_SIZES_UM.contains(&um) => Ok(um),
        _ => Err(format!(
            "must be micrometres a pixel, {} to {}, as 0.65",
            PIXEL_SIZES_UM.start(),
            PIXEL_SIZES_UM.end()
        )),
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let units = [("ms", 1.0), ("min", 6e4), ("s", 1e3), ("h", 3.6e6)];
    let found = units.iter().find_map(|(unit, ms)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        Some(number * ms)
    });
    match found {
        Some(ms) if 0.0 < ms && ms < 1e12 => Ok(ms),
        _ => Err("must be a time above 0 with its unit, as 10min, 30s or 1h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_size_is_a_length() {
        assert_eq!(micrometres("0.8708"), Ok(0.8708));
        for text in ["0", "-1", "1e-300", "1e7", "NaN", "inf", "um"] {
            assert!(micrometres(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_interval_is_a_time() {
        for (text, ms) in [
            ("10min", 6e5),
            ("30 s", 3e4),
            ("250ms", 250.0),
            ("1.5h", 5.4e6),
        ] {
            assert_eq!(milliseconds(text), Ok(ms), "{text}");
        }
        for text in ["10", "0s", "-1h", "min", "NaNs"] {
            assert!(milliseconds(text).is_err(), "{text}");
        }
    }
}
