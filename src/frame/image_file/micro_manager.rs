//! Micro-Manager's stacks: a header of their own, and a tag with JSON in every page.

use serde::Deserialize;

use super::{FrameError, Page};

/// The tag of each page.
pub(super) const TAG: u16 = 51123;

/// What a page's tag says, as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tag {
    #[serde(rename = "FrameIndex")]
    t: Option<u32>,
    #[serde(rename = "ChannelIndex")]
    c: Option<u32>,
    #[serde(rename = "SliceIndex")]
    z: Option<u32>,
    #[serde(rename = "PositionIndex")]
    p: Option<u32>,
    #[serde(rename = "Channel")]
    channel: Option<String>,
    #[serde(rename = "PositionName")]
    position: Option<String>,
    #[serde(rename = "ElapsedTime-ms")]
    elapsed_ms: Option<f64>,
    #[serde(rename = "Exposure-ms")]
    exposure_ms: Option<f64>,
    #[serde(rename = "XPositionUm")]
    x_um: Option<f64>,
    #[serde(rename = "YPositionUm")]
    y_um: Option<f64>,
    #[serde(rename = "ZPositionUm")]
    z_um: Option<f64>,
    /// 0: not calibrated.
    #[serde(rename = "PixelSizeUm")]
    pub(super) pixel_size_um: Option<f64>,
}

impl Tag {
    /// None where it is not that tag's JSON.
    pub(super) fn read(json: &str) -> Option<Tag> {
        serde_json::from_str(json).ok()
    }

    /// Says of a page what the tag does.
    pub(super) fn describe(self, page: &mut Page) {
        for (axis, value) in [("t", self.t), ("c", self.c), ("z", self.z), ("p", self.p)] {
            if let Some(value) = value {
                page.index.insert(axis.to_owned(), value);
            }
        }
        page.channel = self.channel.unwrap_or_default();
        page.position = self.position.unwrap_or_default();
        page.elapsed_ms = self.elapsed_ms.or(page.elapsed_ms);
        page.exposure_ms = self.exposure_ms.or(page.exposure_ms);
        page.x_um = self.x_um.or(page.x_um);
        page.y_um = self.y_um.or(page.y_um);
        page.z_um = self.z_um.or(page.z_um);
    }
}

/// Refuses a stack whose index is not written yet: Micro-Manager writes it last. `start`: the first 16 bytes of a TIFF.
pub(super) fn refuse_unfinished(start: &[u8]) -> Result<(), FrameError> {
    /// Stands before the place of the index ("Micro-Manager File Formats", image file stacks).
    const INDEX_FOLLOWS: u32 = 54_773_648;
    let number = |at: usize| {
        let bytes = start.get(at..at + 4)?.try_into().ok()?;
        Some(match start[0] {
            b'I' => u32::from_le_bytes(bytes),
            _ => u32::from_be_bytes(bytes),
        })
    };
    match (number(8), number(12)) {
        (Some(INDEX_FOLLOWS), Some(0)) => Err(FrameError::Unsupported(
            "a Micro-Manager stack that is still being written, or that broke off: wait until the acquisition has ended, or open \
             it once in Micro-Manager, which repairs it"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}
