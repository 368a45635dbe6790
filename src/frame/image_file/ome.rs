//! OME-XML in the description of a TIFF's first page: which plane each page is (OME-TIFF specification, 6.x).

use std::collections::HashMap;

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::{Page, PixelSize, units};

/// What OME-XML says of a file.
#[derive(Debug, Default)]
pub(super) struct Ome {
    pub(super) pixel_size: Option<PixelSize>,
    images: Vec<Image>,
    /// Of each page.
    places: Vec<Option<Place>>,
    planes: HashMap<Place, Plane>,
}

/// Which plane of which image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    image: usize,
    c: u32,
    z: u32,
    t: u32,
}

#[derive(Debug, Default)]
struct Image {
    name: String,
    /// Fastest axis first.
    order: String,
    size_c: u32,
    size_z: u32,
    size_t: u32,
    channels: Vec<String>,
    /// Of the first channel: 3 where a page is coloured.
    samples_per_pixel: u32,
    interval_ms: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Plane {
    elapsed_ms: Option<f64>,
    exposure_ms: Option<f64>,
    x_um: Option<f64>,
    y_um: Option<f64>,
    z_um: Option<f64>,
}

/// Pages that are planes.
#[derive(Debug, Default)]
struct TiffData {
    ifd: Option<u32>,
    plane_count: Option<u32>,
    first: [u32; 3],
    /// Of the file that has them.
    uuid: Option<String>,
}

/// None where the description is not OME-XML; what was understood before a fault, where it is damaged. `n_pages`: of the file.
pub(super) fn read(description: &str, n_pages: usize) -> Option<Ome> {
    if !description.contains("<OME") {
        return None;
    }
    let mut ome = Ome {
        places: vec![None; n_pages],
        ..Ome::default()
    };
    let mut own_uuid = None;
    let mut data = None;
    let mut in_uuid = false;
    let mut reader = Reader::from_str(description);
    // Entities other than XML's own five are not expanded, and nothing here nests: a short text stays short.
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Eof => break,
            Event::Start(element) => {
                let name = element.local_name();
                match name.as_ref() {
                    "OME" => own_uuid = attribute(&element, "UUID"),
                    "TiffData" => data = Some(TiffData::read(&element)),
                    "UUID" => in_uuid = data.is_some(),
                    other => ome.take(other, &element),
                }
            }
            Event::Empty(element) => {
                let name = element.local_name();
                match name.as_ref() {
                    "TiffData" => ome.place(&TiffData::read(&element)),
                    other => ome.take(other, &element),
                }
            }
            Event::Text(text) if in_uuid => {
                if let Some(data) = &mut data {
                    let text: &str = text.as_ref();
                    data.uuid = Some(text.trim().to_owned());
                }
            }
            Event::End(element) => {
                let name = element.local_name();
                match name.as_ref() {
                    "UUID" => in_uuid = false,
                    "TiffData" => {
                        // Planes of other files of the same set are theirs.
                        let data = data.take().unwrap_or_default();
                        if own_uuid.is_none() || data.uuid.is_none() || data.uuid == own_uuid {
                            ome.place(&data);
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Some(ome)
}

impl Ome {
    /// Says of each page which plane it is.
    pub(super) fn describe(&self, pages: &mut [Page]) {
        for (page, place) in pages.iter_mut().zip(&self.places) {
            let Some(place) = place else { continue };
            let image = &self.images[place.image];
            for (axis, value) in [
                ("p", place.image as u32),
                ("c", place.c),
                ("z", place.z),
                ("t", place.t),
            ] {
                page.index.insert(axis.to_owned(), value);
            }
            page.channel = image
                .channels
                .get(place.c as usize)
                .cloned()
                .unwrap_or_default();
            if self.images.len() > 1 {
                page.position = image.name.clone();
            }
            let plane = self.planes.get(place).copied().unwrap_or_default();
            let by_interval = image.interval_ms.map(|ms| f64::from(place.t) * ms);
            page.elapsed_ms = plane.elapsed_ms.or(by_interval);
            page.exposure_ms = plane.exposure_ms;
            (page.x_um, page.y_um, page.z_um) = (plane.x_um, plane.y_um, plane.z_um);
        }
    }

    fn take(&mut self, name: &str, element: &BytesStart) {
        match name {
            "Image" => self.images.push(Image {
                name: attribute(element, "Name").unwrap_or_default(),
                samples_per_pixel: 1,
                ..Image::default()
            }),
            "Pixels" => self.pixels(element),
            "Channel" => {
                if let Some(image) = self.images.last_mut() {
                    if image.channels.is_empty() {
                        image.samples_per_pixel = count(element, "SamplesPerPixel", 1);
                    }
                    image
                        .channels
                        .push(attribute(element, "Name").unwrap_or_default());
                }
            }
            "Plane" => self.plane(element),
            _ => {}
        }
    }

    fn pixels(&mut self, element: &BytesStart) {
        let Some(image) = self.images.last_mut() else {
            return;
        };
        image.order = attribute(element, "DimensionOrder").unwrap_or_default();
        image.size_c = count(element, "SizeC", 1);
        image.size_z = count(element, "SizeZ", 1);
        image.size_t = count(element, "SizeT", 1);
        image.interval_ms = time_ms(element, "TimeIncrement").filter(|ms| *ms > 0.0);
        let size = |axis: &str| length_um(element, &format!("PhysicalSize{axis}"), "um");
        let size = PixelSize::new("OME-XML", size("X"), size("Y"));
        self.pixel_size = self.pixel_size.or(size);
    }

    fn plane(&mut self, element: &BytesStart) {
        let Some(image) = self.images.len().checked_sub(1) else {
            return;
        };
        let the = |axis: &str| number(element, axis).unwrap_or(0);
        let place = Place {
            image,
            c: the("TheC"),
            z: the("TheZ"),
            t: the("TheT"),
        };
        let plane = Plane {
            elapsed_ms: time_ms(element, "DeltaT"),
            exposure_ms: time_ms(element, "ExposureTime"),
            x_um: length_um(element, "PositionX", "reference frame"),
            y_um: length_um(element, "PositionY", "reference frame"),
            z_um: length_um(element, "PositionZ", "reference frame"),
        };
        self.planes.insert(place, plane);
    }

    /// Notes which planes some pages are.
    fn place(&mut self, data: &TiffData) {
        let Some((number, image)) = self.images.iter().enumerate().next_back() else {
            return;
        };
        // By the specification: one plane where a page is named, else all pages.
        let planes = data.plane_count.unwrap_or(match data.ifd {
            Some(_) => 1,
            None => u32::MAX,
        });
        let ifd = data.ifd.unwrap_or(0) as usize;
        let pages = self.places.iter_mut().skip(ifd).take(planes as usize);
        let first = image.number_of(data.first);
        for (place, n) in pages.zip(first..image.n_planes()) {
            let [c, z, t] = image.plane(n);
            *place = Some(Place {
                image: number,
                c,
                z,
                t,
            });
        }
    }
}

impl Image {
    /// c, z and t, the fastest first, with their sizes. A page of three samples is one plane of three channels.
    fn axes(&self) -> [(usize, u64); 3] {
        let size = [
            u64::from((self.size_c / self.samples_per_pixel).max(1)),
            u64::from(self.size_z),
            u64::from(self.size_t),
        ];
        let order: Vec<usize> = self
            .order
            .chars()
            .filter_map(|axis| "CZT".find(axis))
            .collect();
        let order = <[usize; 3]>::try_from(order).unwrap_or([0, 1, 2]);
        order.map(|axis| (axis, size[axis]))
    }

    fn n_planes(&self) -> u64 {
        self.axes()
            .iter()
            .fold(1, |n, (_, size)| n.saturating_mul(*size))
    }

    /// Counted in the order of the file, from c, z and t.
    fn number_of(&self, place: [u32; 3]) -> u64 {
        let (mut number, mut step) = (0_u64, 1_u64);
        for (axis, size) in self.axes() {
            number = number.saturating_add(u64::from(place[axis]).saturating_mul(step));
            step = step.saturating_mul(size);
        }
        number
    }

    /// c, z and t of the n-th plane.
    fn plane(&self, n: u64) -> [u32; 3] {
        let mut place = [0; 3];
        let mut rest = n;
        for (axis, size) in self.axes() {
            place[axis] = (rest % size) as u32;
            rest /= size;
        }
        place
    }
}

impl TiffData {
    fn read(element: &BytesStart) -> TiffData {
        let first = |axis: &str| number(element, axis).unwrap_or(0);
        TiffData {
            ifd: number(element, "IFD"),
            plane_count: number(element, "PlaneCount"),
            first: [first("FirstC"), first("FirstZ"), first("FirstT")],
            uuid: None,
        }
    }
}

fn attribute(element: &BytesStart, name: &str) -> Option<String> {
    let mut attributes = element.attributes();
    let found = attributes
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == name)?;
    let value = found.normalized_value(XmlVersion::Implicit1_0).ok()?;
    Some(value.into_owned())
}

fn number(element: &BytesStart, name: &str) -> Option<u32> {
    attribute(element, name)?.trim().parse().ok()
}

/// At least 1.
fn count(element: &BytesStart, name: &str, default: u32) -> u32 {
    number(element, name).unwrap_or(default).max(1)
}

fn float(element: &BytesStart, name: &str) -> Option<f64> {
    let value: f64 = attribute(element, name)?.trim().parse().ok()?;
    value.is_finite().then_some(value)
}

fn length_um(element: &BytesStart, name: &str, default_unit: &str) -> Option<f64> {
    let unit = attribute(element, &format!("{name}Unit"));
    units::micrometres(
        float(element, name)?,
        unit.as_deref().unwrap_or(default_unit),
    )
}

fn time_ms(element: &BytesStart, name: &str) -> Option<f64> {
    let unit = attribute(element, &format!("{name}Unit"));
    units::milliseconds(float(element, name)?, unit.as_deref().unwrap_or("s"))
}
