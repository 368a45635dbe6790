//! A frame's cells as a page draws them.

use std::fmt::Write;

use crate::{mask, segmentation::Segmentation};

/// JSON: of each cell its label, class, score, identity where there is one, and its rings: the first corner, then differences,
/// x and y in turn, pixels of the frame. None: that is more than `most` bytes.
pub(super) fn cells(segmentation: &Segmentation, most: usize) -> Option<String> {
    let mut json = String::from("[");
    for (cell, label) in segmentation.instances.iter().zip(1..) {
        if 1 < label {
            json.push(',');
        }
        let (class, score) = (cell.class_index, cell.score);
        // Writing into a string cannot fail.
        let _ = write!(
            json,
            r#"{{"label":{label},"class":{class},"score":{score:.3},"area":{}"#,
            cell.area
        );
        if let Some(track) = &cell.track {
            let _ = write!(json, r#","track":{}"#, track.id);
            if let Some(parent) = track.parent_id {
                let _ = write!(json, r#","parent":{parent}"#);
            }
        }
        json.push_str(r#","rings":["#);
        for (place, ring) in mask::rings(&cell.mask).iter().enumerate() {
            json.push_str(if place == 0 { "[" } else { ",[" });
            let (mut x, mut y) = (0, 0);
            for (place, &(next_x, next_y)) in ring.corners.iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                let _ = write!(json, "{comma}{},{}", next_x - x, next_y - y);
                (x, y) = (next_x, next_y);
            }
            json.push(']');
        }
        json.push_str("]}");
        if most < json.len() {
            return None;
        }
    }
    json.push(']');
    Some(json)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{export::testing::one_cell, segmentation::Track};

    fn read(segmentation: &Segmentation) -> Value {
        assert!(cells(segmentation, 40).is_none(), "too long");
        serde_json::from_str(&cells(segmentation, 4096).unwrap()).unwrap()
    }

    #[test]
    fn a_cell_is_a_line_around_its_pixels() {
        let mut segmentation = one_cell(8, 6);
        let drawn = read(&segmentation);
        assert_eq!(drawn[0]["label"], 1);
        assert_eq!(drawn[0]["area"], segmentation.instances[0].area);
        assert!(drawn[0].get("track").is_none());
        let ring: Vec<i64> = serde_json::from_value(drawn[0]["rings"][0].clone()).unwrap();
        // Each edge runs along one axis, and the line closes.
        assert!(
            ring.as_chunks::<2>()
                .0
                .iter()
                .skip(1)
                .all(|[x, y]| (*x == 0) != (*y == 0))
        );
        segmentation.instances[0].track = Some(Track {
            id: u64::MAX >> 12,
            parent_id: Some(3),
            ..Track::default()
        });
        let drawn = read(&segmentation);
        assert_eq!(drawn[0]["track"], json!(u64::MAX >> 12));
        assert_eq!(drawn[0]["parent"], 3);
        segmentation.instances.clear();
        assert_eq!(cells(&segmentation, 2).unwrap(), "[]");
    }
}
