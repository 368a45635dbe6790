//! `cellsegd export`: what a run found, in the formats that other tools read.

mod folder;
mod pictures;
mod tables;
mod write;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use folder::RunFolder;

/// Write what a run found in the formats of other tools
#[derive(Args, Debug)]
pub(super) struct Export {
    /// Folder of a run: with run.json, as segment and demo write it; also of one that was cut short
    #[arg(value_name = "DIR")]
    run: PathBuf,
    /// What to write
    #[arg(long = "as", value_name = "FORMAT", value_enum)]
    format: Format,
    /// Folder for what is written [default: a folder named after the format, in DIR]
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// For overlays: folder in which the images are, if they are no longer where the run found them
    #[arg(long, value_name = "IMAGES")]
    images: Option<PathBuf>,
}

/// The formats, each for the tool that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Cell Tracking Challenge: maskTTT.tif and res_track.txt, a folder a series
    Ctc,
    /// QuPath: detections as polygons, with measurements
    Geojson,
    /// ImageJ and Fiji: a zip of regions of interest for the ROI Manager
    Roi,
    /// OMERO and Bio-Formats: regions of interest as OME-XML
    Ome,
    /// pandas, R, Arrow: tables of cells and of tracks
    Parquet,
    /// pycocotools: one dataset of all frames
    Coco,
    /// Spreadsheets: tables of cells and of tracks
    Csv,
    /// Label images as OME-TIFF, with the pixel size
    Tiff,
    /// Pictures: outlines, ids and scale bar on each frame, and an animated PNG of each time-lapse
    Overlay,
    /// Pictures of growth: counts and confluence against hours
    Plot,
}

impl Export {
    pub(super) fn run(self) -> Result<ExitCode> {
        let run = RunFolder::open(&self.run)?;
        let out = self
            .out
            .unwrap_or_else(|| self.run.join(self.format.name()));
        fs::create_dir_all(&out)
            .with_context(|| format!("cannot make the folder {}", out.display()))?;
        let written = match self.format {
            Format::Ctc => write::ctc(&run, &out)?,
            Format::Geojson => write::geojson(&run, &out)?,
            Format::Roi => write::roi(&run, &out)?,
            Format::Ome => write::ome(&run, &out)?,
            Format::Parquet => tables::write(&run, &out, crate::export::table::Format::Parquet)?,
            Format::Csv => tables::write(&run, &out, crate::export::table::Format::Csv)?,
            Format::Coco => write::coco(&run, &out)?,
            Format::Tiff => write::tiff(&run, &out)?,
            Format::Overlay => pictures::overlay(&run, &out, self.images.as_deref())?,
            Format::Plot => pictures::plot(&run, &out)?,
        };
        // For formats without a place for it, and for people.
        to_file(&out.join("provenance.json"), |mut file| {
            serde_json::to_writer_pretty(&mut file, &run.provenance.object())?;
            Ok(writeln!(file)?)
        })?;
        println!("{written} in {}", out.display());
        Ok(ExitCode::SUCCESS)
    }
}

impl Format {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Writes a file; an error names it.
fn to_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let whole = || -> Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        write(&mut file)?;
        Ok(file.flush()?)
    };
    whole().with_context(|| format!("cannot write {}", path.display()))
}
