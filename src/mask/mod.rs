//! One instance's pixels, and the forms in which people take them.
//!
//! A [`Mask`] is packed bits inside a box, so that memory follows the cells and not cells times frame.

mod contour;
mod label;
mod rle;

pub use contour::{Ring, rings};
pub use label::{LabelImage, label_image};
pub use rle::{RleError, decode_coco, encode_coco};

/// One instance's pixels: row-major bits of a box of the frame, least significant bit first, each row padded to 32 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    words: Vec<u32>,
}

impl Mask {
    /// No pixel set, of the box with its top left corner at (`x`, `y`).
    pub fn empty(x: u32, y: u32, width: u32, height: u32) -> Self {
        Mask {
            x,
            y,
            width,
            height,
            words: vec![0; width.div_ceil(32) as usize * height as usize],
        }
    }

    /// Left edge in the frame.
    pub fn x(&self) -> u32 {
        self.x
    }

    /// Top edge in the frame.
    pub fn y(&self) -> u32 {
        self.y
    }

    /// Pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// 32-bit words of one row.
    pub fn row_words(&self) -> usize {
        self.width.div_ceil(32) as usize
    }

    /// All words, row by row. **Invariant:** bits past the width are zero.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Row `y` of the box.
    pub fn row(&self, y: u32) -> &[u32] {
        let n = self.row_words();
        &self.words[y as usize * n..][..n]
    }

    /// Row `y` of the box, to write. The caller leaves bits past the width zero.
    pub fn row_mut(&mut self, y: u32) -> &mut [u32] {
        let n = self.row_words();
        &mut self.words[y as usize * n..][..n]
    }

    /// Whether the pixel (`x`, `y`) of the box is set.
    pub fn get(&self, x: u32, y: u32) -> bool {
        x < self.width && y < self.height && self.row(y)[x as usize / 32] >> (x % 32) & 1 == 1
    }

    /// Sets the pixel (`x`, `y`) of the box.
    pub fn set(&mut self, x: u32, y: u32) {
        debug_assert!(
            x < self.width && y < self.height,
            "({x}, {y}) of {}x{}",
            self.width,
            self.height
        );
        self.row_mut(y)[x as usize / 32] |= 1 << (x % 32);
    }

    /// Number of pixels.
    pub fn area(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether no pixel is set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }
}
