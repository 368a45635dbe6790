//! Runs of set bits.

use std::ops::Range;

/// The runs of set bits in `words`, least significant bit first, as ranges of bit numbers.
pub(super) fn runs(words: &[u32]) -> impl Iterator<Item = Range<u32>> {
    let mut edges = Edges {
        words: words.iter(),
        base: 0,
        next_base: 0,
        left: 0,
        last_bit: 0,
    };
    let end = words.len() as u32 * 32;
    std::iter::from_fn(move || {
        let start = edges.next()?;
        Some(start..edges.next().unwrap_or(end))
    })
}

/// Sets the bits `xs`, at least one, of `words`.
pub(super) fn fill(words: &mut [u32], xs: Range<u32>) {
    let (first, last) = (xs.start as usize / 32, (xs.end - 1) as usize / 32);
    let (from, to) = (
        u32::MAX << (xs.start % 32),
        u32::MAX >> (31 - (xs.end - 1) % 32),
    );
    if first == last {
        words[first] |= from & to;
    } else {
        words[first] |= from;
        words[first + 1..last].fill(u32::MAX);
        words[last] |= to;
    }
}

/// The bit numbers at which a bit differs from the one before it: starts and ends of runs in turn.
struct Edges<'a> {
    words: std::slice::Iter<'a, u32>,
    base: u32,
    next_base: u32,
    /// Edges of the current word not yet given.
    left: u32,
    /// The highest bit of the current word.
    last_bit: u32,
}

impl Iterator for Edges<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            let &word = self.words.next()?;
            self.left = word ^ (word << 1 | self.last_bit);
            self.last_bit = word >> 31;
            self.base = self.next_base;
            self.next_base += 32;
        }
        let bit = self.left.trailing_zeros();
        self.left &= self.left - 1;
        Some(self.base + bit)
    }
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn runs_may_cross_words_and_reach_both_ends() {
        for (words, expected) in [
            (&[][..], vec![]),
            (&[0, 0], vec![]),
            (&[u32::MAX, u32::MAX, 0, 1], vec![0..64, 96..97]),
            (&[0b0110_0001, 0], vec![0..1, 5..7]),
            (&[1 << 31, 1, 1 << 31], vec![31..33, 95..96]),
        ] {
            assert_eq!(runs(words).collect::<Vec<_>>(), expected, "{words:x?}");
        }
    }
}
