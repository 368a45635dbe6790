//! The files that an answer becomes: label image, overlay, COCO results, table of cells.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use clap::Args;

use super::record;
use crate::{
    export::{
        self, FrameCells, coco, labels, overlay, picture,
        table::{CellTable, Format, channels},
    },
    frame::Frame,
    segmentation::RawInstance,
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
    /// Write STEM.json: COCO results; written in any case, since every export is made of it
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

    /// Writes `dir/STEM.*` of `frame`; STEM is its image id. With `raw`, the COCO results are these masks as decoded.
    pub(super) fn write(
        self,
        dir: &Path,
        frame: &Frame,
        cells: &FrameCells,
        raw: Option<&[RawInstance]>,
        provenance: &export::Provenance,
    ) -> Result<()> {
        let (stem, segmentation) = (cells.image_id, cells.segmentation);
        if self.labels {
            to_file(dir, stem, "labels.png", |file| {
                Ok(labels::png(file, cells, labels::By::Cell, provenance)?)
            })?;
        }
        if self.overlay {
            let image = overlay::draw(frame, segmentation);
            to_file(dir, stem, "overlay.png", |file| {
                Ok(picture::png(file, &image, provenance)?)
            })?;
        }
        if self.csv {
            to_file(dir, stem, "csv", |file| {
                let channels = channels(segmentation);
                let mut table = CellTable::new(Format::Csv, file, &channels, provenance)?;
                table.add(cells)?;
                Ok(table.finish()?)
            })?;
        }
        to_file(dir, stem, "json", |file| {
            let classes = &provenance.classes;
            Ok(coco::write(file, stem, segmentation, raw, classes)?)
        })
    }
}

/// What exports name, of a run that started at `started_at` (RFC 3339).
pub(super) fn provenance(record: &record::Provenance, started_at: &str) -> export::Provenance {
    export::Provenance {
        cellsegd: match &record.server {
            Some(server) => server.version.clone(),
            None => env!("CARGO_PKG_VERSION").to_owned(),
        },
        model: record.model.name.clone(),
        version: record.model.version.clone(),
        sha256: record.model.sha256.clone(),
        backend: record.backend.clone(),
        started_at: started_at.to_owned(),
        options: serde_json::to_value(&record.options).unwrap_or_default(),
        classes: record.model.classes.clone(),
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
