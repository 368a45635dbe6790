//! Image files that are opened once and read page by page: stacks of many gigabytes, and what they say of themselves.
//!
//! Understood are OME-XML, ImageJ's description, Micro-Manager's tag of each page, Nikon's private tags, and TIFF's resolution.
//! What is damaged in what a file says is left out; pixels are never guessed.

mod imagej;
mod micro_manager;
mod ome;
mod stack;
mod tags;
mod units;

use std::{
    collections::BTreeMap,
    io::{Read, Seek, SeekFrom},
};

use bytes::Bytes;

use super::{FrameError, FrameLimits, Layout, decode_image, encoded::unknown};
use stack::Stack;

/// An open image file: a TIFF of any number of pages, a PNG or a JPEG.
#[derive(Debug)]
pub struct ImageFile<R: Read + Seek> {
    content: Content<R>,
    pages: Vec<Page>,
    pixel_size: Option<PixelSize>,
    limits: FrameLimits,
}

/// What a file says of one of its pages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// "t", "c", "z", "p", counted from 0; axes on which every page of this file is at 0 are left out.
    pub index: BTreeMap<String, u32>,
    /// Name of its channel; empty: none is said.
    pub channel: String,
    /// Name of its stage position; empty: none is said.
    pub position: String,
    /// Since the start of the experiment.
    pub elapsed_ms: Option<f64>,
    /// Exposure.
    pub exposure_ms: Option<f64>,
    /// Stage.
    pub x_um: Option<f64>,
    /// Stage.
    pub y_um: Option<f64>,
    /// Focus.
    pub z_um: Option<f64>,
}

/// How large a pixel is, and which part of the file says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelSize {
    /// Micrometres; above 0.
    pub um: f64,
    /// "OME-XML", "ImageJ", "Micro-Manager", "Nikon tags" or "TIFF resolution".
    pub source: &'static str,
}

#[derive(Debug)]
enum Content<R: Read + Seek> {
    Stack(Box<Stack<R>>),
    /// A PNG or JPEG file, whole.
    Single(Bytes),
}

impl<R: Read + Seek> ImageFile<R> {
    /// Opens a file, told by its content. Of a TIFF the directories are read, not the pixels; one that is cut off has the pages
    /// whose directories are there, and one more that says what is broken.
    ///
    /// Errors: no image file; damaged at its beginning; a Micro-Manager stack that is still being written.
    pub fn open(mut file: R, limits: &FrameLimits) -> Result<ImageFile<R>, FrameError> {
        let failed = |error| FrameError::Invalid(format!("cannot be read: {error}"));
        let bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut start = [0; 16];
        let n = file.read(&mut start).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        match start[..n] {
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => {
                micro_manager::refuse_unfinished(&start[..n])?;
                let (stack, described) = Stack::open(file, bytes, limits)?;
                Ok(ImageFile {
                    content: Content::Stack(Box::new(stack)),
                    pages: described.pages,
                    pixel_size: described.pixel_size,
                    limits: *limits,
                })
            }
            [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] => {
                let most = limits.max_frame_bytes.saturating_mul(2);
                let mut whole = Vec::new();
                file.take(most).read_to_end(&mut whole).map_err(failed)?;
                Ok(ImageFile {
                    content: Content::Single(Bytes::from(whole)),
                    pages: vec![Page::default()],
                    pixel_size: None,
                    limits: *limits,
                })
            }
            _ => Err(unknown(&start[..n], bytes)),
        }
    }

    /// Every page, in the order of the file.
    pub fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// How large a pixel is, if the file says so and its pixels are square.
    pub fn pixel_size(&self) -> Option<PixelSize> {
        self.pixel_size
    }

    /// The pixels of one page, counted from 0, as they are in the file: [`decode_image`].
    ///
    /// Errors: no such page; damaged or cut off, by the page's number; over the limits; pixels that are not understood.
    pub fn read(&mut self, page: u32) -> Result<(Layout, Bytes), FrameError> {
        match &mut self.content {
            Content::Stack(stack) => stack.read(page, &self.limits),
            Content::Single(file) => decode_image(file, page, &self.limits),
        }
    }
}

/// What a file says of itself.
#[derive(Debug, Default)]
struct Described {
    pages: Vec<Page>,
    pixel_size: Option<PixelSize>,
}

impl PixelSize {
    /// None where that is no size of a camera's pixel, or pixels are not square.
    fn new(source: &'static str, x_um: Option<f64>, y_um: Option<f64>) -> Option<PixelSize> {
        let um = x_um.filter(|um| um.is_finite() && *um > 0.0)?;
        let square = y_um.is_none_or(|y_um| (y_um / um - 1.0).abs() < 0.01);
        square.then_some(PixelSize { um, source })
    }
}

/// Leaves out the axes on which every page is at 0.
fn leave_out_unused_axes(pages: &mut [Page]) {
    for axis in ["t", "c", "z", "p"] {
        let used = |page: &Page| page.index.get(axis).is_some_and(|value| *value > 0);
        if !pages.iter().any(used) {
            for page in &mut *pages {
                page.index.remove(axis);
            }
        }
    }
}

#[cfg(test)]
mod tests;
