//! Plans for the stand-ins, frames with cells in them, and how their answers are compared.

use std::collections::BTreeSet;

use bytes::Bytes;
use cellsegd::{
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat, decode_image},
    proto as pb,
};

/// The bundled model.
pub(super) const ONNX: &[u8] = include_bytes!("../../../engines/cells_640.onnx");
/// Cells, 1024 x 1022, 16 bit.
pub(super) const CELLS: &[u8] = include_bytes!("../../../demo/t01.png");

/// A plan for the stand-ins of the bundled model: `keys` are lines `key=value` (tests/fake_gpu/README.md).
pub(super) fn plan(keys: &str) -> Vec<u8> {
    let header = format!("ftrtFAKE1\n{}\nonnx={}\n\n", keys.trim(), ONNX.len());
    [header.as_bytes(), ONNX].concat()
}

/// Pieces of an image with cells, of many sizes and in several formats.
pub(super) fn frames() -> Vec<Frame> {
    let image = image();
    let sizes = [
        (0, 0, 640, 640, PixelFormat::Mono16),
        (100, 50, 333, 517, PixelFormat::Mono16),
        (300, 200, 701, 401, PixelFormat::Mono8),
        (0, 0, 1024, 1022, PixelFormat::Mono16),
        (17, 400, 97, 61, PixelFormat::Mono8),
        (200, 100, 640, 480, PixelFormat::Rgb8),
    ];
    sizes.map(|piece| crop(&image, piece)).into()
}

const LIMITS: FrameLimits = FrameLimits {
    max_frame_bytes: 1 << 26,
    max_side: 1 << 14,
};

fn image() -> Frame {
    let (layout, data) = decode_image(CELLS, 0, &LIMITS).unwrap();
    Frame::new(layout, data, FrameMetadata::default(), &LIMITS).unwrap()
}

/// `width` x `height` pixels of a 16-bit image, from (x, y) on.
fn crop(image: &Frame, (x, y, width, height, format): (u32, u32, u32, u32, PixelFormat)) -> Frame {
    let mut data = Vec::new();
    for y in y..y + height {
        let row = &image.row(y)[2 * x as usize..2 * (x + width) as usize];
        for sample in row.chunks_exact(2) {
            let value = u16::from_le_bytes([sample[0], sample[1]]);
            match format {
                PixelFormat::Mono16 => data.extend(sample),
                PixelFormat::Mono8 => data.push((value >> 8) as u8),
                _ => data.extend([(value >> 8) as u8; 3]),
            }
        }
    }
    let layout = Layout {
        format,
        width,
        height,
        row_stride: 0,
        significant_bits: 0,
    };
    Frame::new(layout, Bytes::from(data), FrameMetadata::default(), &LIMITS).unwrap()
}

/// As a client sends it.
pub(super) fn message(id: u64, frame: &Frame) -> pb::Frame {
    let format = match frame.format() {
        PixelFormat::Mono8 => pb::PixelFormat::Mono8,
        PixelFormat::Mono16 => pb::PixelFormat::Mono16,
        PixelFormat::Rgb8 => pb::PixelFormat::Rgb8,
        other => panic!("{other:?} is not among the frames"),
    };
    crate::client::raw(
        id,
        pb::RawPixels {
            format: format.into(),
            width: frame.width(),
            height: frame.height(),
            data: frame.data().clone(),
            ..Default::default()
        },
    )
}

/// Pixels of a cell, as places in its frame.
pub(super) type Pixels = BTreeSet<(u32, u32)>;

/// The mean IoU of each of `one`'s cells with its best match in `other`, and the worst; 1 where there are none.
pub(super) fn agreement(one: &[Pixels], other: &[Pixels]) -> (f64, f64) {
    let best = |cell: &Pixels| {
        other
            .iter()
            .map(|candidate| {
                let common = cell.intersection(candidate).count();
                common as f64 / (cell.len() + candidate.len() - common) as f64
            })
            .fold(0.0, f64::max)
    };
    let best: Vec<f64> = one.iter().map(best).collect();
    let worst = best.iter().copied().fold(1.0, f64::min);
    let mean = best.iter().sum::<f64>() / best.len().max(1) as f64;
    (if best.is_empty() { 1.0 } else { mean }, worst)
}
