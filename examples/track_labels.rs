//! Identities of label images, for whoever has masks already: `track_labels [--max-gap N] [--no-divisions] FILE...` reads 16-bit
//! label images of one series (PNG or TIFF, 0 = background), in the order of time, and writes CSV to its output: one line a cell,
//! `frame,label,track_id,parent_id,age,gap,drift_x_px,drift_y_px`. `-` in place of a file is a frame that was dropped.

use std::{collections::BTreeMap, env, io::Write, path::Path};

use anyhow::{Context, Result, bail};
use cellsegd::{
    geometry::BoxF, mask::Mask, params::Tracking, segmentation::Instance, track::Tracker,
};

const DROPPED: &str = "-";

/// A label and its pixels.
type Labelled = (u16, Instance);

fn main() -> Result<()> {
    let mut options = Tracking::default();
    let mut files = Vec::new();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--max-gap" => {
                options.max_gap = arguments
                    .next()
                    .context("--max-gap needs a number")?
                    .parse()?
            }
            "--no-divisions" => options.divisions = false,
            _ => files.push(argument),
        }
    }
    if files.is_empty() {
        bail!("usage: track_labels [--max-gap N] [--no-divisions] FILE...");
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "frame,label,track_id,parent_id,age,gap,drift_x_px,drift_y_px"
    )?;
    let mut tracker = Tracker::new(options);
    for (frame, file) in files.iter().enumerate() {
        if file == DROPPED {
            tracker.missed();
            continue;
        }
        let (size, cells) = read(Path::new(file)).with_context(|| file.clone())?;
        let (labels, mut instances): (Vec<u16>, Vec<Instance>) = cells.into_iter().unzip();
        let drift = tracker.follow(size, None, &mut instances);
        for (label, instance) in labels.iter().zip(&instances) {
            let track = instance.track.unwrap_or_default();
            let parent = track.parent_id.map_or(String::new(), |id| id.to_string());
            let (x, y) = drift.map_or((String::new(), String::new()), |(x, y)| {
                (format!("{x:.3}"), format!("{y:.3}"))
            });
            writeln!(
                out,
                "{frame},{label},{},{parent},{},{},{x},{y}",
                track.id, track.age, track.gap
            )?;
        }
    }
    Ok(())
}

/// The size of a label image, and its cells.
fn read(path: &Path) -> Result<((u32, u32), Vec<Labelled>)> {
    let bytes = std::fs::read(path)?;
    let (size, pixels) = if bytes.starts_with(b"II") || bytes.starts_with(b"MM") {
        let mut tiff = tiff::decoder::Decoder::new(std::io::Cursor::new(bytes))?;
        let size = tiff.dimensions()?;
        match tiff.read_image()? {
            tiff::decoder::DecodingResult::U16(pixels) => (size, pixels),
            _ => bail!("must have 16 bits a pixel"),
        }
    } else {
        match image::load_from_memory(&bytes)? {
            image::DynamicImage::ImageLuma16(image) => (image.dimensions(), image.into_raw()),
            _ => bail!("must have one channel of 16 bits"),
        }
    };
    Ok((size, cells(size.0, &pixels)))
}

fn cells(width: u32, pixels: &[u16]) -> Vec<Labelled> {
    // Left, top, right, bottom, the last two not part of it.
    let mut boxes: BTreeMap<u16, [u32; 4]> = BTreeMap::new();
    let place = |i: usize| (i as u32 % width, i as u32 / width);
    for (i, &label) in pixels.iter().enumerate().filter(|(_, label)| **label != 0) {
        let (x, y) = place(i);
        let [left, top, right, bottom] = boxes.entry(label).or_insert([x, y, x + 1, y + 1]);
        (*left, *top) = (x.min(*left), y.min(*top));
        (*right, *bottom) = ((x + 1).max(*right), (y + 1).max(*bottom));
    }
    let empty =
        |&[left, top, right, bottom]: &[u32; 4]| Mask::empty(left, top, right - left, bottom - top);
    let mut masks: BTreeMap<u16, Mask> = boxes
        .iter()
        .map(|(&label, sides)| (label, empty(sides)))
        .collect();
    for (i, label) in pixels.iter().enumerate() {
        if let Some(mask) = masks.get_mut(label) {
            let (x, y) = place(i);
            mask.set(x - mask.x(), y - mask.y());
        }
    }
    masks
        .into_iter()
        .map(|(label, mask)| (label, instance(mask)))
        .collect()
}

fn instance(mask: Mask) -> Instance {
    let side = |from: u32, length: u32| (from as f32, (from + length) as f32);
    let ((x0, x1), (y0, y1)) = (side(mask.x(), mask.width()), side(mask.y(), mask.height()));
    Instance {
        class_index: 0,
        score: 1.0,
        detected_box: BoxF { x0, y0, x1, y1 },
        area: mask.area(),
        mask,
        touches_border: false,
        measures: None,
        track: None,
    }
}
