//! What comes back for a frame, checked and read.

use super::layout::{Header, RECORDS_AT, Record, Sizes, policy};
use crate::{
    frame::Frame,
    geometry::{BoxF, Letterbox},
    mask::Mask,
    model::ModelSpec,
    params::{Normalization, Params, Span},
    preprocess::{Exposure, brightness, channel_offsets, low_contrast, scale_notice},
    segmentation::{AppliedNormalization, AppliedPolicy, Notice, RawInstance},
};

/// The device's answer to a frame: what of a [`crate::segmentation::RawSegmentation`] is not known before.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::backend::cuda) struct Answer {
    pub instances: Vec<RawInstance>,
    pub normalization: AppliedNormalization,
    pub own_span: Option<Span>,
    pub truncated: bool,
    pub notices: Vec<Notice>,
}

/// Reads `bytes`, a lane's answer buffer, after the stream has been synchronised. Err: it is not the answer to frame `sequence`,
/// or does not hold together; the lane cannot be trusted any more.
pub(in crate::backend::cuda) fn read(
    bytes: &[u8],
    sizes: &Sizes,
    sequence: u64,
    frame: &Frame,
    params: &Params,
    model: &ModelSpec,
) -> Result<Answer, String> {
    let header = Header::from_bytes(bytes);
    if header.sequence != sequence {
        return Err(format!(
            "the device answered frame {} instead of {sequence}",
            header.sequence
        ));
    }
    let most = frame.max_value();
    let exposure = Exposure {
        n_samples: u64::from(frame.width())
            * u64::from(frame.height())
            * channel_offsets(frame.format()).len() as u64,
        n_above: header.n_above,
        n_at_most: header.n_at_most,
    };
    let mut notices = brightness(&exposure, most);
    let normalization = header.normalization()?;
    if normalization.policy == AppliedPolicy::LowContrast
        && let Normalization::Percentiles {
            low,
            high,
            min_span,
        } = params.normalization
    {
        let least = min_span.counts(most);
        notices.push(low_contrast((low, high), (header.from, header.to), least));
    }
    let input = (model.input_width, model.input_height);
    let letterbox =
        Letterbox::at_most((frame.width(), frame.height()), input, params.largest_scale);
    if let Some((seen, trained)) = frame.metadata().pixel_size_um.zip(model.trained_um_per_px) {
        notices.extend(scale_notice(seen, &letterbox, trained));
    }

    if header.n_instances > sizes.max_candidates {
        return Err(format!(
            "the device answered {} instances of at most {}",
            header.n_instances, sizes.max_candidates
        ));
    }
    let records = bytes[RECORDS_AT..]
        .chunks_exact(size_of::<Record>())
        .take(header.n_instances as usize)
        .map(Record::from_bytes);
    let words = &bytes[sizes.words_at..sizes.answer];
    let mut instances = Vec::with_capacity(header.n_instances as usize);
    for record in records.filter(|record| record.area > 0) {
        instances.push(record.instance(words, frame)?);
    }
    Ok(Answer {
        instances,
        own_span: header.own_span(&normalization),
        normalization,
        truncated: header.truncated != 0,
        notices,
    })
}

impl Header {
    fn from_bytes(bytes: &[u8]) -> Self {
        let u64s = |i: usize| number::<8>(bytes, 8 * i).map_or(0, u64::from_ne_bytes);
        let u32s = |i: usize| number::<4>(bytes, 56 + 4 * i).map_or(0, u32::from_ne_bytes);
        Header {
            sequence: u64s(0),
            n_above: u64s(1),
            n_at_most: u64s(2),
            low: f64::from_bits(u64s(3)),
            high: f64::from_bits(u64s(4)),
            from: f64::from_bits(u64s(5)),
            to: f64::from_bits(u64s(6)),
            policy: u32s(0),
            n_found: u32s(1),
            n_kept: u32s(2),
            n_instances: u32s(3),
            n_words: u32s(4),
            n_cells: u32s(5),
            truncated: u32s(6),
            n_unsettled: u32s(7),
        }
    }

    /// The frame's own percentiles, where it is shown by such.
    fn own_span(&self, applied: &AppliedNormalization) -> Option<Span> {
        (applied.policy == AppliedPolicy::Percentiles).then_some(Span {
            low: self.from,
            high: self.to,
        })
    }

    fn normalization(&self) -> Result<AppliedNormalization, String> {
        let policy = match self.policy {
            policy::FULL_RANGE => AppliedPolicy::FullRange,
            policy::WINDOW => AppliedPolicy::Window,
            policy::PERCENTILES => AppliedPolicy::Percentiles,
            policy::LOW_CONTRAST => AppliedPolicy::LowContrast,
            other => return Err(format!("the device answered normalisation {other}")),
        };
        Ok(AppliedNormalization {
            low: self.low,
            high: self.high,
            policy,
        })
    }
}

impl Record {
    fn from_bytes(bytes: &[u8]) -> Self {
        let u32s = |i: usize| number::<4>(bytes, 4 * i).map_or(0, u32::from_ne_bytes);
        let f32s = |i: usize| f32::from_bits(u32s(i));
        Record {
            detected_box: [0, 1, 2, 3].map(f32s),
            class_index: u32s(4),
            score: f32s(5),
            x: u32s(6),
            y: u32s(7),
            width: u32s(8),
            height: u32s(9),
            first_word: u32s(10),
            area: u32s(11),
        }
    }

    fn instance(&self, words: &[u8], frame: &Frame) -> Result<RawInstance, String> {
        let inside = |start: u32, length: u32, all: u32| {
            start.checked_add(length).is_some_and(|end| end <= all)
        };
        if !inside(self.x, self.width, frame.width())
            || !inside(self.y, self.height, frame.height())
        {
            return Err(format!(
                "the device answered a mask outside the frame: {self:?}"
            ));
        }
        let mut mask = Mask::empty(self.x, self.y, self.width, self.height);
        let start = 4 * self.first_word as usize;
        let own = words
            .get(start..start + 4 * mask.words().len())
            .ok_or_else(|| format!("the device answered a mask outside its buffer: {self:?}"))?;
        mask.fill_words(
            own.as_chunks()
                .0
                .iter()
                .map(|&word| u32::from_ne_bytes(word)),
        );
        let [x0, y0, x1, y1] = self.detected_box;
        Ok(RawInstance {
            class_index: self.class_index,
            score: self.score,
            detected_box: BoxF { x0, y0, x1, y1 },
            mask,
        })
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
