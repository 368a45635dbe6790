//! The kernels' own source, compiled by g++, against the Rust functions that say what they mean: bit for bit.

mod chain;
mod costs;
mod decode;
mod elements;
mod layout;
mod preprocess;
mod rig;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    model::{Head, HeadShape, ModelSpec, Storage, Stored, bundled},
    params::{Normalization, Params, Thresholds},
};

/// A model of any head and input.
fn model(head: Head, (input_width, input_height): (u32, u32)) -> ModelSpec {
    ModelSpec {
        head,
        input_width,
        input_height,
        ..bundled().unwrap().spec
    }
}

fn small_head() -> Head {
    Head::YoloSeg(HeadShape {
        classes: 2,
        coefficients: 4,
        anchors: 21,
        prototype_width: 8,
        prototype_height: 8,
    })
}

const F32: Storage = stored(Stored::F32, Stored::F32);

const fn stored(input: Stored, outputs: Stored) -> Storage {
    Storage {
        input,
        detections: outputs,
        prototypes: outputs,
        batch: 1,
        dynamic_batch: false,
    }
}

fn params(normalization: Normalization) -> Params {
    Params::new(
        Thresholds {
            confidence: 0.3,
            iou: 0.5,
            class_agnostic: false,
            max_cells: 100,
            min_area_px: 0,
            min_area_um2: None,
            max_area_um2: None,
            classes: Vec::new(),
            class_confidence: BTreeMap::new(),
            border: Default::default(),
        },
        normalization,
    )
}

/// A frame of noise; `padding` bytes after each row but the last.
fn noise(
    format: PixelFormat,
    (width, height): (u32, u32),
    padding: u32,
    significant_bits: u32,
    random: &mut Random,
) -> Frame {
    let row = format.row_bytes(width) as u32;
    let bytes = (row + padding) * (height - 1) + row;
    let layout = Layout {
        format,
        width,
        height,
        row_stride: row + padding,
        significant_bits,
    };
    let data: Vec<u8> = (0..bytes).map(|_| random.next() as u8).collect();
    let limits = FrameLimits::default();
    Frame::new(layout, Bytes::from(data), FrameMetadata::default(), &limits).unwrap()
}

/// Marsaglia's xorshift: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The upper bits are the better ones.
        self.0 >> 16
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.below(1 << 24) as f32 / (1 << 24) as f32)
    }
}
