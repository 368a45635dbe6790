//! The last times of a session.

use std::collections::VecDeque;

/// Enough for a steady 95th percentile, few enough to sort when somebody asks.
const KEPT: usize = 256;

/// The last [`KEPT`] of some numbers.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<u32>);

impl Recent {
    pub(super) fn push(&mut self, value: u32) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// The smallest that `percent` of them do not exceed; 0 of none.
    pub(super) fn percentile(&self, percent: usize) -> u32 {
        let mut sorted: Vec<u32> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank_over_the_last_ones() {
        let mut recent = Recent::default();
        assert_eq!(recent.percentile(95), 0);
        recent.push(9);
        assert_eq!((recent.percentile(50), recent.percentile(95)), (9, 9));
        // 1000 first ones are forgotten.
        (0..1000).for_each(|_| recent.push(1_000_000));
        (1..=256).rev().for_each(|n| recent.push(n));
        assert_eq!((recent.percentile(50), recent.percentile(95)), (128, 244));
    }
}
