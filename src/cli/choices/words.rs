//! Choices as they are written on the command line.

use std::str::FromStr;

use crate::params::{BorderRule, Distance, TilingMode};

/// A normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cli) enum NormalizationChoice {
    Full,
    Window { low: f64, high: f64 },
    Percentile { low: f64, high: f64 },
}

/// An area in the unit in which it was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cli) enum Area {
    /// Pixels of the frame.
    Px(u32),
    /// Square micrometres.
    Um2(f32),
}

impl FromStr for NormalizationChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = |numbers: &str| {
            let (low, high) = numbers.split_once(',')?;
            let (low, high): (f64, f64) = (low.parse().ok()?, high.parse().ok()?);
            (low < high && low.is_finite() && high.is_finite()).then_some((low, high))
        };
        let choice = match text.split_once(':') {
            None if text == "full" => Some(NormalizationChoice::Full),
            Some(("window", numbers)) => {
                pair(numbers).map(|(low, high)| NormalizationChoice::Window { low, high })
            }
            Some(("percentile", numbers)) => pair(numbers)
                .filter(|&(low, high)| 0.0 <= low && high <= 100.0)
                .map(|(low, high)| NormalizationChoice::Percentile { low, high }),
            _ => None,
        };
        choice.ok_or_else(|| {
            "must be full, window:LO,HI in camera counts, or percentile:LO,HI within 0 to 100, LO below HI"
                .to_owned()
        })
    }
}

impl FromStr for Area {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let um2 = text
            .strip_suffix("um2")
            .and_then(|number| number.trim().parse().ok())
            .filter(|um2: &f32| 0.0 <= *um2 && um2.is_finite())
            .map(Area::Um2);
        let px = text
            .strip_suffix("px")
            .and_then(|number| Some(Area::Px(number.trim().parse().ok()?)));
        um2.or(px).ok_or_else(|| {
            "must be an area with its unit: square micrometres as 50um2, or pixels as 20px"
                .to_owned()
        })
    }
}

/// In square micrometres: the contract has no other bound from above.
pub(super) fn max_area(text: &str) -> Result<Area, String> {
    match text.parse() {
        Ok(Area::Um2(um2)) => Ok(Area::Um2(um2)),
        _ => Err("must be an area in square micrometres, as 5000um2".to_owned()),
    }
}

/// 50um or 80px.
pub(super) fn distance(text: &str) -> Result<Distance, String> {
    let number = |unit: &str| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        (0.0 < number && number.is_finite()).then_some(number)
    };
    let found = number("um").map(Distance::Um);
    found.or(number("px").map(Distance::Px)).ok_or_else(|| {
        "must be a distance above 0 with its unit: micrometres as 50um, or pixels as 80px"
            .to_owned()
    })
}

pub(super) fn border(text: &str) -> Result<BorderRule, String> {
    match text {
        "keep" => Ok(BorderRule::Keep),
        "drop" => Ok(BorderRule::Drop),
        "unbiased" => Ok(BorderRule::Unbiased),
        _ => Err("must be keep, drop or unbiased".to_owned()),
    }
}

/// auto, on or off.
pub(in crate::cli) fn tiling_mode(text: &str) -> Result<TilingMode, String> {
    match text {
        "auto" => Ok(TilingMode::Auto),
        "on" => Ok(TilingMode::On),
        "off" => Ok(TilingMode::Off),
        _ => Err("must be auto, on or off".to_owned()),
    }
}

pub(super) fn smoothing(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..1.0).contains(&number))
        .ok_or_else(|| "must be 0 to below 1".to_owned())
}

pub(super) fn overlap(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..=0.5).contains(&number))
        .ok_or_else(|| "must be 0 to 0.5".to_owned())
}

pub(super) fn target_um(text: &str) -> Result<f64, String> {
    number(text, |um| 0.0 < um && um < 1e6)
        .ok_or_else(|| "must be micrometres a pixel, above 0, as 0.87".to_owned())
}

pub(super) fn window_hours(text: &str) -> Result<f64, String> {
    number(text, |hours| (2.0..=8760.0).contains(&hours))
        .ok_or_else(|| "must be hours, 2 to 8760".to_owned())
}

fn number(text: &str, is_right: impl Fn(f64) -> bool) -> Option<f64> {
    text.parse().ok().filter(|&number| is_right(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizations_are_read_as_the_help_writes_them() {
        use NormalizationChoice::*;
        for (text, choice) in [
            ("full", Full),
            (
                "window:100,4095",
                Window {
                    low: 100.0,
                    high: 4095.0,
                },
            ),
            (
                "percentile:0.5,99.5",
                Percentile {
                    low: 0.5,
                    high: 99.5,
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(choice), "{text}");
        }
        for text in [
            "",
            "fill",
            "full:0,1",
            "window",
            "window:5",
            "window:9,1",
            "window:nan,1",
            "window:0,inf",
            "percentile:-1,50",
            "percentile:1,101",
        ] {
            assert!(text.parse::<NormalizationChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!("50um2".parse(), Ok(Area::Um2(50.0)));
        assert_eq!("20px".parse(), Ok(Area::Px(20)));
        for text in ["50", "-1um2", "1.5px", "NaNum2", "px"] {
            assert!(text.parse::<Area>().is_err(), "{text}");
        }
        assert_eq!(max_area("5000um2"), Ok(Area::Um2(5000.0)));
        assert!(max_area("20px").is_err());
        assert_eq!(distance("12.5um"), Ok(Distance::Um(12.5)));
        assert_eq!(distance("80px"), Ok(Distance::Px(80.0)));
        for text in ["80", "0px", "-1um", "infum"] {
            assert!(distance(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fractions_have_bounds() {
        assert_eq!((smoothing("0.9"), smoothing("0")), (Ok(0.9), Ok(0.0)));
        assert_eq!((overlap("0.5"), overlap("0")), (Ok(0.5), Ok(0.0)));
        for (read, text) in [
            (smoothing as fn(&str) -> Result<f64, String>, "1"),
            (smoothing, "NaN"),
            (overlap, "0.51"),
            (target_um, "0"),
            (window_hours, "1.9"),
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
