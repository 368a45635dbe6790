//! `--out`: the report, and labels and detections as pycocotools reads them.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{dataset::Dataset, report::Report, subject::Subject};
use crate::mask::{Mask, encode_coco};

#[derive(Serialize)]
struct Truth<'a> {
    images: Vec<Image<'a>>,
    annotations: Vec<Annotation>,
    categories: Vec<Class<'a>>,
}

#[derive(Serialize)]
struct Image<'a> {
    id: u64,
    file_name: std::borrow::Cow<'a, str>,
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct Class<'a> {
    id: u64,
    name: &'a str,
}

#[derive(Serialize)]
struct Annotation {
    /// From 1: pycocotools takes 0 for no match.
    id: u64,
    image_id: u64,
    category_id: u64,
    segmentation: Rle,
    area: u32,
    /// Left, top, width, height.
    bbox: [u32; 4],
    iscrowd: u8,
}

#[derive(Serialize)]
struct Detection {
    image_id: u64,
    category_id: u64,
    score: f32,
    segmentation: Rle,
}

#[derive(Serialize)]
struct Rle {
    /// Height, width.
    size: [u32; 2],
    counts: String,
}

/// Writes `eval.json`, `truth.json` and a `detections-MODEL.json` a model.
pub(super) fn write(
    out: &Path,
    dataset: &Dataset,
    subjects: &[Subject],
    report: &Report,
) -> Result<()> {
    json(out, "eval.json", report)?;
    json(out, "truth.json", &truth(dataset))?;
    for subject in subjects {
        let name = format!("detections-{}.json", in_a_name(&subject.label));
        json(out, &name, &detections(dataset, subject))?;
    }
    Ok(())
}

/// A model's label as part of a file's name.
pub(super) fn in_a_name(label: &str) -> String {
    label.replace(['/', '\\', ':'], "_")
}

fn truth(dataset: &Dataset) -> Truth<'_> {
    let cells = dataset
        .images
        .iter()
        .flat_map(|image| image.cells.iter().map(move |cell| (image, cell)));
    Truth {
        images: dataset
            .images
            .iter()
            .map(|image| Image {
                id: image.id,
                file_name: image.path.file_name().unwrap_or_default().to_string_lossy(),
                width: image.width,
                height: image.height,
            })
            .collect(),
        annotations: (1..)
            .zip(cells)
            .map(|(id, (image, cell))| Annotation {
                id,
                image_id: image.id,
                category_id: dataset.classes[cell.class].id,
                segmentation: Rle::of(&cell.mask, image.width, image.height),
                area: cell.mask.area(),
                bbox: [
                    cell.mask.x(),
                    cell.mask.y(),
                    cell.mask.width(),
                    cell.mask.height(),
                ],
                iscrowd: u8::from(cell.crowd),
            })
            .collect(),
        categories: dataset
            .classes
            .iter()
            .map(|class| Class {
                id: class.id,
                name: &class.name,
            })
            .collect(),
    }
}

fn detections(dataset: &Dataset, subject: &Subject) -> Vec<Detection> {
    let images = dataset.images.iter().zip(&subject.images);
    images
        .flat_map(|(image, segmented)| {
            segmented.found.iter().map(|cell| Detection {
                image_id: image.id,
                category_id: dataset.classes[cell.class].id,
                score: cell.score,
                segmentation: Rle::of(&cell.mask, image.width, image.height),
            })
        })
        .collect()
}

impl Rle {
    fn of(mask: &Mask, width: u32, height: u32) -> Rle {
        let counts = encode_coco(mask, width, height);
        Rle {
            size: [height, width],
            counts: String::from_utf8(counts).expect("counts are ASCII"),
        }
    }
}

fn json(out: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let path = out.join(name);
    let write = || -> Result<()> {
        let mut file = BufWriter::new(File::create(&path)?);
        serde_json::to_writer(&mut file, value)?;
        Ok(file.flush()?)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
