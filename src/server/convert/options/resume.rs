//! Where an earlier session stopped: the server remembers nothing, the client tells.

use super::{
    super::{Refusal, frame::metadata_of},
    analysis::ring,
};
use crate::{
    analysis::MOST_BYTES,
    config::LimitSettings,
    frame::FrameMetadata,
    mask::{self, Mask, Ring},
    params::Tracking,
    proto as pb,
    segmentation::Track,
    track::{Resumed, ResumedCell, check_ids},
};

/// Series by series: the metadata of its last frame, and its cells.
pub(in crate::server) fn resumed(
    tracking: Option<&pb::Tracking>,
    limits: &LimitSettings,
) -> Result<Vec<(FrameMetadata, Resumed)>, Refusal> {
    let Some((tracking, resume)) =
        tracking.and_then(|tracking| Some((tracking, tracking.resume.as_ref()?)))
    else {
        return Ok(Vec::new());
    };
    let max_gap = tracking.max_gap.unwrap_or(Tracking::default().max_gap);
    // A tracker knows the cells of the last frame and of those over which one may be missing.
    let most_cells = u64::from(limits.max_cells).saturating_mul(u64::from(max_gap) + 1);
    let mut charge = Charge { bytes: 0 };
    resume
        .series
        .iter()
        .map(|asked| series(asked, limits, most_cells, &mut charge))
        .collect()
}

/// What the cells of all series hold, and what drawing them costs.
struct Charge {
    bytes: usize,
}

impl Charge {
    fn add(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes <= MOST_BYTES {
            true => Ok(()),
            false => Err(format!(
                "the masks have over {MOST_BYTES} bytes: resume fewer series or cells"
            )),
        }
    }

    /// A mask that fills this box.
    fn add_box(&mut self, width: u32, height: u32) -> Result<(), String> {
        self.add(width.div_ceil(32) as usize * 4 * height as usize)
    }
}

fn refusal(why: String) -> Refusal {
    Refusal::Invalid(format!("tracking.resume: {why}"))
}

fn series(
    asked: &pb::ResumedSeries,
    limits: &LimitSettings,
    most_cells: u64,
    charge: &mut Charge,
) -> Result<(FrameMetadata, Resumed), Refusal> {
    let (width, height, most) = (asked.width, asked.height, limits.max_side);
    if width > most || height > most {
        return Err(refusal(format!(
            "{width}x{height} pixels: a side may be at most {most} pixels"
        )));
    }
    let metadata = asked.metadata.clone().unwrap_or_default();
    let metadata = metadata_of(&metadata).map_err(|failed| refusal(failed.message))?;
    let n_cells = asked.instances.len();
    if n_cells as u64 > most_cells {
        return Err(refusal(format!(
            "{n_cells} cells in a series: at most {most_cells}, max_cells in each of max_gap + 1 frames"
        )));
    }
    let tracks = asked
        .instances
        .iter()
        .filter_map(|cell| cell.track.as_ref());
    check_ids(asked.next_id, tracks.map(|track| track.id))
        .map_err(|error| refusal(error.to_string()))?;
    let cells = asked.instances.iter().map(|cell| {
        let refuse = |why: String| {
            let id = cell.track.as_ref().map_or(0, |track| track.id);
            refusal(format!("cell {id}: {why}"))
        };
        let track = cell
            .track
            .as_ref()
            .ok_or_else(|| refuse("without its track".to_owned()))?;
        charge.add(size_of::<ResumedCell>()).map_err(refuse)?;
        let mask = mask_of(cell.mask.as_ref(), width, height, charge).map_err(refuse)?;
        Ok(ResumedCell {
            track: Track {
                id: track.id,
                parent_id: track.parent_id,
                age: track.age,
                gap: track.gap,
                moved_px: track.moved_x_px.zip(track.moved_y_px),
            },
            class_index: cell.class_index,
            mask,
            missing: cell.missing,
            dropped: cell.dropped,
            drifted_px: cell
                .drifted
                .map_or((0.0, 0.0), |drift| (drift.x_px, drift.y_px)),
        })
    });
    let resumed = Resumed {
        width,
        height,
        next_id: asked.next_id,
        cells: cells.collect::<Result<_, Refusal>>()?,
    };
    Ok((metadata, resumed))
}

/// A cell's pixels in any of the forms in which they were sent. `Err`: why they are none.
fn mask_of(
    asked: Option<&pb::resumed_instance::Mask>,
    width: u32,
    height: u32,
    charge: &mut Charge,
) -> Result<Mask, String> {
    use pb::resumed_instance::Mask as Form;
    let mask = match asked {
        None => return Err("without its mask: send bits, rle or rings".to_owned()),
        Some(Form::Rle(rle)) => {
            let mask = mask::decode_coco(&rle.counts, width, height);
            let mask = mask.map_err(|error| error.to_string())?;
            // Its box is tight: whatever was sent, no more is drawn than is held.
            charge.add_box(mask.width(), mask.height())?;
            mask
        }
        Some(Form::Rings(rings)) => {
            let rings = rings.rings.iter().map(|asked| ring(asked, "rings"));
            let rings: Result<Vec<_>, _> = rings.collect();
            let rings = rings.map_err(|refusal| refusal.to_string())?;
            rings_mask(rings, width, height, charge)?
        }
        Some(Form::Bits(bits)) => {
            let mask = bits_mask(bits, width, height)?;
            charge.add_box(bits.width, bits.height)?;
            mask
        }
    };
    match mask.is_empty() {
        true => Err("its mask has no pixel".to_owned()),
        false => Ok(mask.trim()),
    }
}

/// Inside their own box: what a ring costs follows its size, not the frame's.
fn rings_mask(
    mut rings: Vec<Ring>,
    width: u32,
    height: u32,
    charge: &mut Charge,
) -> Result<Mask, String> {
    let corners = || rings.iter().flat_map(|ring| &ring.corners);
    let bounds = |side: &[i32]| (side.iter().min().copied(), side.iter().max().copied());
    let (xs, ys): (Vec<i32>, Vec<i32>) = corners().copied().unzip();
    let ((Some(left), Some(right)), (Some(top), Some(bottom))) = (bounds(&xs), bounds(&ys)) else {
        return Err("its rings have no corners".to_owned());
    };
    let inside = |from: i32, to: i32, side: u32| 0 <= from && i64::from(to) <= i64::from(side);
    if !inside(left, right, width) || !inside(top, bottom, height) {
        return Err(format!(
            "its rings from ({left}, {top}) to ({right}, {bottom}) do not lie in the {width}x{height} frame"
        ));
    }
    for (x, y) in rings.iter_mut().flat_map(|ring| &mut ring.corners) {
        (*x, *y) = (*x - left, *y - top);
    }
    let (left, top) = (left as u32, top as u32);
    // What they enclose may be far smaller than their box, and they may run up and down it: both cost time.
    charge.add_box(right as u32 - left, bottom as u32 - top)?;
    charge.add(rings.iter().map(rows_crossed).sum::<usize>() * 4)?;
    let own = mask::region(&rings, right as u32 - left, bottom as u32 - top)
        .map_err(|error| error.to_string())?;
    let (x, y) = (left + own.x(), top + own.y());
    let mut mask = Mask::empty(x, y, own.width(), own.height());
    (0..own.height()).for_each(|row| mask.row_mut(row).copy_from_slice(own.row(row)));
    Ok(mask)
}

/// Rows that a ring's edges cross, one edge after the other.
fn rows_crossed(ring: &Ring) -> usize {
    let next = ring.corners.iter().cycle().skip(1);
    let edges = ring.corners.iter().zip(next);
    edges.map(|(a, b)| a.1.abs_diff(b.1) as usize).sum()
}

fn bits_mask(asked: &pb::BitMask, width: u32, height: u32) -> Result<Mask, String> {
    let inside = |start: u32, length: u32, side: u32| {
        start.checked_add(length).is_some_and(|end| end <= side)
    };
    if !inside(asked.x, asked.width, width) || !inside(asked.y, asked.height, height) {
        return Err(format!(
            "its box at ({}, {}) of {}x{} pixels does not lie in the {width}x{height} frame",
            asked.x, asked.y, asked.width, asked.height
        ));
    }
    let row_bytes = asked.width.div_ceil(32) as usize * 4;
    let need = row_bytes * asked.height as usize;
    if asked.row_bytes as usize != row_bytes || asked.bits.len() != need {
        return Err(format!(
            "its bits have {} bytes in rows of {}: {}x{} pixels need {need} in rows of {row_bytes}",
            asked.bits.len(),
            asked.row_bytes,
            asked.width,
            asked.height
        ));
    }
    let mut mask = Mask::empty(asked.x, asked.y, asked.width, asked.height);
    for y in 0..asked.height {
        let row = &asked.bits[y as usize * row_bytes..][..row_bytes];
        for x in 0..asked.width {
            if row[x as usize / 8] >> (x % 8) & 1 == 1 {
                mask.set(x, y);
            }
        }
    }
    Ok(mask)
}
