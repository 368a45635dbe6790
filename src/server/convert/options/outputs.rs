//! Which forms of a mask are sent.

use super::super::{Refusal, known};
use crate::proto as pb;

/// Which forms of a mask are sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Outputs {
    pub(in crate::server) masks: pb::MaskEncoding,
    pub(in crate::server) label_image: bool,
    pub(in crate::server) label_by: pb::LabelBy,
    /// None: by the image's size.
    pub(in crate::server) label_compression: Option<pb::Compression>,
    pub(in crate::server) raw_masks: bool,
}

impl Default for Outputs {
    fn default() -> Self {
        Outputs {
            masks: pb::MaskEncoding::CocoRle,
            label_image: false,
            label_by: pb::LabelBy::Instance,
            label_compression: None,
            raw_masks: false,
        }
    }
}

impl Outputs {
    /// With what `over` sets.
    pub(super) fn with(self, over: &pb::Outputs) -> Result<Self, Refusal> {
        let masks = match known("outputs.masks", over.masks)? {
            pb::MaskEncoding::Unspecified => self.masks,
            masks => masks,
        };
        let label_by = match known("outputs.label_by", over.label_by)? {
            pb::LabelBy::Unspecified => self.label_by,
            label_by => label_by,
        };
        let label_compression = match known("outputs.label_compression", over.label_compression)? {
            pb::Compression::Unspecified => self.label_compression,
            compression => Some(compression),
        };
        Ok(Outputs {
            masks,
            label_image: over.label_image.unwrap_or(self.label_image),
            label_by,
            label_compression,
            raw_masks: over.raw_masks.unwrap_or(self.raw_masks),
        })
    }

    /// As the contract tells them.
    pub(super) fn told(self) -> pb::Outputs {
        pb::Outputs {
            masks: self.masks.into(),
            label_image: Some(self.label_image),
            label_by: self.label_by.into(),
            label_compression: self.label_compression.unwrap_or_default().into(),
            raw_masks: Some(self.raw_masks),
        }
    }
}

/// As [`Outputs::with`], among wishes.
pub(super) fn merge(asked: &mut pb::Outputs, update: &pb::Outputs) {
    if update.masks != pb::MaskEncoding::Unspecified as i32 {
        asked.masks = update.masks;
    }
    if update.label_by != pb::LabelBy::Unspecified as i32 {
        asked.label_by = update.label_by;
    }
    if update.label_compression != pb::Compression::Unspecified as i32 {
        asked.label_compression = update.label_compression;
    }
    asked.label_image = update.label_image.or(asked.label_image);
    asked.raw_masks = update.raw_masks.or(asked.raw_masks);
}
