//! One integer image of all cells.

use std::io::Write;

use bytes::Bytes;

use super::Outputs;
use crate::{
    mask::{self, LabelImage},
    proto as pb,
    segmentation::{Instance, Segmentation, track_labels},
};

/// An image over this is compressed unless the client says otherwise: stock clients refuse replies over 4 MiB.
const COMPRESS_OVER: usize = 1 << 20;

/// The image of `instances` in their frame. By track, cells without one are background.
pub(super) fn image(
    instances: &[Instance],
    frame: &Segmentation,
    outputs: &Outputs,
) -> pb::LabelImage {
    let masks = instances.iter().map(|cell| &cell.mask);
    let by_instance = mask::label_image(masks, frame.width, frame.height);
    let labels = match outputs.label_by {
        pb::LabelBy::Track => by_instance.renamed(&track_labels(instances)),
        pb::LabelBy::Unspecified | pb::LabelBy::Instance => by_instance,
    };
    let (bytes_per_pixel, data) = match labels {
        LabelImage::U16(labels) => (2, bytes(&labels, u16::to_le_bytes)),
        LabelImage::U32(labels) => (4, bytes(&labels, u32::to_le_bytes)),
    };
    let compression = outputs
        .label_compression
        .unwrap_or(match data.len() > COMPRESS_OVER {
            true => pb::Compression::Zlib,
            false => pb::Compression::None,
        });
    pb::LabelImage {
        data: compress(data, compression),
        bytes_per_pixel,
        compression: compression.into(),
    }
}

/// The image of all of a frame's cells, not compressed: for doors that ask for it beside what their session sends.
pub(in crate::server) fn label_image(
    cells: &Segmentation,
    label_by: pb::LabelBy,
) -> pb::LabelImage {
    let outputs = Outputs {
        label_by,
        label_compression: Some(pb::Compression::None),
        ..Outputs::default()
    };
    image(&cells.instances, cells, &outputs)
}

fn bytes<Label: Copy, const N: usize>(
    labels: &[Label],
    to_bytes: impl Fn(Label) -> [u8; N],
) -> Vec<u8> {
    labels.iter().flat_map(|&label| to_bytes(label)).collect()
}

fn compress(data: Vec<u8>, compression: pb::Compression) -> Bytes {
    let compressed = match compression {
        pb::Compression::Unspecified | pb::Compression::None => Ok(data),
        pb::Compression::Zlib => {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&data).and_then(|()| encoder.finish())
        }
        pb::Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder
                .write_all(&data)
                .and_then(|()| encoder.finish().map_err(Into::into))
        }
    };
    compressed.expect("writing to memory does not fail").into()
}
