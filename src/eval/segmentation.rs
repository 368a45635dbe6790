//! A COCO annotation's `segmentation`: polygons, run lengths as numbers, run lengths as text.

use serde::Deserialize;
use serde_json::Value;

use super::{columns::mask_of_runs, polygon::runs_of_polygon};
use crate::mask::{Mask, decode_coco};

/// Run lengths down the columns, background first.
#[derive(Deserialize)]
struct Rle {
    /// Height, width.
    size: [u32; 2],
    counts: Counts,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Counts {
    Text(String),
    Numbers(Vec<u64>),
}

/// The pixels that `segmentation` means in an image of `width` x `height` pixels; else what is wrong with it.
pub(super) fn mask_of(segmentation: &Value, width: u32, height: u32) -> Result<Mask, String> {
    match segmentation {
        Value::Array(polygons) => of_polygons(polygons, width, height),
        Value::Object(_) => {
            let rle: Rle = Deserialize::deserialize(segmentation)
                .map_err(|_| "run lengths need size [height, width] and counts".to_owned())?;
            of_rle(&rle, width, height)
        }
        _ => Err("must be a list of polygons, or run lengths with size and counts".to_owned()),
    }
}

fn of_polygons(polygons: &[Value], width: u32, height: u32) -> Result<Mask, String> {
    let mut runs = Vec::new();
    for polygon in polygons {
        let numbers: Vec<f64> = Deserialize::deserialize(polygon)
            .map_err(|_| "a polygon must be a list of numbers: x, y, x, y ...".to_owned())?;
        if numbers.len() < 6 || !numbers.len().is_multiple_of(2) {
            let n = numbers.len();
            return Err(format!(
                "a polygon of {n} numbers: must be x and y of 3 corners or more"
            ));
        }
        let corners: Vec<(f64, f64)> = numbers
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&[x, y]| (x, y))
            .collect();
        // Sides are drawn point by point: a corner at 1e18 would keep this busy for ever.
        let near = |v: f64, side: u32| v.abs() <= 4.0 * f64::from(side) + 100.0;
        if let Some((x, y)) = corners
            .iter()
            .find(|(x, y)| !near(*x, width) || !near(*y, height))
        {
            return Err(format!(
                "corner ({x}, {y}) is far outside of {width}x{height} pixels"
            ));
        }
        runs.extend(runs_of_polygon(&corners, width, height));
    }
    Ok(mask_of_runs(runs.into_iter(), height))
}

fn of_rle(rle: &Rle, width: u32, height: u32) -> Result<Mask, String> {
    if rle.size != [height, width] {
        let [h, w] = rle.size;
        return Err(format!(
            "run lengths of {w}x{h} pixels in an image of {width}x{height}"
        ));
    }
    let counts = match &rle.counts {
        Counts::Text(text) => {
            return decode_coco(text.as_bytes(), width, height).map_err(|error| error.to_string());
        }
        Counts::Numbers(counts) => counts,
    };
    let n_pixels = u64::from(width) * u64::from(height);
    let mut end = 0u64;
    let mut runs = Vec::new();
    for (i, &count) in counts.iter().enumerate() {
        let start = end;
        end = end.saturating_add(count);
        if end > n_pixels {
            return Err(format!(
                "counts go past the {n_pixels} pixels of {width}x{height}"
            ));
        }
        if i % 2 == 1 {
            runs.push(start..end);
        }
    }
    if end != n_pixels {
        return Err(format!(
            "counts sum to {end}: {width}x{height} has {n_pixels} pixels"
        ));
    }
    Ok(mask_of_runs(runs.into_iter(), height))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::mask_of;
    use crate::mask::testing::drawn;

    #[test]
    fn all_three_kinds_mean_the_same_pixels() {
        for segmentation in [
            json!([[1, 0, 3, 0, 3, 2, 1, 2]]),
            json!([[1, 0, 2, 0, 2, 2, 1, 2], [2, 0, 3, 0, 3, 2, 2, 2]]),
            json!({"size": [3, 4], "counts": [3, 2, 1, 2, 4]}),
            json!({"size": [3, 4], "counts": "32103"}),
        ] {
            let mask = mask_of(&segmentation, 4, 3).unwrap();
            assert_eq!(mask, drawn(1, 0, &["##", "##"]), "{segmentation}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (segmentation, expected) in [
            (json!(null), "must be a list of polygons"),
            (json!([[1, 0, 3, 0]]), "a polygon of 4 numbers"),
            (json!([["a"]]), "a list of numbers"),
            (
                json!([[0, 0, 1e18, 0, 0, 1]]),
                "(1000000000000000000, 0) is far outside of 4x3",
            ),
            (
                json!({"size": [3, 5], "counts": []}),
                "run lengths of 5x3 pixels in an image of 4x3",
            ),
            (json!({"size": [3, 4], "counts": [11]}), "counts sum to 11"),
            (
                json!({"size": [3, 4], "counts": [u64::MAX, u64::MAX]}),
                "counts go past the 12",
            ),
            (json!({"size": [3, 4], "counts": "4"}), "counts sum to 4"),
            (json!({"counts": "4"}), "size [height, width]"),
        ] {
            let error = mask_of(&segmentation, 4, 3).expect_err("wrong");
            assert!(error.contains(expected), "{segmentation}: {error}");
        }
    }
}
