//! Percentiles as numpy's default method gives them.

/// How often each value from `first_value` on occurs.
#[derive(Debug)]
pub(super) struct Counts<'a> {
    pub first_value: u16,
    pub counts: &'a [u32],
    pub n_samples: u64,
}

impl Counts<'_> {
    /// Linear between the two nearest ranks, in f64 and in numpy's order of operations: `numpy.percentile(samples, q)`.
    pub(super) fn percentile(&self, q: f64) -> f64 {
        let last = self.n_samples - 1;
        let rank = q / 100.0 * last as f64;
        let below = (rank.floor() as u64).min(last);
        let [low, high] = self
            .values_at([below, (below + 1).min(last)])
            .map(f64::from);
        let (t, span) = (rank - rank.floor(), high - low);
        // From the nearer end, so that t = 1 gives `high` exactly.
        if t < 0.5 {
            low + span * t
        } else {
            high - span * (1.0 - t)
        }
    }

    /// The samples at two rising ranks, as if sorted.
    fn values_at(&self, ranks: [u64; 2]) -> [u16; 2] {
        let (mut index, mut n_before) = (0, 0);
        ranks.map(|rank| {
            while n_before + u64::from(self.counts[index]) <= rank {
                n_before += u64::from(self.counts[index]);
                index += 1;
            }
            self.first_value + index as u16
        })
    }
}
