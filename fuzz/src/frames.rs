//! Pixels and image files.

use std::io::Cursor;

use bytes::Bytes;
use cellsegd::{
    frame::{
        Compression, FlatField, Frame, FrameLimits, FrameMetadata, ImageFile, Layout, PixelFormat,
        decode_image, decompress,
    },
    geometry::Letterbox,
    params::{MinSpan, Normalization},
    preprocess::{self, Scratch},
};

use crate::script::Script;

/// Small, so that a bomb shows.
const LIMITS: FrameLimits = FrameLimits {
    max_frame_bytes: 1 << 18,
    max_side: 1024,
};

/// Any layout over any bytes: refused, or a frame whose every row is there and which becomes numbers from 0 to 1.
pub(crate) fn frame(input: &[u8]) {
    let mut script = Script::new(input);
    let format = PixelFormat::ALL[script.below(PixelFormat::ALL.len())];
    let (width, height) = (script.number(), script.number());
    let row_bytes = (u64::from(width) * format.bits_per_pixel() as u64).div_ceil(8);
    let row_stride = match script.below(4) {
        0 => script.u32(),
        1 => (row_bytes as u32).wrapping_add(script.number()),
        _ => 0,
    };
    let layout = Layout {
        format,
        width,
        height,
        row_stride,
        significant_bits: script.number() % 20,
    };
    let normalization = normalization(&mut script);
    let stride = u64::from(row_stride).max(row_bytes);
    let whole = u64::from(height).saturating_mul(stride);
    let data = match script.flag() && whole <= LIMITS.max_frame_bytes {
        // Mostly as many bytes as are needed, else hardly anything would be a frame.
        true => {
            let length = (whole as usize + script.below(4)).saturating_sub(1);
            let pixels = script.rest().iter().copied().cycle().take(length);
            let mut data: Vec<u8> = pixels.collect();
            data.resize(length, 0);
            Bytes::from(data)
        }
        false => Bytes::copy_from_slice(script.rest()),
    };
    if let Ok(frame) = Frame::new(layout, data, FrameMetadata::default(), &LIMITS) {
        look_at(&frame, &normalization);
        turn(frame);
    }
}

/// Any bytes as compressed pixels: refused, or at most as many bytes as their layout has.
pub(crate) fn compressed(input: &[u8]) {
    let mut script = Script::new(input);
    let compression = match script.flag() {
        true => Compression::Zlib,
        false => Compression::Lz4,
    };
    let layout = Layout {
        format: PixelFormat::ALL[script.below(PixelFormat::ALL.len())],
        width: script.number(),
        height: script.number(),
        row_stride: if script.flag() { script.number() } else { 0 },
        significant_bits: 0,
    };
    let data = Bytes::copy_from_slice(script.rest());
    if let Ok(pixels) = decompress(compression, &data, &layout, &LIMITS) {
        assert!(pixels.len() as u64 <= LIMITS.max_frame_bytes);
        let row_bytes = layout.format.row_bytes(layout.width) as u64;
        let stride = u64::from(layout.row_stride).max(row_bytes);
        assert!(pixels.len() as u64 <= stride * u64::from(layout.height));
    }
}

/// Any bytes as a file of many pages: refused, or pages that are frames or say what is wrong with them.
pub(crate) fn stack(input: &[u8]) {
    let Ok(mut file) = ImageFile::open(Cursor::new(input), &LIMITS) else {
        return;
    };
    if let Some(size) = file.pixel_size() {
        assert!(0.0 < size.um && size.um.is_finite(), "{size:?}");
    }
    assert!(!file.pages().is_empty());
    for page in 0..file.pages().len().min(16) as u32 {
        if let Ok((layout, pixels)) = file.read(page) {
            let frame = Frame::new(layout, pixels, FrameMetadata::default(), &LIMITS);
            frame.expect("what a page gives is a frame");
        }
    }
}

/// Any bytes as an image file: refused, or pixels that are a frame within the same limits.
pub(crate) fn image(input: &[u8]) {
    for page in [0, 1] {
        let Ok((layout, pixels)) = decode_image(input, page, &LIMITS) else {
            continue;
        };
        let frame = Frame::new(layout, pixels, FrameMetadata::default(), &LIMITS)
            .expect("what a decoder gives is a frame");
        look_at(&frame, &Normalization::FullRange);
    }
}

/// Mirrored twice it is as it was; corrected, it stays within its range.
fn turn(frame: Frame) {
    let samples = |frame: &Frame| -> Vec<Vec<u16>> {
        let row = |y| frame.samples(y, &mut Vec::new()).to_vec();
        (0..frame.height()).map(row).collect()
    };
    let before = samples(&frame);
    for row in &before {
        assert_eq!(row.len(), frame.width() as usize * frame.channels());
    }
    let most = frame.max_value();
    if let Ok(field) = FlatField::new(&frame, None) {
        let even = field
            .apply(&frame)
            .expect("a frame of the flat image's size");
        let worst = samples(&even).into_iter().flatten().max();
        assert!(worst.is_none_or(|worst| u32::from(worst) <= most));
    }
    let twice = frame
        .flipped(true, true)
        .flipped(true, false)
        .flipped(false, true);
    assert_eq!(samples(&twice), before);
    let _ = twice.from_big_endian();
}

fn normalization(script: &mut Script) -> Normalization {
    let chosen = match script.below(4) {
        0 => Normalization::FullRange,
        1 => Normalization::Window {
            low: script.f64(),
            high: script.f64(),
        },
        _ => Normalization::Percentiles {
            low: f64::from(script.byte()) / 2.55,
            high: f64::from(script.byte()) / 2.55,
            min_span: match script.flag() {
                true => MinSpan::Counts(script.f64()),
                false => MinSpan::OfFullRange(script.f64()),
            },
        },
    };
    match chosen.check() {
        Ok(()) => chosen,
        Err(_) => Normalization::FullRange,
    }
}

fn look_at(frame: &Frame, normalization: &Normalization) {
    let row_bytes = frame.format().row_bytes(frame.width());
    for y in 0..frame.height() {
        assert_eq!(frame.row(y).len(), row_bytes);
    }
    assert!(frame.max_value() < 1 << frame.format().bits());
    const SIDES: (u32, u32) = (24, 16);
    let mut scratch = Scratch::default();
    let window = preprocess::window(frame, normalization, &mut scratch).applied;
    let letterbox = Letterbox::new((frame.width(), frame.height()), SIDES);
    let mut values = vec![f32::NAN; 3 * (SIDES.0 * SIDES.1) as usize];
    preprocess::letterbox(frame, &window, &letterbox, &mut values, &mut scratch);
    for value in values {
        assert!(
            0.0 <= value && value <= 1.0,
            "{value} from {:?}",
            frame.layout()
        );
    }
}
