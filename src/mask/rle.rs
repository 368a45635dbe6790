//! COCO's compressed run lengths, as pycocotools writes them.
//!
//! Runs go down the columns of the whole frame, zeros first. From the fourth count on, the difference to the count two before
//! is written: groups of 5 bits, lowest first, two's complement; 0x20 says that another group follows; 48 is added.

use super::{Mask, runs, transpose::transpose_group};

/// Why counts are not a mask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RleError(String);

/// pycocotools' compressed counts of `mask` in a frame of `width` x `height` pixels: column-major runs, zeros first.
pub fn encode_coco(mask: &Mask, width: u32, height: u32) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let column_words = mask.height.div_ceil(32) as usize;
    let mut columns = vec![0; 32 * column_words];
    for group in 0..mask.row_words() {
        transpose_group(mask, group, &mut columns, column_words);
        let x = group as u32 * 32;
        for (column, x) in columns.chunks_exact(column_words.max(1)).zip(x..mask.width) {
            let start = u64::from(mask.x + x) * u64::from(height) + u64::from(mask.y);
            for ys in runs(column) {
                encoder.ones(start + u64::from(ys.start), start + u64::from(ys.end));
            }
        }
    }
    encoder.finish(u64::from(width) * u64::from(height))
}

/// The mask that `counts` describe, with a tight box. Its memory follows the box; `width` and `height` are the caller's to bound.
pub fn decode_coco(counts: &[u8], width: u32, height: u32) -> Result<Mask, RleError> {
    // Once to know that all is well and how large the box is, once to fill it.
    let mut bounds: Option<Bounds> = None;
    each_column_run(counts, width, height, |x, top, bottom| {
        let bounds = bounds.get_or_insert(Bounds {
            left: x,
            right: x,
            top,
            bottom,
        });
        bounds.right = x;
        bounds.top = bounds.top.min(top);
        bounds.bottom = bounds.bottom.max(bottom);
    })?;
    let Some(Bounds {
        left,
        right,
        top: first,
        bottom: last,
    }) = bounds
    else {
        return Ok(Mask::empty(0, 0, 0, 0));
    };
    let mut mask = Mask::empty(left, first, right + 1 - left, last - first);
    each_column_run(counts, width, height, |x, top, bottom| {
        (top..bottom).for_each(|y| mask.set(x - left, y - first));
    })?;
    Ok(mask)
}

/// Columns `left..=right`, rows `top..bottom`.
struct Bounds {
    left: u32,
    right: u32,
    top: u32,
    bottom: u32,
}

/// Writes counts from runs of ones.
#[derive(Default)]
struct Encoder {
    out: Vec<u8>,
    n_counts: usize,
    /// The last count and the one before it.
    previous: [i64; 2],
    /// Where the counts written so far end.
    position: u64,
    /// A run of ones not yet written: the next one may go on where it ends, on top of the next column.
    pending: Option<(u64, u64)>,
}

impl Encoder {
    fn ones(&mut self, start: u64, end: u64) {
        match &mut self.pending {
            Some((_, pending_end)) if *pending_end == start => *pending_end = end,
            _ => {
                self.flush();
                self.pending = Some((start, end));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((start, end)) = self.pending.take() {
            self.count(start - self.position);
            self.count(end - start);
            self.position = end;
        }
    }

    fn finish(mut self, n_pixels: u64) -> Vec<u8> {
        self.flush();
        if self.position < n_pixels {
            self.count(n_pixels - self.position);
        }
        self.out
    }

    fn count(&mut self, count: u64) {
        let count = count as i64;
        let mut left = match self.n_counts {
            0..=2 => count,
            _ => count - self.previous[1],
        };
        loop {
            let group = (left & 0x1f) as u8;
            left >>= 5;
            let sign = if group & 0x10 == 0 { 0 } else { -1 };
            if left == sign {
                self.out.push(group + 48);
                break;
            }
            self.out.push((group | 0x20) + 48);
        }
        self.previous = [count, self.previous[0]];
        self.n_counts += 1;
    }
}

/// Calls `run(x, top, bottom)` for every run of ones, cut at the ends of columns.
fn each_column_run(
    counts: &[u8],
    width: u32,
    height: u32,
    mut run: impl FnMut(u32, u32, u32),
) -> Result<(), RleError> {
    let n_pixels = u64::from(width) * u64::from(height);
    let column = u64::from(height.max(1));
    let mut position = 0;
    let mut ones = false;
    for count in Counts::new(counts) {
        let end = position + count?;
        if end > n_pixels {
            return Err(RleError(format!(
                "counts go past the {n_pixels} pixels of {width}x{height}"
            )));
        }
        while ones && position < end {
            let (x, top) = (position / column, position % column);
            let bottom = column.min(top + end - position);
            run(x as u32, top as u32, bottom as u32);
            position += bottom - top;
        }
        position = end;
        ones = !ones;
    }
    match position == n_pixels {
        true => Ok(()),
        false => Err(RleError(format!(
            "counts sum to {position}: {width}x{height} has {n_pixels} pixels"
        ))),
    }
}

/// Reads counts; each is at most [`MOST`].
struct Counts<'a> {
    bytes: std::iter::Enumerate<std::slice::Iter<'a, u8>>,
    n_counts: usize,
    previous: [i64; 2],
}

/// Over every frame's pixels, and small enough that a sum of two counts cannot overflow.
const MOST: i64 = 1 << 62;

impl<'a> Counts<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Counts {
            bytes: bytes.iter().enumerate(),
            n_counts: 0,
            previous: [0; 2],
        }
    }

    fn count(&mut self, mut offset: usize, mut byte: u8) -> Result<u64, RleError> {
        let (mut value, mut shift) = (0i64, 0);
        loop {
            let group = match byte {
                48..=111 => i64::from(byte - 48),
                _ => {
                    return Err(RleError(format!(
                        "counts have byte {byte} at {offset}: must be 48 to 111"
                    )));
                }
            };
            if shift > 55 {
                return Err(RleError(format!(
                    "count at byte {offset} has more than 60 bits"
                )));
            }
            value |= (group & 0x1f) << shift;
            shift += 5;
            if group & 0x20 == 0 {
                if group & 0x10 != 0 {
                    value |= -1 << shift;
                }
                break;
            }
            (offset, byte) = match self.bytes.next() {
                Some((offset, &byte)) => (offset, byte),
                None => {
                    return Err(RleError(format!(
                        "counts end within a count, after byte {offset}"
                    )));
                }
            };
        }
        if self.n_counts > 2 {
            value += self.previous[1];
        }
        if !(0..MOST).contains(&value) {
            return Err(RleError(format!(
                "count {value} at byte {offset}: must be 0 or more, and fit the frame"
            )));
        }
        self.previous = [value, self.previous[0]];
        self.n_counts += 1;
        Ok(value as u64)
    }
}

impl Iterator for Counts<'_> {
    type Item = Result<u64, RleError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (offset, &byte) = self.bytes.next()?;
        Some(self.count(offset, byte))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode_coco, encode_coco};
    use crate::mask::{Mask, testing::*};

    #[test]
    fn counts_are_those_of_pycocotools() {
        let full = |width, height| {
            let mut mask = Mask::empty(0, 0, width, height);
            (0..height).for_each(|y| mask.fill(y, 0..width));
            mask
        };
        for (mask, (width, height), expected) in [
            // pycocotools.mask.encode(np.asfortranarray(...))["counts"]
            (Mask::empty(0, 0, 0, 0), (4, 3), "<"),
            (full(4, 3), (4, 3), "0<"),
            (drawn(1, 1, &["#"]), (4, 3), "417"),
            (drawn(0, 0, &["##.", ".##", "#.#"]), (3, 3), "01121O"),
            (full(2, 2048), (2048, 2048), "0PP4PPlo3"),
        ] {
            let counts = encode_coco(&mask, width, height);
            assert_eq!(
                String::from_utf8_lossy(&counts),
                expected,
                "{width}x{height}"
            );
        }
    }

    #[test]
    fn malformed_counts_are_refused_by_name() {
        for (counts, expected) in [
            (&b""[..], "counts sum to 0: 4x3 has 12 pixels"),
            (b";", "counts sum to 11: 4x3 has 12 pixels"),
            (b"=", "counts go past the 12 pixels of 4x3"),
            (b" ", "counts have byte 32 at 0: must be 48 to 111"),
            (b"4\xff", "counts have byte 255 at 1: must be 48 to 111"),
            (b"41P", "counts end within a count, after byte 2"),
            (
                b"O",
                "count -1 at byte 0: must be 0 or more, and fit the frame",
            ),
            (b"ooooooooooooo0", "count at byte 12 has more than 60 bits"),
        ] {
            let error = decode_coco(counts, 4, 3).expect_err("malformed");
            assert_eq!(error.to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn a_mask_comes_back_from_its_counts((mask, width, height) in any_mask(70)) {
            let counts = encode_coco(&mask, width, height);
            let back = decode_coco(&counts, width, height).expect("just encoded");
            prop_assert_eq!(frame_pixels(&back, width, height), frame_pixels(&mask, width, height));
            let tight = if mask.is_empty() { Mask::empty(0, 0, 0, 0) } else { mask.trim() };
            prop_assert_eq!(back, tight);
        }

        #[test]
        fn any_bytes_are_a_mask_or_an_error(counts in prop::collection::vec(46u8..114, 0..40)) {
            let _ = decode_coco(&counts, 1000, 1000);
        }
    }
}
