//! Each cell as it goes.

use super::measures::{self, Units};
use crate::{
    geometry::BoxF,
    mask::{self, Mask},
    proto as pb,
    segmentation::{Instance, Segmentation, Track},
};

/// One cell, called `label` in this frame.
pub(super) fn told(
    label: u32,
    cell: &Instance,
    encoding: pb::MaskEncoding,
    frame: &Segmentation,
    units: &Units<'_>,
) -> pb::Instance {
    use pb::{MaskEncoding, instance::Mask as Form};
    let mask = &cell.mask;
    let form = match encoding {
        MaskEncoding::None => None,
        MaskEncoding::Bits => Some(Form::Bits(bits(mask))),
        MaskEncoding::CocoRle | MaskEncoding::Unspecified => {
            let counts = mask::encode_coco(mask, frame.width, frame.height);
            Some(Form::Rle(pb::CocoRle {
                counts: counts.into(),
            }))
        }
        MaskEncoding::Rings => {
            let rings = mask::rings(mask)
                .into_iter()
                .map(|ring| self::ring(&ring))
                .collect();
            Some(Form::Rings(pb::Rings { rings }))
        }
    };
    let (x, y) = (mask.x(), mask.y());
    let tight = [x, y, x + mask.width(), y + mask.height()].map(|edge| edge as f32);
    pb::Instance {
        label,
        class_index: cell.class_index,
        score: cell.score,
        r#box: Some(pb::Box {
            x0: tight[0],
            y0: tight[1],
            x1: tight[2],
            y1: tight[3],
        }),
        detected_box: Some(box_of(&cell.detected_box)),
        touches_border: cell.touches_border,
        measures: measures::told(cell, units),
        track: cell.track.as_ref().map(|track| self::track(track, units)),
        mask: form,
    }
}

fn box_of(b: &BoxF) -> pb::Box {
    pb::Box {
        x0: b.x0,
        y0: b.y0,
        x1: b.x1,
        y1: b.y1,
    }
}

fn bits(mask: &Mask) -> pb::BitMask {
    let bits: Vec<u8> = mask
        .words()
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    pb::BitMask {
        x: mask.x(),
        y: mask.y(),
        width: mask.width(),
        height: mask.height(),
        row_bytes: mask.row_words() as u32 * 4,
        bits: bits.into(),
    }
}

fn track(track: &Track, units: &Units<'_>) -> pb::Track {
    let moved = track.moved_px;
    pb::Track {
        id: track.id,
        parent_id: track.parent_id,
        age: track.age,
        gap: track.gap,
        moved_x_px: moved.map(|(x, _)| x),
        moved_y_px: moved.map(|(_, y)| y),
        moved_um: moved.and_then(|(x, y)| units.um(x.hypot(y))),
    }
}

/// Corners as differences.
pub(in crate::server::convert) fn ring(ring: &mask::Ring) -> pb::Ring {
    let (mut x, mut y) = (0, 0);
    let xy_delta = ring.corners.iter().flat_map(|&(next_x, next_y)| {
        let delta = [next_x - x, next_y - y];
        (x, y) = (next_x, next_y);
        delta
    });
    pb::Ring {
        xy_delta: xy_delta.collect(),
        hole: ring.hole,
    }
}
