//! ImageJ's description of a stack: lines of `key=value`, channels fastest, then slices, then frames.

use std::collections::BTreeMap;

use super::{Page, PixelSize, units};

/// What ImageJ says of a file in the description of its first page.
#[derive(Debug)]
pub(super) struct ImageJ<'a> {
    values: BTreeMap<&'a str, &'a str>,
}

impl<'a> ImageJ<'a> {
    /// None where the description is not ImageJ's.
    pub(super) fn read(description: &'a str) -> Option<ImageJ<'a>> {
        let values = description.starts_with("ImageJ=").then(|| {
            let lines = description.lines();
            lines.filter_map(|line| line.split_once('=')).collect()
        });
        Some(ImageJ { values: values? })
    }

    /// Pages that the stack is said to have.
    pub(super) fn n_images(&self) -> u32 {
        self.size("images")
    }

    /// From TIFF's resolutions, pixels a unit.
    pub(super) fn pixel_size(&self, x: Option<f64>, y: Option<f64>) -> Option<PixelSize> {
        let unit = *self.values.get("unit")?;
        let um = |resolution: f64| units::micrometres(1.0 / resolution, unit);
        PixelSize::new("ImageJ", x.and_then(um), y.and_then(um))
    }

    /// Which channel, slice and frame each page is.
    pub(super) fn describe(&self, pages: &mut [Page]) {
        let (channels, slices) = (self.size("channels"), self.size("slices"));
        let interval_ms = self
            .number("finterval")
            .and_then(|interval| {
                let unit = self.values.get("tunit").copied().unwrap_or("sec");
                units::milliseconds(interval, unit)
            })
            .filter(|interval| *interval > 0.0);
        for (n, page) in (0..).zip(pages) {
            let t = n / channels / slices;
            for (axis, value) in [("c", n % channels), ("z", n / channels % slices), ("t", t)] {
                page.index.insert(axis.to_owned(), value);
            }
            page.elapsed_ms = interval_ms.map(|interval| f64::from(t) * interval);
        }
    }

    fn size(&self, key: &str) -> u32 {
        let size = self
            .values
            .get(key)
            .and_then(|size| size.trim().parse().ok());
        size.unwrap_or(1).max(1)
    }

    fn number(&self, key: &str) -> Option<f64> {
        let number: f64 = self.values.get(key)?.trim().parse().ok()?;
        number.is_finite().then_some(number)
    }
}
