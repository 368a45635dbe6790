//! How well cells are found: instances held against labelled ones.
//!
//! Of the masks only areas and overlaps matter, so a [`Compared`] holds these for one image and one class, and every figure is
//! computed from it: matches, precision and recall, COCO's average precision, AJI, panoptic quality. `docs/eval.md` defines them
//! for people. Nothing here reads files or runs models.

mod average_precision;
mod coco;
mod columns;
mod compare;
mod labels;
mod matching;
mod polygon;
mod regions;
mod scores;
mod segmentation;
#[cfg(test)]
mod testing;

pub use average_precision::{IOUS, average_precision};
pub use coco::{Category, CocoError, CocoImage, CocoTruth};
pub use compare::{Compared, Found, Labelled};
pub use labels::cells_of_labels;
pub use matching::{Matches, Pair};
pub use regions::{Aji, PanopticQuality};
pub use scores::{AtIou, Scores};
