//! The worst images with the labelled and the found outlines: green is labelled, magenta found, white both. A cell that was missed
//! is filled green, one that is wrong magenta.

use std::{array::from_fn, path::Path};

use anyhow::{Context, Result};
use image::{Rgb, RgbImage};

use super::{
    dataset::{Dataset, Labels},
    files::in_a_name,
    report::Report,
    subject::{Plan, Segmented, Subject, read},
};
use crate::{
    export::overlay::{caption, stretched},
    frame::FrameLimits,
    mask::Mask,
};

const LABELLED: [u8; 3] = [40, 230, 70];
const FOUND: [u8; 3] = [255, 60, 230];
const BOTH: [u8; 3] = [255; 3];
/// Of a fill; the cell's texture must stay visible.
const FILL: f32 = 0.35;
/// Smaller images are enlarged: an outline would hide a small cell.
const LEAST_SIDE: u32 = 768;

/// Writes `worst-MODEL-RANK-IMAGE.png`.
pub(super) fn write(
    out: &Path,
    dataset: &Dataset,
    subjects: &[Subject],
    report: &Report,
    plan: &Plan<'_>,
) -> Result<()> {
    let Some(iou) = report
        .models
        .first()
        .and_then(|model| Some(model.all.at.first()?.iou))
    else {
        return Ok(());
    };
    for (subject, model) in subjects.iter().zip(&report.models) {
        for (rank, &i) in (1..).zip(&model.worst) {
            let (labels, segmented) = (&dataset.images[i], &subject.images[i]);
            let frame = read(labels, plan.pixel_size_um, &FrameLimits::default())
                .with_context(|| labels.path.display().to_string())?;
            let picture = draw(
                &stretched(&frame, &segmented.normalization),
                labels,
                segmented,
                iou,
            );
            let name = format!(
                "worst-{}-{rank}-{}.png",
                in_a_name(&model.label),
                in_a_name(&labels.name)
            );
            let path = out.join(name);
            picture
                .save(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

fn draw(frame: &RgbImage, labels: &Labels, segmented: &Segmented, iou: f64) -> RgbImage {
    let scale = LEAST_SIDE.div_ceil(frame.width().min(frame.height()).max(1));
    let mut picture = RgbImage::from_fn(frame.width() * scale, frame.height() * scale, |x, y| {
        *frame.get_pixel(x / scale, y / scale)
    });
    for (class, compared) in segmented.compared.iter().enumerate() {
        let matches = compared.matches(|of_pair| of_pair >= iou);
        let labelled = labels.cells.iter().filter(|cell| cell.class == class);
        let labelled: Vec<&Mask> = labelled.map(|cell| &cell.mask).collect();
        let found = segmented.found.iter().filter(|cell| cell.class == class);
        let found: Vec<&Mask> = found.map(|cell| &cell.mask).collect();
        matches
            .missed
            .iter()
            .for_each(|&i| fill(&mut picture, labelled[i], scale, LABELLED));
        matches
            .wrong
            .iter()
            .for_each(|&i| fill(&mut picture, found[i], scale, FOUND));
    }
    for cell in &labels.cells {
        outline(&mut picture, &cell.mask, scale, LABELLED, LABELLED);
    }
    for cell in &segmented.found {
        outline(&mut picture, &cell.mask, scale, FOUND, BOTH);
    }
    caption(&mut picture, "green: labelled, magenta: found");
    picture
}

fn fill(picture: &mut RgbImage, mask: &Mask, scale: u32, colour: [u8; 3]) {
    each_pixel(mask, scale, |x, y| {
        let under = picture.get_pixel_mut(x, y);
        let mix = |i: usize| f32::from(under.0[i]) * (1.0 - FILL) + f32::from(colour[i]) * FILL;
        *under = Rgb(from_fn(|i| mix(i).round() as u8));
    });
}

/// In `colour`, and in `over` where a labelled outline is.
fn outline(picture: &mut RgbImage, mask: &Mask, scale: u32, colour: [u8; 3], over: [u8; 3]) {
    let (width, height) = (picture.width(), picture.height());
    let inside = |x: u32, y: u32| {
        let (x, y) = (x / scale, y / scale);
        x >= mask.x() && y >= mask.y() && mask.get(x - mask.x(), y - mask.y())
    };
    each_pixel(mask, scale, |x, y| {
        // A cell is open where the frame cuts it: beyond the edge lies nothing that it ends at.
        let ends = (x > 0 && !inside(x - 1, y))
            || (y > 0 && !inside(x, y - 1))
            || (x + 1 < width && !inside(x + 1, y))
            || (y + 1 < height && !inside(x, y + 1));
        if ends {
            let pixel = picture.get_pixel_mut(x, y);
            *pixel = Rgb(if pixel.0 == LABELLED { over } else { colour });
        }
    });
}

/// Of the picture, for each pixel of the mask.
fn each_pixel(mask: &Mask, scale: u32, mut pixel: impl FnMut(u32, u32)) {
    for y in 0..mask.height() {
        for xs in mask.row_runs(y) {
            for down in 0..scale {
                let y = (mask.y() + y) * scale + down;
                ((mask.x() + xs.start) * scale..(mask.x() + xs.end) * scale)
                    .for_each(|x| pixel(x, y));
            }
        }
    }
}
