//! Lengths and times in the units that files use.

/// Micrometres. None for a unit that is no length, as OME's "reference frame" or ImageJ's "pixel".
pub(super) fn micrometres(value: f64, unit: &str) -> Option<f64> {
    let factor = match unit.trim() {
        // Micro sign and Greek mu; ImageJ writes the first as an escape.
        "um" | "\u{b5}m" | "\u{3bc}m" | "\\u00B5m" | "micron" | "microns" | "micrometer" => 1.0,
        "nm" | "nanometer" => 1e-3,
        "pm" => 1e-6,
        "\u{c5}" => 1e-4,
        "mm" | "millimeter" => 1e3,
        "cm" | "centimeter" => 1e4,
        "m" | "meter" => 1e6,
        "in" | "inch" => 25_400.0,
        _ => return None,
    };
    Some(value * factor)
}

/// Milliseconds. None for a unit that is no time.
pub(super) fn milliseconds(value: f64, unit: &str) -> Option<f64> {
    let factor = match unit.trim() {
        "ms" | "msec" => 1.0,
        "s" | "sec" => 1e3,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1e-3,
        "min" => 60e3,
        "h" | "hr" => 3600e3,
        "d" => 86_400e3,
        _ => return None,
    };
    Some(value * factor)
}
