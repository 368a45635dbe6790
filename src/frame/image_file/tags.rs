//! Tags of a TIFF's directories, as far as they say what a page is.

use std::io::{Read, Seek};

use tiff::{
    decoder::{Decoder, ifd::Value},
    tags::Tag,
};

use super::{Page, PixelSize, units};
use crate::frame::encoded::tiff::Metered;

/// Longest description that is read. OME-XML of 50,000 planes has about 15 MB.
const MAX_DESCRIPTION: u64 = 32 << 20;

/// Coarser than any camera's pixel: a printer's resolution, which many programs write as 72 or 300 dots an inch.
const COARSEST_UM: f64 = 30.0;

/// What the first page says of its pixels' size.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// TIFF's resolution, pixels a unit.
    pub(super) x: Option<f64>,
    pub(super) y: Option<f64>,
    /// 2: inches, 3: centimetres.
    unit: u16,
    pub(super) nikon: Option<f64>,
    pub(super) micro_manager: Option<f64>,
}

impl Sizes {
    /// From TIFF's own resolution.
    pub(super) fn by_resolution(&self) -> Option<PixelSize> {
        let unit = match self.unit {
            2 => "inch",
            3 => "cm",
            _ => return None,
        };
        let um = |resolution: f64| units::micrometres(1.0 / resolution, unit);
        PixelSize::new("TIFF resolution", self.x.and_then(um), self.y.and_then(um))
            .filter(|size| size.um < COARSEST_UM)
    }
}

/// The tags of one directory; what is damaged is absent.
pub(super) struct Tags<'a, R: Read + Seek> {
    pub(super) decoder: &'a mut Decoder<Metered<R>>,
    pub(super) directory: &'a tiff::Directory,
}

impl<R: Read + Seek> Tags<'_, R> {
    fn value(&mut self, tag: Tag) -> Option<Value> {
        let entry = self.directory.get(tag)?;
        if entry.count() > MAX_DESCRIPTION {
            return None;
        }
        let mut directory = self.decoder.read_directory_tags(self.directory);
        directory.find_tag(tag).ok().flatten()
    }

    pub(super) fn text(&mut self, tag: Tag) -> Option<String> {
        match self.value(tag)? {
            Value::Ascii(text) => Some(text),
            _ => None,
        }
    }

    /// One number, or the n-th of several.
    fn number(&mut self, tag: Tag, n: usize) -> Option<f64> {
        let value = match self.value(tag)? {
            Value::List(values) => values.into_iter().nth(n)?,
            value if n == 0 => value,
            _ => return None,
        };
        let number = match value {
            Value::Double(number) => number,
            Value::Float(number) => f64::from(number),
            Value::Rational(a, b) => f64::from(a) / f64::from(b),
            Value::Short(number) => f64::from(number),
            Value::Unsigned(number) => f64::from(number),
            _ => return None,
        };
        number.is_finite().then_some(number)
    }

    pub(super) fn sizes(&mut self) -> Sizes {
        Sizes {
            x: self.number(Tag::XResolution, 0).filter(|x| *x > 0.0),
            y: self.number(Tag::YResolution, 0).filter(|y| *y > 0.0),
            unit: self
                .number(Tag::ResolutionUnit, 0)
                .map_or(2, |unit| unit as u16),
            nikon: self.number(nikon::CALIBRATION_UM, 0),
            micro_manager: None,
        }
    }

    /// When and where NIS-Elements took the page.
    pub(super) fn nikon(&mut self, page: &mut Page) {
        // The others mean this only beside it.
        if self.number(nikon::CALIBRATION_UM, 0).is_none() {
            return;
        }
        page.elapsed_ms = self.number(nikon::TIME_MS, 0);
        page.x_um = self.number(nikon::PLACE, 0);
        page.y_um = self.number(nikon::PLACE, 1);
        page.z_um = self.number(nikon::PLACE, 2);
    }
}

/// Private tags of NIS-Elements, as its files have them: numbers of 8 bytes.
mod nikon {
    use tiff::tags::Tag;

    /// Since the acquisition began.
    pub(super) const TIME_MS: Tag = Tag::Unknown(65325);
    /// Micrometres a pixel.
    pub(super) const CALIBRATION_UM: Tag = Tag::Unknown(65326);
    /// Micrometres: stage x, stage y, focus; then the time again.
    pub(super) const PLACE: Tag = Tag::Unknown(65329);
}
