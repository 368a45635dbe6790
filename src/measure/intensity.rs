//! The counts in cells and around them.
//!
//! The frame is read once, row by row from the top, while the cells in that row are open: a row is unpacked once whatever its
//! format, and memory follows the cells that a row crosses.

use super::surround::{REACH, Ring, Scratch, Taken};
use crate::{frame::Frame, mask::Mask, segmentation::Intensity};

/// Fewer pixels around a cell are no background.
const LEAST_BACKGROUND: usize = 20;

/// See [`super::intensities`].
pub(super) fn intensities(frame: &Frame, masks: &[&Mask], background: bool) -> Vec<Vec<Intensity>> {
    let names = channel_names(frame);
    let taken = background.then(|| Taken::by(masks, frame.width(), frame.height()));
    let reach = if background { REACH as u32 } else { 0 };
    let top = |cell: usize| masks[cell].y().saturating_sub(reach);
    let mut waiting: Vec<usize> = (0..masks.len()).collect();
    waiting.sort_by_key(|&cell| std::cmp::Reverse(top(cell)));
    let mut results = vec![Vec::new(); masks.len()];
    let mut open: Vec<Open> = Vec::new();
    let (mut scratch, mut samples, mut own) = (Scratch::default(), Vec::new(), Vec::new());
    for y in 0..frame.height() {
        while let Some(cell) = waiting.pop_if(|cell| top(*cell) <= y) {
            let ring = taken.as_ref();
            let ring = ring.map(|taken| Ring::around(masks[cell], taken, &mut scratch));
            let n_around = ring.as_ref().map_or(0, Ring::area);
            open.push(Open {
                cell,
                mask: masks[cell],
                ring,
                channels: names.iter().map(|_| Channel::new(n_around)).collect(),
            });
        }
        if open.is_empty() {
            continue;
        }
        let row = frame.samples(y, &mut samples);
        open.iter_mut().for_each(|cell| cell.read(row, y, &mut own));
        open.retain_mut(|cell| {
            let end = cell.mask.y() + cell.mask.height() + reach;
            let goes_on = y + 1 < end.min(frame.height());
            if !goes_on {
                results[cell.cell] = cell.close(&names);
            }
            goes_on
        });
    }
    results
}

/// A cell that the row being read crosses, or its ring.
struct Open<'a> {
    cell: usize,
    mask: &'a Mask,
    ring: Option<Ring>,
    channels: Vec<Channel>,
}

/// One channel of an open cell. 64 bits hold each sum over sides under 2^16, the most that a server takes.
#[derive(Default)]
struct Channel {
    n: u64,
    sum: u64,
    squares: u64,
    /// Counts times pixel numbers in the box.
    sum_x: u64,
    sum_y: u64,
    min: Option<u16>,
    max: u16,
    around: Vec<u16>,
}

/// So many counts at a time keep every sum of [`Sums`] in 32 bits, which a processor adds several of at once.
const PIECE: usize = 256;

/// Of at most [`PIECE`] counts.
struct Sums {
    sum: u32,
    /// Squares' low and high 16 bits apart.
    squares_low: u32,
    squares_high: u32,
    /// Counts times their place.
    moment: u32,
    min: u16,
    max: u16,
}

impl Sums {
    fn of(counts: &[u16]) -> Self {
        let (mut sum, mut squares_low, mut squares_high, mut moment) = (0, 0, 0, 0);
        let (mut min, mut max) = (u16::MAX, 0);
        for (i, &count) in counts.iter().enumerate() {
            let square = u32::from(count) * u32::from(count);
            sum += u32::from(count);
            squares_low += square & 0xffff;
            squares_high += square >> 16;
            moment += u32::from(count) * u32::from(i as u16);
            min = min.min(count);
            max = max.max(count);
        }
        Sums {
            sum,
            squares_low,
            squares_high,
            moment,
            min,
            max,
        }
    }
}

impl Open<'_> {
    /// Row `y` of the frame, samples interleaved. `own` is a buffer for one channel's.
    fn read(&mut self, row: &[u16], y: u32, own: &mut Vec<u16>) {
        let n = self.channels.len();
        let (x0, own_row) = (self.mask.x() as usize, y.checked_sub(self.mask.y()));
        if let Some(own_row) = own_row.filter(|&own_row| own_row < self.mask.height()) {
            for xs in self.mask.row_runs(own_row) {
                let counts = &row[n * (x0 + xs.start as usize)..n * (x0 + xs.end as usize)];
                let [x, y] = [xs.start, own_row].map(u64::from);
                match &mut self.channels[..] {
                    [only] => only.add(counts, x, y),
                    several => {
                        for (c, channel) in several.iter_mut().enumerate() {
                            own.clear();
                            own.extend(counts[c..].iter().step_by(n));
                            channel.add(own, x, y);
                        }
                    }
                }
            }
        }
        for xs in self.ring.iter().flat_map(|ring| ring.runs(y)) {
            let counts = &row[n * xs.start..n * xs.end];
            match &mut self.channels[..] {
                [only] => only.around.extend_from_slice(counts),
                several => {
                    for (c, channel) in several.iter_mut().enumerate() {
                        channel.around.extend(counts[c..].iter().step_by(n));
                    }
                }
            }
        }
    }

    fn close(&mut self, names: &[String]) -> Vec<Intensity> {
        let channels = self.channels.iter_mut().zip(names);
        channels
            .map(|(channel, name)| channel.close(self.mask, name))
            .collect()
    }
}

impl Channel {
    fn new(n_around: usize) -> Self {
        Channel {
            around: Vec::with_capacity(n_around),
            ..Channel::default()
        }
    }

    /// A run of counts from pixel `x` of row `y` of the box on.
    fn add(&mut self, counts: &[u16], x: u64, y: u64) {
        for (counts, x) in counts.chunks(PIECE).zip((x..).step_by(PIECE)) {
            let sums = Sums::of(counts);
            let sum = u64::from(sums.sum);
            self.n += counts.len() as u64;
            self.sum += sum;
            self.squares += (u64::from(sums.squares_high) << 16) + u64::from(sums.squares_low);
            self.sum_x += x * sum + u64::from(sums.moment);
            self.sum_y += y * sum;
            self.min = Some(self.min.map_or(sums.min, |min| min.min(sums.min)));
            self.max = self.max.max(sums.max);
        }
    }

    fn close(&mut self, mask: &Mask, name: &str) -> Intensity {
        let n = self.n as f64;
        // In integers: the difference would lose the digits of a dim spread on a bright cell.
        let [count, sum, squares] = [self.n, self.sum, self.squares].map(i128::from);
        let variance = (count * squares - sum * sum) as f64 / (n * n);
        let weighted_centroid_px = match self.sum {
            0 => super::moments::Moments::of(mask).centroid(),
            sum => {
                let mean =
                    |start: u32, moment: u64| f64::from(start) + moment as f64 / sum as f64 + 0.5;
                (mean(mask.x(), self.sum_x), mean(mask.y(), self.sum_y))
            }
        };
        Intensity {
            channel: name.to_owned(),
            mean: self.sum as f64 / n,
            min: f64::from(self.min.unwrap_or(0)),
            max: f64::from(self.max),
            std: variance.sqrt(),
            integrated: self.sum as f64,
            background: median(&mut self.around),
            weighted_centroid_px,
        }
    }
}

/// Of two in the middle their mean; none of too few.
fn median(counts: &mut [u16]) -> Option<f64> {
    let n = counts.len();
    if n < LEAST_BACKGROUND {
        return None;
    }
    let (below, &mut middle, _) = counts.select_nth_unstable(n / 2);
    let upper = f64::from(middle);
    match (n % 2, below.iter().max()) {
        (0, Some(&lower)) => Some((f64::from(lower) + upper) / 2.0),
        _ => Some(upper),
    }
}

/// What a frame's channels are called.
fn channel_names(frame: &Frame) -> Vec<String> {
    match frame.channels() {
        1 => vec![frame.metadata().channel.clone()],
        _ => ["red", "green", "blue"].map(str::to_owned).to_vec(),
    }
}
