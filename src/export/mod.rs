//! The forms in which people take cells elsewhere, each as the tool that reads it defines it.
//!
//! Writers know nothing of folders or commands: they take a frame's cells and something to write into. Coordinates are pixel
//! edges, as everywhere; micrometres follow from the frame's pixel size and are left out without.

pub mod coco;
pub mod ctc;
pub mod dataset;
pub mod geojson;
pub mod labels;
pub mod ome;
pub mod overlay;
pub mod picture;
pub mod plot;
pub mod roi;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;
mod text;
pub mod tracks;

use std::io;

use crate::{frame::FrameMetadata, segmentation::Segmentation};

/// One segmented frame, as every writer takes it.
#[derive(Clone, Copy, Debug)]
pub struct FrameCells<'a> {
    /// Its name among the frames of the run.
    pub image_id: &'a str,
    /// The image that it is.
    pub file: &'a str,
    /// Whether `file` holds other frames too: then its planes are told apart by z and t.
    pub stack: bool,
    /// What is known about it.
    pub metadata: &'a FrameMetadata,
    /// Its cells.
    pub segmentation: &'a Segmentation,
}

/// Where cells come from: named in every export, in the format's own place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provenance {
    /// Version of cellsegd.
    pub cellsegd: String,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub version: String,
    /// Of the model's file, hexadecimal.
    pub sha256: String,
    /// The engine that ran it.
    pub backend: String,
    /// When the run started, RFC 3339.
    pub started_at: String,
    /// Every settled option.
    pub options: serde_json::Value,
    /// Names of the model's classes.
    pub classes: Vec<String>,
}

/// Why an export was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What was read back is not what we write.
    #[error("{0}")]
    Damaged(String),
    /// The format has no room for it.
    #[error("{0}")]
    DoesNotFit(String),
}

/// A plane of an image that has several, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plane {
    /// Channel.
    pub c: u32,
    /// Height.
    pub z: u32,
    /// Time.
    pub t: u32,
}

impl FrameCells<'_> {
    /// Square micrometres of a pixel, where its size is known.
    pub fn um2_per_px(&self) -> Option<f64> {
        self.metadata.pixel_size_um.map(|um| um * um)
    }

    /// Its place on an axis of the acquisition ("t", "c", "z"), from 0.
    pub fn index(&self, axis: &str) -> Option<u32> {
        self.metadata.index.get(axis).copied()
    }

    /// Its plane in its file; the only one where the file holds no others.
    pub fn plane(&self) -> Plane {
        let index = |axis| self.index(axis).filter(|_| self.stack).unwrap_or_default();
        Plane {
            c: index("c"),
            z: index("z"),
            t: index("t"),
        }
    }

    /// The place in the sample: its name, else its number.
    pub fn position(&self) -> String {
        match (self.metadata.position.as_str(), self.index("p")) {
            ("", Some(p)) => p.to_string(),
            (name, _) => name.to_owned(),
        }
    }
}

impl Provenance {
    /// A class's name, or nothing where the model names fewer classes than it gives.
    pub fn class_name(&self, class_index: u32) -> &str {
        class_name(&self.classes, class_index)
    }

    /// On one line, for formats that have room for a text.
    pub fn line(&self) -> String {
        let Provenance {
            cellsegd,
            model,
            version,
            sha256,
            backend,
            started_at,
            options,
            ..
        } = self;
        format!(
            "cellsegd {cellsegd}; model {model} {version} sha256 {sha256}; {backend}; run of {started_at}; options {options}"
        )
    }

    /// As an object, for formats that have room for one.
    pub fn object(&self) -> serde_json::Value {
        serde_json::json!({
            "cellsegd": self.cellsegd,
            "started_at": self.started_at,
            "model": {"name": self.model, "version": self.version, "sha256": self.sha256, "classes": self.classes},
            "backend": self.backend,
            "options": self.options,
        })
    }
}

/// Its name, or nothing where there are fewer names than classes.
pub fn class_name(classes: &[String], class_index: u32) -> &str {
    classes.get(class_index as usize).map_or("", String::as_str)
}
