//! A small frame and its cell, for the tests of what is written.

use bytes::Bytes;

use crate::{
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    geometry::BoxF,
    mask::Mask,
    segmentation::{AppliedNormalization, AppliedPolicy, Instance, Segmentation},
};

/// Mono8, brighter to the right.
pub(super) fn frame(width: u32, height: u32, pixel_size_um: Option<f64>) -> Frame {
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
    let metadata = FrameMetadata {
        pixel_size_um,
        ..FrameMetadata::default()
    };
    Frame::new(layout, pixels, metadata, &FrameLimits::default()).unwrap()
}

/// A nucleus of five pixels: (2, 1), (3, 1), (2, 2), (3, 2), (4, 2).
pub(super) fn one_cell(width: u32, height: u32) -> Segmentation {
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
        }],
        confluence: 0.1,
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
