//! The parameters that calls with a frame understand, and what they mean in the contract.

use prost_types::Duration;

use super::query::{Kind, Parameter, Query};
use crate::{proto as pb, server::problem::Problem};

const fn parameter(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, kind, about }
}

/// In which form cells are answered; see [`super::accept::Form`].
pub(super) const FORM: &[Parameter] = &[parameter(
    "as",
    Kind::One(&["json", "geojson", "labels", "overlay", "tiff", "csv", "roi"]),
    "The form of the answer, in place of `Accept`.",
)];

/// Of raw pixels: `RawPixels`; and the page of a TIFF.
pub(super) const PIXELS: &[Parameter] = &[
    parameter(
        "format",
        Kind::One(&[
            "Mono8",
            "Mono10",
            "Mono12",
            "Mono14",
            "Mono16",
            "Mono10p",
            "Mono12p",
            "Mono10Packed",
            "Mono12Packed",
            "RGB8",
            "BGR8",
            "RGBA8",
            "BGRA8",
            "RGB16",
        ]),
        "The body is raw pixels of this format (PFNC); needs width and height.",
    ),
    parameter("width", Kind::Whole, "Of raw pixels: pixels a row."),
    parameter("height", Kind::Whole, "Of raw pixels: rows."),
    parameter(
        "row_stride",
        Kind::Whole,
        "Of raw pixels: bytes from one row to the next; 0: dense.",
    ),
    parameter(
        "significant_bits",
        Kind::Whole,
        "Of raw pixels: bits that the camera uses; 0: the format's.",
    ),
    parameter(
        "big_endian",
        Kind::Truth,
        "Of raw pixels: 16-bit samples come high byte first.",
    ),
    parameter(
        "compression",
        Kind::One(&["none", "zlib", "lz4"]),
        "Of raw pixels: how they are compressed.",
    ),
    parameter(
        PAGE,
        Kind::Whole,
        "Of a TIFF: which page, from 0; of several pages one must be chosen.",
    ),
];

/// Of a file, where the others of [`PIXELS`] are of raw pixels.
pub(super) const PAGE: &str = "page";

/// Of the frame and its metadata: `Frame`, `FrameMetadata`.
pub(super) const FRAME: &[Parameter] = &[
    parameter(
        "id",
        Kind::Long,
        "The frame's id; default: a running number.",
    ),
    parameter(
        "flip_horizontal",
        Kind::Truth,
        "Mirror it left to right first.",
    ),
    parameter(
        "flip_vertical",
        Kind::Truth,
        "Mirror it top to bottom first.",
    ),
    parameter(
        "deadline_ms",
        Kind::Whole,
        "Milliseconds; a frame that has not started by then is dropped: 504.",
    ),
    parameter("pixel_size_um", Kind::Number, "Micrometres a pixel."),
    parameter("channel", Kind::Text, "Name of the channel."),
    parameter("position", Kind::Text, "Name of the stage position."),
    parameter("well", Kind::Text, "Name of the well."),
    parameter("t", Kind::Whole, "Index of the time point."),
    parameter("p", Kind::Whole, "Index of the position."),
    parameter("c", Kind::Whole, "Index of the channel."),
    parameter("z", Kind::Whole, "Index of the plane."),
    parameter("g", Kind::Whole, "Index within a grid."),
    parameter(
        "elapsed_ms",
        Kind::Number,
        "Milliseconds since the start of the experiment.",
    ),
];

/// Of a frame in a session.
pub(super) const MEASURE_ON: &[Parameter] = &[parameter(
    "measure_on",
    Kind::Long,
    "Not segmented: measured in the cells of that earlier frame of the session.",
)];

/// Thresholds of one frame, or of all of a session: `Thresholds`.
pub(super) const THRESHOLDS: &[Parameter] = &[
    parameter("confidence", Kind::Number, "Least score of a cell; 0 to 1."),
    parameter(
        "iou",
        Kind::Number,
        "Boxes that overlap by more are one cell; 0 to 1.",
    ),
    parameter("max_cells", Kind::Whole, "Most cells."),
    parameter(
        "min_area_um2",
        Kind::Number,
        "Smaller cells are hidden; square micrometres; needs pixel_size_um.",
    ),
    parameter(
        "max_area_um2",
        Kind::Number,
        "Larger cells are hidden; square micrometres; needs pixel_size_um.",
    ),
];

/// Of a session: `SessionOptions`.
pub(super) const OPTIONS: &[Parameter] = &[
    parameter(
        "model",
        Kind::Text,
        "A model's name; default: the server's first.",
    ),
    parameter(
        "measure",
        Kind::Some(&[
            "shape",
            "hull",
            "intensity",
            "background",
            "neighbours",
            "all",
        ]),
        "What is measured of each cell.",
    ),
    parameter(
        "masks",
        Kind::One(&["rle", "rings", "bits", "none"]),
        "The form of masks in JSON.",
    ),
    parameter("label_image", Kind::Truth, "A label image in JSON, too."),
    parameter(
        "tiling",
        Kind::One(&["auto", "on", "off"]),
        "Large frames in pieces.",
    ),
    parameter(
        "priority",
        Kind::One(&["background", "normal", "urgent"]),
        "Whose frame starts first.",
    ),
    parameter("name", Kind::Text, "What status and logs call it."),
];

/// What raw pixels cannot do without.
const NEEDED: [&str; 3] = ["format", "width", "height"];

/// What was said of the pixels; None: they are a file. Errors: raw pixels that are half described.
pub(super) fn raw(query: &Query) -> Result<Option<pb::RawPixels>, Problem> {
    let said = |name: &&str| query.text(name).is_some();
    let mut of_raw = PIXELS.iter().map(|it| it.name).filter(|it| *it != PAGE);
    let Some(first) = of_raw.find(said) else {
        return Ok(None);
    };
    let missing: Vec<&str> = NEEDED.into_iter().filter(|name| !said(name)).collect();
    if !missing.is_empty() {
        return Err(Problem::bad_request(format!(
            "parameter {first:?}: describes raw pixels, which need {}; missing: {}",
            NEEDED.join(", "),
            missing.join(", ")
        )));
    }
    if said(&PAGE) {
        return Err(Problem::bad_request(
            "parameter \"page\": is of a TIFF, but format says raw pixels; leave one of them out",
        ));
    }
    let format = query.text("format").unwrap_or_default().to_uppercase();
    let format = format!("PIXEL_FORMAT_{format}");
    let whole = |name| query.get(name).unwrap_or(0);
    let compression = match query.text("compression") {
        Some("zlib") => pb::Compression::Zlib,
        Some("lz4") => pb::Compression::Lz4,
        _ => pb::Compression::None,
    };
    Ok(Some(pb::RawPixels {
        format: pb::PixelFormat::from_str_name(&format)
            .unwrap_or_default()
            .into(),
        width: whole("width"),
        height: whole("height"),
        row_stride: whole("row_stride"),
        significant_bits: whole("significant_bits"),
        big_endian: query.get("big_endian").unwrap_or(false),
        compression: compression.into(),
        ..Default::default()
    }))
}

/// What was said of the frame goes over what its form says.
pub(super) fn frame(query: &Query, frame: &mut pb::Frame) {
    if let Some(id) = query.get("id") {
        frame.id = id;
    }
    frame.flip_horizontal = query.get("flip_horizontal").unwrap_or(false);
    frame.flip_vertical = query.get("flip_vertical").unwrap_or(false);
    frame.measure_on = query.get("measure_on");
    frame.deadline = query.get("deadline_ms").map(|ms: u32| Duration {
        seconds: i64::from(ms / 1000),
        nanos: (ms % 1000 * 1_000_000) as i32,
    });
    let metadata = frame.metadata.get_or_insert_default();
    metadata.pixel_size_um = query.get("pixel_size_um").or(metadata.pixel_size_um);
    metadata.elapsed_ms = query.get("elapsed_ms").or(metadata.elapsed_ms);
    for (name, text) in [
        ("channel", &mut metadata.channel),
        ("position", &mut metadata.position),
        ("well", &mut metadata.well),
    ] {
        if let Some(said) = query.text(name) {
            said.clone_into(text);
        }
    }
    for axis in ["t", "p", "c", "z", "g"] {
        if let Some(index) = query.get(axis) {
            metadata.index.insert(axis.to_owned(), index);
        }
    }
}

/// What was said of thresholds goes over `thresholds`; None: nothing was said at all.
pub(super) fn thresholds(
    query: &Query,
    thresholds: Option<pb::Thresholds>,
) -> Option<pb::Thresholds> {
    if THRESHOLDS.iter().all(|it| query.text(it.name).is_none()) {
        return thresholds;
    }
    let before = thresholds.unwrap_or_default();
    Some(pb::Thresholds {
        confidence: query.get("confidence").or(before.confidence),
        iou: query.get("iou").or(before.iou),
        max_cells: query.get("max_cells").or(before.max_cells),
        min_area_um2: query.get("min_area_um2").or(before.min_area_um2),
        max_area_um2: query.get("max_area_um2").or(before.max_area_um2),
        ..before
    })
}

/// What was said of the session goes over what its form says.
pub(super) fn options(query: &Query, options: &mut pb::SessionOptions) {
    options.thresholds = thresholds(query, options.thresholds.take());
    if let Some(model) = query.text("model") {
        model.clone_into(&mut options.model);
    }
    if let Some(name) = query.text("name") {
        name.clone_into(&mut options.name);
    }
    if let Some(masks) = query.text("masks") {
        let masks = match masks {
            "rings" => pb::MaskEncoding::Rings,
            "bits" => pb::MaskEncoding::Bits,
            "none" => pb::MaskEncoding::None,
            _ => pb::MaskEncoding::CocoRle,
        };
        options.outputs.get_or_insert_default().set_masks(masks);
    }
    if let Some(label_image) = query.get("label_image") {
        options.outputs.get_or_insert_default().label_image = Some(label_image);
    }
    if let Some(tiling) = query.text("tiling") {
        let mode = match tiling {
            "on" => pb::tiling::Mode::On,
            "off" => pb::tiling::Mode::Off,
            _ => pb::tiling::Mode::Auto,
        };
        options.tiling.get_or_insert_default().set_mode(mode);
    }
    if let Some(priority) = query.text("priority") {
        options.set_priority(match priority {
            "background" => pb::Priority::Background,
            "urgent" => pb::Priority::Urgent,
            _ => pb::Priority::Normal,
        });
    }
    for group in query.words("measure") {
        let measurements = options.measurements.get_or_insert_default();
        let all = group == "all";
        measurements.shape |= all || group == "shape";
        measurements.hull |= all || group == "hull";
        measurements.intensity |= all || group == "intensity";
        measurements.background |= all || group == "background";
        measurements.neighbours |= all || group == "neighbours";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::rest::accept::Form;

    #[test]
    fn every_format_of_the_contract_can_be_named() {
        let Kind::One(formats) = PIXELS[0].kind else {
            panic!("formats are words")
        };
        for format in formats {
            let uri = format!("/?format={format}&width=3&height=2").parse();
            let query = Query::of(&uri.unwrap(), &[PIXELS]).unwrap();
            let raw = raw(&query).unwrap().unwrap();
            assert_ne!(raw.format(), pb::PixelFormat::Unspecified, "{format}");
            assert_eq!(raw.width, 3);
        }
        let named = (1..=20).filter(|&n| pb::PixelFormat::try_from(n).is_ok());
        assert_eq!(formats.len(), named.count());
    }

    #[test]
    fn raw_pixels_that_are_half_described_say_what_is_missing() {
        for (query, words) in [
            ("width=3&height=2", "missing: format"),
            ("format=Mono8", "missing: width, height"),
            ("format=Mono8&width=3", "missing: height"),
            (
                "big_endian=true",
                "parameter \\\"big_endian\\\": describes raw pixels",
            ),
            (
                "format=Mono8&width=3&height=2&page=1",
                "leave one of them out",
            ),
        ] {
            let uri = format!("/?{query}").parse().unwrap();
            let refused = raw(&Query::of(&uri, &[PIXELS]).unwrap()).unwrap_err();
            let said = format!("{refused:?}");
            assert!(said.contains(words), "{query}: {said}");
        }
        for query in ["", "page=3"] {
            let uri = format!("/?{query}").parse().unwrap();
            let query = Query::of(&uri, &[PIXELS]).unwrap();
            assert_eq!(raw(&query).unwrap(), None);
        }
    }

    #[test]
    fn every_form_can_be_named() {
        let Kind::One(names) = FORM[0].kind else {
            panic!("forms are words")
        };
        assert_eq!(names, Form::ALL.map(Form::name));
    }

    #[test]
    fn what_is_said_goes_over_what_the_form_says() {
        let uri = "/?confidence=0.5&measure=shape,background&masks=rings&t=4&channel=DAPI";
        let query = Query::of(&uri.parse().unwrap(), &[THRESHOLDS, OPTIONS, FRAME]).unwrap();
        let mut said = pb::SessionOptions {
            model: "a".to_owned(),
            thresholds: Some(pb::Thresholds {
                confidence: Some(0.1),
                iou: Some(0.3),
                ..Default::default()
            }),
            ..Default::default()
        };
        options(&query, &mut said);
        let thresholds = said.thresholds.clone().unwrap();
        assert_eq!(
            (thresholds.confidence, thresholds.iou),
            (Some(0.5), Some(0.3))
        );
        assert_eq!(said.model, "a");
        assert_eq!(said.outputs.unwrap().masks(), pb::MaskEncoding::Rings);
        let measurements = said.measurements.unwrap();
        assert!(measurements.shape && measurements.background && !measurements.hull);
        let mut picture = pb::Frame::default();
        frame(&query, &mut picture);
        let metadata = picture.metadata.unwrap();
        assert_eq!(
            (metadata.index["t"], metadata.channel.as_str()),
            (4, "DAPI")
        );
    }
}
