//! A frame's cells as tensors.

use bytes::Bytes;

use super::super::convert;
use crate::{mask, proto as pb, segmentation::Segmentation};

/// What a model gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Output {
    /// One integer a pixel, 0 = background.
    Labels,
    /// Left, top, right and bottom edge of each cell's mask, pixels.
    Boxes,
    Scores,
    /// Indices into the model's classes.
    Classes,
    /// pycocotools' compressed counts of each cell's mask.
    Rle,
    /// Identities; 0 where none are kept.
    Tracks,
    /// How many cells.
    Count,
    /// Share of the frame that cells cover.
    Confluence,
}

/// A tensor's elements, little-endian and row-major.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) output: Output,
    pub(super) datatype: &'static str,
    pub(super) shape: Vec<i64>,
    pub(super) bytes: Bytes,
}

impl Output {
    /// In the order in which they are answered.
    pub(super) const ALL: [Output; 8] = [
        Output::Labels,
        Output::Boxes,
        Output::Scores,
        Output::Classes,
        Output::Rle,
        Output::Tracks,
        Output::Count,
        Output::Confluence,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Output::Labels => "LABELS",
            Output::Boxes => "BOXES",
            Output::Scores => "SCORES",
            Output::Classes => "CLASSES",
            Output::Rle => "RLE",
            Output::Tracks => "TRACKS",
            Output::Count => "COUNT",
            Output::Confluence => "CONFLUENCE",
        }
    }

    pub(super) fn named(name: &str) -> Option<Output> {
        Output::ALL.into_iter().find(|output| output.name() == name)
    }

    /// As metadata tells it. LABELS are UINT32 where there are more than 65,535.
    pub(super) fn datatype(self) -> &'static str {
        match self {
            Output::Labels => "UINT16",
            Output::Boxes | Output::Scores => "FP32",
            Output::Classes | Output::Count => "UINT32",
            Output::Rle => "BYTES",
            Output::Tracks => "UINT64",
            Output::Confluence => "FP64",
        }
    }

    /// As metadata tells it; -1: by the frame.
    pub(super) fn shape(self) -> &'static [i64] {
        match self {
            Output::Labels => &[-1, -1],
            Output::Boxes => &[-1, 4],
            Output::Scores | Output::Classes | Output::Rle | Output::Tracks => &[-1],
            Output::Count | Output::Confluence => &[1],
        }
    }

    /// Whether a request that names no outputs gets it: an image as large as the frame only who asks for it.
    pub(super) fn is_usual(self) -> bool {
        self != Output::Labels
    }

    /// Made of a frame's answer. `cells` are what `answer` was made of.
    pub(super) fn made(
        self,
        answer: &pb::Segmentation,
        cells: &Segmentation,
        label_by: pb::LabelBy,
    ) -> Tensor {
        let instances = &answer.instances;
        let n = instances.len() as i64;
        let tensor = |shape: Vec<i64>, bytes: Vec<u8>| Tensor {
            output: self,
            datatype: self.datatype(),
            shape,
            bytes: bytes.into(),
        };
        match self {
            Output::Labels => {
                let image = convert::label_image(cells, label_by);
                Tensor {
                    output: self,
                    datatype: match image.bytes_per_pixel {
                        4 => "UINT32",
                        _ => self.datatype(),
                    },
                    shape: vec![cells.height.into(), cells.width.into()],
                    bytes: image.data,
                }
            }
            Output::Boxes => {
                let corners = instances.iter().flat_map(|cell| {
                    let edges = cell.r#box.unwrap_or_default();
                    [edges.x0, edges.y0, edges.x1, edges.y1]
                });
                tensor(vec![n, 4], corners.flat_map(f32::to_le_bytes).collect())
            }
            Output::Scores => {
                let scores = instances.iter().map(|cell| cell.score);
                tensor(vec![n], scores.flat_map(f32::to_le_bytes).collect())
            }
            Output::Classes => {
                let classes = instances.iter().map(|cell| cell.class_index);
                tensor(vec![n], classes.flat_map(u32::to_le_bytes).collect())
            }
            Output::Rle => {
                let mut bytes = Vec::new();
                for cell in &cells.instances {
                    let counts = mask::encode_coco(&cell.mask, cells.width, cells.height);
                    bytes.extend((counts.len() as u32).to_le_bytes());
                    bytes.extend(counts);
                }
                tensor(vec![n], bytes)
            }
            Output::Tracks => {
                let tracks = instances
                    .iter()
                    .map(|cell| cell.track.map_or(0, |track| track.id));
                tensor(vec![n], tracks.flat_map(u64::to_le_bytes).collect())
            }
            Output::Count => tensor(vec![1], (n as u32).to_le_bytes().to_vec()),
            Output::Confluence => {
                let summary = answer.summary.as_ref();
                let confluence = summary.map_or(0.0, |summary| summary.confluence);
                tensor(vec![1], confluence.to_le_bytes().to_vec())
            }
        }
    }
}
