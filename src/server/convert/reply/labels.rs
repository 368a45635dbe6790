//! One integer image of all cells.

use std::io::Write;

use bytes::Bytes;

use super::Outputs;
use crate::{
    mask::{self, LabelImage},
    proto as pb,
    segmentation::{Instance, Segmentation},
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
        pb::LabelBy::Track => renamed(&by_instance, &track_labels(instances)),
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

fn bytes<Label: Copy, const N: usize>(
    labels: &[Label],
    to_bytes: impl Fn(Label) -> [u8; N],
) -> Vec<u8> {
    labels.iter().flat_map(|&label| to_bytes(label)).collect()
}

/// The integer of each label: the lower half of its track's id; 0 for none, and for the background.
fn track_labels(instances: &[Instance]) -> Vec<u32> {
    let of_track = |cell: &Instance| cell.track.map_or(0, |track| track.id as u32);
    std::iter::once(0)
        .chain(instances.iter().map(of_track))
        .collect()
}

/// Label i becomes `names[i]`; 16 bits where all of them fit.
fn renamed(image: &LabelImage, names: &[u32]) -> LabelImage {
    fn each<From: Copy + Into<u32>, To: Copy>(labels: &[From], names: &[To]) -> Vec<To> {
        let name = |&label: &From| names[label.into() as usize];
        labels.iter().map(name).collect()
    }
    let small: Option<Vec<u16>> = names.iter().map(|&name| u16::try_from(name).ok()).collect();
    match (image, small) {
        (LabelImage::U16(labels), Some(small)) => LabelImage::U16(each(labels, &small)),
        (LabelImage::U32(labels), Some(small)) => LabelImage::U16(each(labels, &small)),
        (LabelImage::U16(labels), None) => LabelImage::U32(each(labels, names)),
        (LabelImage::U32(labels), None) => LabelImage::U32(each(labels, names)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_past_16_bits_make_an_image_of_32() {
        let image = LabelImage::U16(vec![0, 2, 1]);
        let small = renamed(&image, &[0, 7, 65_535]);
        assert_eq!(small, LabelImage::U16(vec![0, 65_535, 7]));
        let large = renamed(&image, &[0, 7, 65_536]);
        assert_eq!(large, LabelImage::U32(vec![0, 65_536, 7]));
    }
}
