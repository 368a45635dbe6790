//! The files that an answer becomes: label image, overlay, COCO results, table of cells.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use image::{ImageBuffer, Luma, codecs::png::PngEncoder};

use super::{cells::CellTable, coco, overlay, segmenter::Answer};
use crate::{
    frame::Frame,
    mask::{LabelImage, label_image},
    segmentation::Segmentation,
};

/// Which files are written; none named means all.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Products {
    /// Write STEM.labels.png: 16-bit label image, 0 = background
    #[arg(long)]
    pub(super) labels: bool,
    /// Write STEM.overlay.png: the frame with each cell's outline
    #[arg(long)]
    pub(super) overlay: bool,
    /// Write STEM.json: COCO results
    #[arg(long)]
    pub(super) json: bool,
    /// Write STEM.csv: a row a cell
    #[arg(long)]
    pub(super) csv: bool,
}

impl Products {
    /// What is written: all, if nothing was named.
    pub(super) fn or_all(self) -> Products {
        match self == Products::default() {
            true => Products {
                labels: true,
                overlay: true,
                json: true,
                csv: true,
            },
            false => self,
        }
    }

    /// Writes `dir/STEM.*`.
    pub(super) fn write(
        self,
        dir: &Path,
        stem: &str,
        frame: &Frame,
        answer: &Answer,
        classes: &[String],
    ) -> Result<()> {
        let segmentation = &answer.segmentation;
        if self.labels {
            to_file(dir, stem, "labels.png", |file| labels(segmentation, file))?;
        }
        if self.overlay {
            let image = overlay::draw(frame, segmentation);
            to_file(dir, stem, "overlay.png", |file| {
                Ok(image.write_with_encoder(PngEncoder::new(file))?)
            })?;
        }
        if self.json {
            let results = coco::results(stem, answer, classes);
            to_file(dir, stem, "json", |file| {
                Ok(serde_json::to_writer(file, &results)?)
            })?;
        }
        if self.csv {
            to_file(dir, stem, "csv", |file| {
                let mut table = CellTable::new(file)?;
                table.add(stem, frame, segmentation, classes)?;
                table.finish()
            })?;
        }
        Ok(())
    }
}

fn to_file(
    dir: &Path,
    stem: &str,
    extension: &str,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    let path = dir.join(format!("{stem}.{extension}"));
    File::create(&path)
        .map_err(anyhow::Error::from)
        .and_then(|file| {
            let mut file = BufWriter::new(file);
            write(&mut file)?;
            Ok(file.flush()?)
        })
        .with_context(|| format!("cannot write {}", path.display()))
}

fn labels(segmentation: &Segmentation, file: &mut BufWriter<File>) -> Result<()> {
    let (width, height) = (segmentation.width, segmentation.height);
    let masks = segmentation.instances.iter().map(|instance| &instance.mask);
    match label_image(masks, width, height) {
        LabelImage::U16(labels) => {
            let image: ImageBuffer<Luma<u16>, _> =
                ImageBuffer::from_raw(width, height, labels).expect("a label a pixel");
            Ok(image.write_with_encoder(PngEncoder::new(file))?)
        }
        LabelImage::U32(_) => bail!(
            "{} cells do not fit a 16-bit label image, which holds 65535: use --json, or fewer with --max-cells",
            segmentation.instances.len()
        ),
    }
}
