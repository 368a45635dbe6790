//! Going on with the identities of an earlier session.

use std::collections::HashSet;

use super::body::{Body, Known};
use crate::{mask::Mask, segmentation::Track};

/// Ids stay below it: tables and spreadsheets keep them as doubles.
const MOST_ID: u64 = 1 << 53;

/// Where an earlier session stopped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resumed {
    /// Pixels of its frames.
    pub width: u32,
    /// Pixels of its frames.
    pub height: u32,
    /// Ids from here on are new.
    pub next_id: u64,
    /// As they were last seen.
    pub cells: Vec<ResumedCell>,
}

/// A cell, as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ResumedCell {
    /// From its last answer.
    pub track: Track,
    /// From its last answer.
    pub class_index: u32,
    /// Its pixels.
    pub mask: Mask,
    /// Frames since then in which it was not seen.
    pub missing: u32,
    /// Of them, frames that were dropped or failed, so that nobody looked.
    pub dropped: u32,
    /// Sum of the drifts of the frames since then, pixels to the right and down.
    pub drifted_px: (f64, f64),
}

/// A resumption that cannot be meant: names the value and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResumeError(pub String);

/// The cells of `resumed` by rising id, checked.
pub(super) fn known(resumed: Resumed) -> Result<Vec<Known>, ResumeError> {
    let (width, height, next_id) = (resumed.width, resumed.height, resumed.next_id);
    check(width > 0 && height > 0, || {
        format!("frames of {width}x{height} pixels: both must be above 0")
    })?;
    check_ids(next_id, resumed.cells.iter().map(|cell| cell.track.id))?;
    let mut known = Vec::with_capacity(resumed.cells.len());
    for cell in resumed.cells {
        let id = cell.track.id;
        check_cell(&cell, width, height)
            .map_err(|ResumeError(why)| ResumeError(format!("track {id}: {why}")))?;
        known.push(Known {
            track: cell.track,
            body: Body::new(&cell.mask, cell.class_index),
            missing: cell.missing,
            dropped: cell.dropped,
            drifted: cell.drifted_px,
        });
    }
    // A mother's id ended when she divided.
    let mothers: HashSet<u64> = known
        .iter()
        .filter_map(|cell| cell.track.parent_id)
        .collect();
    known.retain(|cell| !mothers.contains(&cell.track.id));
    // The order in which a tracker keeps them, so that the caller's order changes nothing.
    known.sort_by_key(|cell| cell.track.id);
    Ok(known)
}

/// Refuses cells' ids that cannot be meant: which needs none of their masks.
pub fn check_ids(next_id: u64, ids: impl IntoIterator<Item = u64>) -> Result<(), ResumeError> {
    check(0 < next_id && next_id <= MOST_ID, || {
        format!("next_id {next_id}: must be 1 to {MOST_ID}, above every id")
    })?;
    let mut known = HashSet::new();
    for id in ids {
        check(0 < id && id < next_id, || {
            format!("track id {id}: must be 1 to next_id - 1, {}", next_id - 1)
        })?;
        check(known.insert(id), || {
            format!("track id {id}: given twice, must be given once")
        })?;
    }
    Ok(())
}

fn check_cell(cell: &ResumedCell, width: u32, height: u32) -> Result<(), ResumeError> {
    let (track, mask) = (&cell.track, &cell.mask);
    if let Some(parent) = track.parent_id {
        check(0 < parent && parent < track.id, || {
            format!(
                "parent_id {parent}: must be 1 to {}, older than its daughter",
                track.id - 1
            )
        })?;
    }
    check(track.gap < track.age, || {
        format!("age {}: must be above its gap {}", track.age, track.gap)
    })?;
    let (dx, dy) = track.moved_px.unwrap_or_default();
    let (x, y) = cell.drifted_px;
    for (name, value) in [
        ("moved_x_px", dx),
        ("moved_y_px", dy),
        ("drifted.x_px", x),
        ("drifted.y_px", y),
    ] {
        check(value.is_finite(), || {
            format!("{name} {value}: must be a number")
        })?;
    }
    check(cell.dropped <= cell.missing, || {
        format!(
            "dropped {}: must not be above missing {}",
            cell.dropped, cell.missing
        )
    })?;
    check(!mask.is_empty(), || {
        "mask without a pixel: must have one".to_owned()
    })?;
    let right = u64::from(mask.x()) + u64::from(mask.width());
    let bottom = u64::from(mask.y()) + u64::from(mask.height());
    check(
        right <= u64::from(width) && bottom <= u64::from(height),
        || {
            format!(
                "mask reaches to ({right}, {bottom}): must lie inside the frame of {width}x{height} pixels"
            )
        },
    )
}

fn check(right: bool, why: impl FnOnce() -> String) -> Result<(), ResumeError> {
    if right {
        Ok(())
    } else {
        Err(ResumeError(why()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Resumed, ResumedCell, known};
    use crate::{mask::testing::drawn, segmentation::Track};

    fn cell(id: u64) -> ResumedCell {
        ResumedCell {
            track: Track {
                id,
                age: 3,
                ..Track::default()
            },
            class_index: 0,
            mask: drawn(6, 6, &["##"]),
            missing: 1,
            dropped: 0,
            drifted_px: (0.0, 0.0),
        }
    }

    #[test]
    fn cells_come_by_rising_id_in_whatever_order_they_were_given() {
        let resumed = Resumed {
            width: 8,
            height: 8,
            next_id: 9,
            cells: vec![cell(8), cell(2), cell(5)],
        };
        let ids =
            |resumed| known(resumed).map(|cells| cells.iter().map(|cell| cell.track.id).collect());
        assert_eq!(ids(resumed), Ok(vec![2, 5, 8]));
    }

    #[test]
    fn a_mother_whose_daughter_is_there_is_gone() {
        let mut daughter = cell(7);
        daughter.track.parent_id = Some(3);
        let resumed = Resumed {
            width: 8,
            height: 8,
            next_id: 9,
            cells: vec![cell(3), daughter, cell(4)],
        };
        let ids: Vec<u64> = known(resumed)
            .expect("it can be resumed")
            .iter()
            .map(|cell| cell.track.id)
            .collect();
        assert_eq!(ids, [4, 7]);
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        type Spoil = fn(&mut Resumed);
        let cases: [(Spoil, &str); 13] = [
            (|r| r.width = 0, "frames of 0x8 pixels"),
            (|r| r.next_id = 0, "next_id 0: must be 1 to"),
            (|r| r.next_id = u64::MAX, "above every id"),
            (|r| r.next_id = 2, "track id 2: must be 1 to next_id - 1, 1"),
            (|r| r.cells[0].track.id = 0, "track id 0"),
            (|r| r.cells.push(cell(2)), "track id 2: given twice"),
            (
                |r| r.cells[0].track.parent_id = Some(2),
                "track 2: parent_id 2",
            ),
            (
                |r| r.cells[0].track.gap = 3,
                "track 2: age 3: must be above its gap 3",
            ),
            (
                |r| r.cells[0].track.moved_px = Some((0.0, f64::NAN)),
                "moved_y_px NaN",
            ),
            (
                |r| r.cells[0].drifted_px.0 = f64::INFINITY,
                "drifted.x_px inf",
            ),
            (
                |r| r.cells[0].dropped = 2,
                "dropped 2: must not be above missing 1",
            ),
            (
                |r| r.cells[0].mask = drawn(6, 6, &["."]),
                "mask without a pixel",
            ),
            (
                |r| r.cells[0].mask = drawn(7, 6, &["##"]),
                "mask reaches to (9, 7): must lie inside the frame of 8x8 pixels",
            ),
        ];
        for (spoil, expected) in cases {
            let mut resumed = Resumed {
                width: 8,
                height: 8,
                next_id: 9,
                cells: vec![cell(2)],
            };
            spoil(&mut resumed);
            let message = known(resumed)
                .map(|_| ())
                .map_err(|error| error.to_string());
            assert!(
                message
                    .as_ref()
                    .is_err_and(|message| message.contains(expected)),
                "{expected}: {message:?}"
            );
        }
    }
}
