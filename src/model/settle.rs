//! From what a file's tensors, its metadata and its manifest say to what the model is.

use std::path::Path;

use super::{ModelError, ModelSpec, Provenance, head::Interface, manifest::Manifest};
use crate::params::{Normalization, Thresholds};

/// What a manifest and its model's file have in common.
#[derive(Debug)]
pub(super) struct Settled<'a> {
    /// The model's.
    pub path: &'a Path,
    /// For errors.
    pub manifest_path: &'a Path,
    pub manifest: &'a Manifest,
    pub interface: Interface,
    /// Of the classes, where anybody says them.
    pub names: Option<Vec<String>>,
    pub sha256: &'a str,
    /// Where the manifest says nothing.
    pub precision: &'a str,
}

impl Settled<'_> {
    pub(super) fn spec(self) -> Result<ModelSpec, ModelError> {
        let manifest = self.manifest;
        let wrong_manifest = |what: String| ModelError::Manifest {
            path: self.manifest_path.to_owned(),
            what,
        };
        let n_classes = self.interface.head.shape().classes;
        let thresholds = Thresholds {
            confidence: manifest.thresholds.confidence,
            iou: manifest.thresholds.iou,
            class_agnostic: manifest.thresholds.class_agnostic,
            max_cells: manifest.thresholds.max_cells,
            min_area_px: 0,
            min_area_um2: None,
            max_area_um2: None,
            classes: Vec::new(),
            class_confidence: Default::default(),
            border: Default::default(),
        };
        thresholds
            .check(n_classes, u32::MAX)
            .map_err(|error| wrong_manifest(error.to_string()))?;
        let normalization = match &manifest.normalization {
            None => Normalization::FullRange,
            Some(policy) => policy.normalization().ok_or_else(|| {
                wrong_manifest(
                    "normalization: min_span and min_span_of_full_range exclude each other"
                        .to_owned(),
                )
            })?,
        };
        normalization
            .check()
            .map_err(|error| wrong_manifest(error.to_string()))?;
        if let Some(scale) = manifest.trained_um_per_px
            && !(scale > 0.0 && scale.is_finite())
        {
            return Err(wrong_manifest(format!(
                "trained_um_per_px {scale}: must be above 0"
            )));
        }
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let name = manifest.name.clone();
        let precision = manifest.precision.clone();
        Ok(ModelSpec {
            name: name.unwrap_or_else(|| stem.into_owned()),
            version: manifest.version.clone(),
            input_width: self.interface.width as u32,
            input_height: self.interface.height as u32,
            classes: self
                .names
                .unwrap_or_else(|| (0..n_classes).map(|i| format!("class {i}")).collect()),
            trained_um_per_px: manifest.trained_um_per_px,
            sha256: self.sha256.to_owned(),
            head: self.interface.head,
            precision: precision.unwrap_or_else(|| self.precision.to_owned()),
            thresholds,
            normalization,
            tensors: self.interface.tensors,
        })
    }
}

impl Manifest {
    pub(super) fn parse(text: &str, path: &Path) -> Result<Manifest, ModelError> {
        toml::from_str(text).map_err(|error| ModelError::Manifest {
            path: path.to_owned(),
            what: error.to_string(),
        })
    }

    /// The manifest's `sha256` is that of the file.
    pub(super) fn check_sha256(
        &self,
        path: &Path,
        found: &str,
        mend: impl Fn() -> String,
    ) -> Result<(), ModelError> {
        match &self.sha256 {
            Some(wanted) if !wanted.eq_ignore_ascii_case(found) => Err(ModelError::Sha256 {
                path: path.to_owned(),
                found: found.to_owned(),
                wanted: wanted.clone(),
                mend: mend(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn provenance(&self) -> Provenance {
        Provenance {
            licence: self.licence.clone(),
            data: self.data.clone(),
            metrics: self.metrics.clone(),
        }
    }
}
