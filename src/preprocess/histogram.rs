//! How often each count occurs in a frame.

use super::{notices::Exposure, percentile::Counts};
use crate::frame::Frame;

/// What a first, vectorised pass over a frame finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Survey {
    /// For the notices.
    pub exposure: Exposure,
    /// The darkest, at most the brightest value that the camera can deliver.
    pub darkest: u16,
    /// The brightest, clipped to what the camera can deliver.
    pub brightest: u16,
}

/// Where values are few, one sample after the other often has the same one and would wait for it: they take turns with four
/// copies. Where values are many, the copies would only crowd the cache.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    bins: Vec<u32>,
}

/// Bins of one copy while there are four.
const MANY: usize = 4096;

pub(super) fn survey(frame: &Frame, samples: &mut Vec<u16>) -> Survey {
    let most = frame.max_value() as u16;
    let mut survey = Survey {
        exposure: Exposure::default(),
        darkest: most,
        brightest: 0,
    };
    for y in 0..frame.height() {
        let row = frame.samples(y, samples);
        // Counts of a piece fit 16 bits, the width of a sample: twice as many at a time as with 32.
        for piece in row.chunks(usize::from(u16::MAX)) {
            let (mut darkest, mut brightest) = (u16::MAX, 0);
            let (mut n_above, mut n_at_most) = (0_u16, 0_u16);
            for &sample in piece {
                darkest = darkest.min(sample);
                brightest = brightest.max(sample);
                n_above += u16::from(sample > most);
                n_at_most += u16::from(sample >= most);
            }
            survey.darkest = survey.darkest.min(darkest);
            survey.brightest = survey.brightest.max(brightest.min(most));
            survey.exposure.n_above += u64::from(n_above);
            survey.exposure.n_at_most += u64::from(n_at_most);
        }
        survey.exposure.n_samples += row.len() as u64;
    }
    survey
}

impl Histogram {
    /// Counts the samples of a frame, clipped to what its camera can deliver: so they lie between the survey's darkest and
    /// brightest, and only those bins are cleared and read. Samples that have changed since, as they may in memory that another
    /// program shares, are counted as the nearest.
    pub(super) fn count<'a>(
        &'a mut self,
        frame: &Frame,
        survey: &Survey,
        samples: &mut Vec<u16>,
    ) -> Counts<'a> {
        let n_values = usize::from(survey.brightest - survey.darkest) + 1;
        let copies = if n_values <= MANY { 4 } else { 1 };
        self.bins.clear();
        self.bins.resize(copies * n_values, 0);
        let starts = [0, 1, 2, 3].map(|turn| turn % copies * n_values);
        let bin = |sample: u16| {
            let inside = sample.min(survey.brightest).max(survey.darkest);
            usize::from(inside - survey.darkest)
        };
        for y in 0..frame.height() {
            let row = frame.samples(y, samples);
            let (fours, rest) = row.as_chunks::<4>();
            for four in fours {
                for (&sample, start) in four.iter().zip(starts) {
                    self.bins[start + bin(sample)] += 1;
                }
            }
            for &sample in rest {
                self.bins[bin(sample)] += 1;
            }
        }
        let (first, others) = self.bins.split_at_mut(n_values);
        for copy in others.chunks_exact(n_values) {
            for (bin, n) in first.iter_mut().zip(copy) {
                *bin += n;
            }
        }
        Counts {
            first_value: survey.darkest,
            counts: first,
            n_samples: survey.exposure.n_samples,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::frame::{FrameLimits, FrameMetadata, Layout, PixelFormat};

    #[test]
    fn samples_that_changed_since_the_survey_are_counted_as_the_nearest() {
        let frame = |samples: [u8; 8]| {
            let layout = Layout {
                format: PixelFormat::Mono8,
                width: 8,
                height: 1,
                row_stride: 0,
                significant_bits: 0,
            };
            let data = Bytes::copy_from_slice(&samples);
            let limits = FrameLimits::default();
            Frame::new(layout, data, FrameMetadata::default(), &limits).unwrap()
        };
        let mut samples = Vec::new();
        let survey = survey(&frame([10, 11, 12, 13, 10, 11, 12, 13]), &mut samples);
        let mut histogram = Histogram::default();
        let changed = frame([0, 9, 10, 12, 13, 14, 200, 255]);
        let counts = histogram.count(&changed, &survey, &mut samples);
        assert_eq!((counts.first_value, counts.counts), (10, &[3, 0, 1, 4][..]));
    }
}
