//! A small frame and its cells, for the tests of what is written.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{FrameCells, Provenance, tracks::Tracks};
use crate::{
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    geometry::BoxF,
    mask::Mask,
    segmentation::{
        AppliedNormalization, AppliedPolicy, Instance, Intensity, Measures, Segmentation, Shape,
        Track,
    },
};

/// Mono8, brighter to the right.
pub(crate) fn frame(width: u32, height: u32, pixel_size_um: Option<f64>) -> Frame {
    let layout = Layout {
        format: PixelFormat::Mono8,
        width,
        height,
        row_stride: 0,
        significant_bits: 0,
    };
    let pixels: Bytes = (0..height)
        .flat_map(|_| (0..width).map(|x| (x * 10) as u8))
        .collect();
    Frame::new(
        layout,
        pixels,
        metadata(pixel_size_um),
        &FrameLimits::default(),
    )
    .unwrap()
}

/// With nothing but a pixel size.
pub(crate) fn metadata(pixel_size_um: Option<f64>) -> FrameMetadata {
    FrameMetadata {
        pixel_size_um,
        ..FrameMetadata::default()
    }
}

/// A frame named t01, of a file of its own.
pub(crate) fn with<'a>(
    metadata: &'a FrameMetadata,
    segmentation: &'a Segmentation,
) -> FrameCells<'a> {
    FrameCells {
        image_id: "t01",
        file: "t01.png",
        stack: false,
        metadata,
        segmentation,
    }
}

pub(crate) fn provenance() -> Provenance {
    Provenance {
        cellsegd: "0.1.0".to_owned(),
        model: "pilot".to_owned(),
        sha256: "ab".repeat(32),
        classes: vec!["cell".to_owned(), "nucleus".to_owned()],
        ..Provenance::default()
    }
}

/// A nucleus of five pixels: (2, 1), (3, 1), (2, 2), (3, 2), (4, 2).
pub(crate) fn one_cell(width: u32, height: u32) -> Segmentation {
    let mut mask = Mask::empty(2, 1, 3, 2);
    for (x, y) in [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1)] {
        mask.set(x, y);
    }
    Segmentation {
        width,
        height,
        instances: vec![Instance {
            class_index: 1,
            score: 0.9,
            detected_box: BoxF::default(),
            area: mask.area(),
            mask,
            touches_border: false,
            measures: None,
            track: None,
        }],
        confluence: 0.1,
        analysed_px: u64::from(width * height),
        removed_at_border: 0,
        neighbourhood: None,
        drift_px: None,
        growth: None,
        removed_by_area: 0,
        normalization: AppliedNormalization {
            low: 0.0,
            high: 100.0,
            policy: AppliedPolicy::Window,
        },
        truncated: false,
        notices: Vec::new(),
    }
}

/// On 20 x 10 pixels: the nucleus, and a tracked and measured cell with a hole in its middle, (10, 4) to (13, 7).
pub(crate) fn two_cells() -> Segmentation {
    let mut cells = one_cell(20, 10);
    let mut mask = Mask::empty(10, 4, 3, 3);
    (0..9)
        .filter(|&i| i != 4)
        .for_each(|i| mask.set(i % 3, i / 3));
    let shape = Shape {
        perimeter_px: 7.25,
        ..Shape::default()
    };
    let intensity = Intensity {
        channel: "GFP".to_owned(),
        mean: 100.5,
        ..Intensity::default()
    };
    cells.instances.push(Instance {
        class_index: 0,
        score: 0.75,
        detected_box: BoxF {
            x0: 9.5,
            y0: 4.0,
            x1: 13.25,
            y1: 7.0,
        },
        area: mask.area(),
        mask,
        touches_border: true,
        measures: Some(Box::new(Measures {
            centroid_px: (11.5, 5.5),
            shape: Some(shape),
            intensity: vec![intensity],
            ..Measures::default()
        })),
        track: Some(Track {
            id: 7,
            parent_id: Some(3),
            age: 2,
            gap: 0,
            moved_px: Some((1.0, -0.5)),
        }),
    });
    cells
}

/// Half an hour apart: a mother that is missing in the second frame, and her two daughters in the fourth.
pub(crate) fn division() -> Tracks {
    let mut tracks = Tracks::default();
    let seen: [&[(u64, Option<u64>)]; 4] = [
        &[(1, None)],
        &[],
        &[(1, None)],
        &[(2, Some(1)), (3, Some(1))],
    ];
    for (number, ids) in seen.iter().enumerate() {
        let mut cells = one_cell(20, 10);
        let cell = cells.instances.remove(0);
        cells.instances = ids
            .iter()
            .map(|&(id, parent_id)| {
                let track = Track {
                    id,
                    parent_id,
                    ..Track::default()
                };
                Instance {
                    track: Some(track),
                    ..cell.clone()
                }
            })
            .collect();
        let metadata = FrameMetadata {
            index: BTreeMap::from([("t".to_owned(), number as u32)]),
            elapsed_ms: Some(number as f64 * 1_800_000.0),
            ..FrameMetadata::default()
        };
        tracks.add(Some(&with(&metadata, &cells)));
    }
    tracks
}
