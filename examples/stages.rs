//! One stage at a time, for tests in other languages: `stages letterbox FRAME.png SIDE OUT.f32 [NORMALIZATION]` writes the
//! network's input, `stages rle LABELS.png` and `stages rings LABELS.png` print each label's mask as JSON.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::{collections::BTreeMap, env, fs};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use cellsegd::{
    frame::{Frame, FrameLimits, FrameMetadata, PixelFormat, decode_image},
    geometry::Letterbox,
    mask::{Mask, encode_coco, rings},
    params::{MinSpan, Normalization},
    preprocess,
};
use serde_json::json;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["letterbox", frame, side, out] => letterbox(frame, side, out, "full"),
        ["letterbox", frame, side, out, normalization] => {
            letterbox(frame, side, out, normalization)
        }
        ["rle", labels] => print_masks(labels, |mask, frame| {
            let counts = encode_coco(mask, frame.width(), frame.height());
            Ok(json!({ "counts": String::from_utf8(counts)? }))
        }),
        ["rings", labels] => print_masks(labels, |mask, _| {
            let rings: Vec<_> = rings(mask)
                .iter()
                .map(|ring| json!({ "hole": ring.hole, "corners": ring.corners }))
                .collect();
            Ok(json!({ "rings": rings }))
        }),
        _ => bail!(
            "usage: stages letterbox FRAME.png SIDE OUT.f32 [full | window:LO,HI | percentile:LO,HI] | rle LABELS.png | rings LABELS.png"
        ),
    }
}

/// Writes `[3, SIDE, SIDE]` as little-endian f32 and prints which counts became 0 and 1.
fn letterbox(path: &str, side: &str, out: &str, normalization: &str) -> Result<()> {
    let frame = load(path)?;
    let side: u32 = side.parse().with_context(|| format!("side {side}"))?;
    let preprocess::Shown {
        applied: window,
        notices,
        ..
    } = preprocess::window(
        &frame,
        &parse_normalization(normalization)?,
        &mut preprocess::Scratch::default(),
    );
    let mut input = vec![0.0_f32; 3 * side as usize * side as usize];
    preprocess::letterbox(
        &frame,
        &window,
        &Letterbox::new((frame.width(), frame.height()), (side, side)),
        &mut input,
        &mut preprocess::Scratch::default(),
    );
    let bytes: Vec<u8> = input.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(out, bytes).with_context(|| format!("write {out}"))?;
    let notices: Vec<String> = notices
        .iter()
        .map(|notice| format!("{:?}", notice.code))
        .collect();
    println!(
        "{}",
        json!({ "low": window.low, "high": window.high, "policy": window.policy.name(), "notices": notices })
    );
    Ok(())
}

/// One JSON list: each label with what `form` makes of its mask.
fn print_masks(
    path: &str,
    form: impl Fn(&Mask, &Frame) -> Result<serde_json::Value>,
) -> Result<()> {
    let frame = load(path)?;
    let all = masks(&frame)?
        .iter()
        .map(|(label, mask)| Ok(json!({ "label": label, "mask": form(mask, &frame)? })))
        .collect::<Result<Vec<_>>>()?;
    println!("{}", json!(all));
    Ok(())
}

/// A mask with a tight box for each label of a 16-bit label image.
fn masks(frame: &Frame) -> Result<BTreeMap<u16, Mask>> {
    ensure!(
        frame.format() == PixelFormat::Mono16,
        "a label image has 16-bit pixels, this one {}",
        frame.format()
    );
    let mut pixels: BTreeMap<u16, Vec<(u32, u32)>> = BTreeMap::new();
    for y in 0..frame.height() {
        for (x, bytes) in (0..).zip(frame.row(y).chunks_exact(2)) {
            let label = u16::from_le_bytes([bytes[0], bytes[1]]);
            if label != 0 {
                pixels.entry(label).or_default().push((x, y));
            }
        }
    }
    Ok(pixels
        .into_iter()
        .map(|(label, pixels)| (label, tight(&pixels)))
        .collect())
}

/// Pixels come row by row, so the first and the last one bound `y`.
fn tight(pixels: &[(u32, u32)]) -> Mask {
    let xs = || pixels.iter().map(|&(x, _)| x);
    let (x0, x1) = (
        xs().min().unwrap_or_default(),
        xs().max().unwrap_or_default(),
    );
    let (y0, y1) = (pixels[0].1, pixels[pixels.len() - 1].1);
    let mut mask = Mask::empty(x0, y0, x1 - x0 + 1, y1 - y0 + 1);
    for &(x, y) in pixels {
        mask.set(x - x0, y - y0);
    }
    mask
}

fn load(path: &str) -> Result<Frame> {
    let file = fs::read(path).with_context(|| format!("read {path}"))?;
    let limits = FrameLimits::default();
    let (layout, data): (_, Bytes) = decode_image(&file, 0, &limits)?;
    Ok(Frame::new(layout, data, FrameMetadata::default(), &limits)?)
}

fn parse_normalization(text: &str) -> Result<Normalization> {
    let pair = |numbers: &str| -> Result<(f64, f64)> {
        let (low, high) = numbers
            .split_once(',')
            .with_context(|| format!("{numbers}: must be LO,HI"))?;
        Ok((low.parse()?, high.parse()?))
    };
    Ok(match text.split_once(':') {
        None if text == "full" => Normalization::FullRange,
        Some(("window", numbers)) => {
            let (low, high) = pair(numbers)?;
            Normalization::Window { low, high }
        }
        Some(("percentile", numbers)) => {
            let (low, high) = pair(numbers)?;
            Normalization::Percentiles {
                low,
                high,
                min_span: MinSpan::Counts(0.0),
            }
        }
        _ => bail!("{text}: must be full, window:LO,HI or percentile:LO,HI"),
    })
}
