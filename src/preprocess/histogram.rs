//! How often each count occurs in a frame.

use super::{colour_samples, percentile::Counts};
use crate::frame::Frame;

const N_VALUES: usize = 1 << 16;

/// What a first, vectorised pass over a frame finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Survey {
    /// Colour samples.
    pub n_samples: u64,
    /// The darkest, at most the brightest value that the camera can deliver.
    pub darkest: u16,
    /// The brightest, clipped to what the camera can deliver.
    pub brightest: u16,
    /// Samples above what the camera can deliver.
    pub n_above: u64,
    /// Samples at the brightest value that the camera can deliver, or above.
    pub n_at_most: u64,
}

/// Four histograms, taken in turn: a sample need not wait for the one before it where both have the same value.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    quarters: Vec<[u32; N_VALUES]>,
}

pub(super) fn survey(frame: &Frame, samples: &mut Vec<u16>) -> Survey {
    let most = frame.max_value() as u16;
    let mut survey = Survey {
        n_samples: 0,
        darkest: most,
        brightest: 0,
        n_above: 0,
        n_at_most: 0,
    };
    for y in 0..frame.height() {
        let row = colour_samples(frame.row(y), frame.format(), samples);
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
            survey.n_above += u64::from(n_above);
            survey.n_at_most += u64::from(n_at_most);
        }
        survey.n_samples += row.len() as u64;
    }
    survey
}

impl Histogram {
    /// Counts the samples of a frame, clipped to what its camera can deliver. Only the bins between the darkest and the
    /// brightest are cleared and read.
    pub(super) fn count<'a>(
        &'a mut self,
        frame: &Frame,
        survey: &Survey,
        samples: &mut Vec<u16>,
    ) -> Counts<'a> {
        self.quarters.resize(4, [0; N_VALUES]);
        let [a, b, c, d] = self.quarters.as_mut_slice() else {
            unreachable!("resized to 4 above")
        };
        let used = usize::from(survey.darkest)..usize::from(survey.brightest) + 1;
        for quarter in [&mut *a, b, c, d] {
            quarter[used.clone()].fill(0);
        }
        let most = frame.max_value() as u16;
        for y in 0..frame.height() {
            let row = colour_samples(frame.row(y), frame.format(), samples);
            let (fours, rest) = row.as_chunks::<4>();
            for four in fours {
                let [i, j, k, l] = four.map(|sample| usize::from(sample.min(most)));
                a[i] += 1;
                b[j] += 1;
                c[k] += 1;
                d[l] += 1;
            }
            for sample in rest {
                a[usize::from(*sample.min(&most))] += 1;
            }
        }
        for value in used.clone() {
            a[value] += b[value] + c[value] + d[value];
        }
        Counts {
            first_value: survey.darkest,
            counts: &a[used],
            n_samples: survey.n_samples,
        }
    }
}
