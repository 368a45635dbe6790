//! The one input: a camera frame.

use bytes::Bytes;
use tonic::Status;

use super::{
    super::{Peer, shm::Regions},
    parameters::{Place, place},
};
use crate::{
    inference::{self as oip, model_infer_request::InferInputTensor},
    proto::{self as pb, frame::Pixels},
};

/// What it is called.
pub(super) const NAME: &str = "FRAME";

/// Samples that it may have.
pub(super) const DATATYPES: [&str; 2] = ["UINT8", "UINT16"];

/// What metadata, which has room for one, says that it is.
pub(super) const USUAL: &str = "UINT16";
pub(super) const SHAPE: [i64; 2] = [-1, -1];

/// The pixels of a request whose `inputs` and `raw` these are. Errors: in Triton's words where it has any.
pub(super) fn pixels(
    model: &str,
    inputs: &[InferInputTensor],
    raw: Vec<Bytes>,
    (regions, peer): (&Regions, &Peer),
) -> Result<Pixels, Status> {
    let input = only(model, inputs)?;
    let layout = layout(model, input)?;
    let bytes = bytes_of(&layout, input);
    let place = place(&input.parameters, &format!("input '{NAME}'"))?;
    let has_contents = input.contents.is_some();
    if raw.len() > 1 || (place.is_some() && !raw.is_empty()) {
        return Err(Status::invalid_argument(format!(
            "raw_input_contents has {} entries for model '{model}': one for each input that is not in shared memory is expected",
            raw.len()
        )));
    }
    match (place, raw.into_iter().next(), &input.contents) {
        (Some(_), _, Some(_)) => Err(Status::invalid_argument(format!(
            "contents field must not be specified for '{NAME}' of model '{model}', which is in shared memory"
        ))),
        (Some(place), _, None) => shared(model, layout, bytes, place, (regions, peer)),
        (None, Some(_), _) if has_contents => Err(Status::invalid_argument(format!(
            "contents field must not be specified when using raw_input_contents for '{NAME}' for model '{model}'"
        ))),
        (None, Some(data), _) => raw_pixels(model, layout, bytes, data),
        (None, None, Some(contents)) => {
            raw_pixels(model, layout, bytes, typed(model, input, contents)?)
        }
        (None, None, None) => Err(Status::invalid_argument(format!(
            "unable to find data for input tensor '{NAME}' for model '{model}' in request: neither raw_input_contents nor contents"
        ))),
    }
}

fn only<'a>(model: &str, inputs: &'a [InferInputTensor]) -> Result<&'a InferInputTensor, Status> {
    if let Some(other) = inputs.iter().find(|input| input.name != NAME) {
        return Err(Status::invalid_argument(format!(
            "unexpected inference input '{}' for model '{model}': '{NAME}' is its only one",
            other.name
        )));
    }
    match inputs {
        [input] => Ok(input),
        [] => Err(Status::invalid_argument(format!(
            "expected 1 inputs but got 0 inputs for model '{model}': '{NAME}' is missing"
        ))),
        _ => Err(Status::invalid_argument(format!(
            "input '{NAME}' already exists in request: one frame a request"
        ))),
    }
}

/// Format and size, without pixels.
fn layout(model: &str, input: &InferInputTensor) -> Result<pb::RawPixels, Status> {
    use pb::PixelFormat as Format;
    let datatype = input.datatype.as_str();
    let shape = &input.shape;
    let (height, width, format) = match (shape.as_slice(), datatype) {
        (&[height, width], "UINT8") => (height, width, Format::Mono8),
        (&[height, width], "UINT16") => (height, width, Format::Mono16),
        (&[height, width, 3], "UINT8") => (height, width, Format::Rgb8),
        (&[height, width, 3], "UINT16") => (height, width, Format::Rgb16),
        (_, datatype) if !DATATYPES.contains(&datatype) => {
            return Err(Status::invalid_argument(format!(
                "inference input '{NAME}' data-type is '{datatype}', but model '{model}' expects 'UINT16' or 'UINT8'"
            )));
        }
        _ => {
            return Err(Status::invalid_argument(format!(
                "unexpected shape for input '{NAME}' for model '{model}'. Expected [height,width] or [height,width,3], one frame without a batch dimension, got {shape:?}"
            )));
        }
    };
    let side = |side: i64| {
        u32::try_from(side).ok().filter(|&side| 0 < side).ok_or_else(|| {
            Status::invalid_argument(format!(
                "unexpected shape for input '{NAME}' for model '{model}': {side} of {shape:?} is no side of a frame"
            ))
        })
    };
    Ok(pb::RawPixels {
        format: format.into(),
        width: side(width)?,
        height: side(height)?,
        ..pb::RawPixels::default()
    })
}

/// Bytes of its pixels.
fn bytes_of(layout: &pb::RawPixels, input: &InferInputTensor) -> u128 {
    let samples = u128::from(layout.width) * u128::from(layout.height);
    let channels = if input.shape.len() == 3 { 3 } else { 1 };
    let width = if input.datatype == "UINT8" { 1 } else { 2 };
    samples * channels * width
}

fn raw_pixels(
    model: &str,
    layout: pb::RawPixels,
    bytes: u128,
    data: Bytes,
) -> Result<Pixels, Status> {
    if data.len() as u128 != bytes {
        return Err(mismatch(model, bytes, data.len() as u64));
    }
    Ok(Pixels::Raw(pb::RawPixels { data, ..layout }))
}

/// Values of the message, as bytes.
fn typed(
    model: &str,
    input: &InferInputTensor,
    contents: &oip::InferTensorContents,
) -> Result<Bytes, Status> {
    let oip::InferTensorContents {
        bool_contents,
        int_contents,
        int64_contents,
        uint_contents: values,
        uint64_contents,
        fp32_contents,
        fp64_contents,
        bytes_contents,
    } = contents;
    let others = [
        bool_contents.len(),
        int_contents.len(),
        int64_contents.len(),
        uint64_contents.len(),
        fp32_contents.len(),
        fp64_contents.len(),
        bytes_contents.len(),
    ];
    if others.iter().any(|&len| len != 0) {
        return Err(Status::invalid_argument(format!(
            "unexpected explicit tensor data for input tensor '{NAME}' for model '{model}': {} is expected in uint_contents",
            input.datatype
        )));
    }
    let most = if input.datatype == "UINT8" {
        0xff
    } else {
        0xffff
    };
    if let Some(value) = values.iter().find(|&&value| value > most) {
        return Err(Status::invalid_argument(format!(
            "input tensor '{NAME}' for model '{model}' is {}, and has the value {value}",
            input.datatype
        )));
    }
    let bytes: Vec<u8> = match most {
        0xff => values.iter().map(|&value| value as u8).collect(),
        _ => values
            .iter()
            .flat_map(|&value| (value as u16).to_le_bytes())
            .collect(),
    };
    Ok(bytes.into())
}

/// Pixels in a region of the caller's: looked for here, so that what is wrong is said in the request's own words; read by the session.
fn shared(
    model: &str,
    layout: pb::RawPixels,
    bytes: u128,
    place: Place,
    (regions, peer): (&Regions, &Peer),
) -> Result<Pixels, Status> {
    if u128::from(place.byte_size) != bytes {
        return Err(mismatch(model, bytes, place.byte_size));
    }
    place.check(regions, peer)?;
    Ok(Pixels::Shared(pb::SharedSlot {
        region: place.region,
        offset: place.offset,
        layout: Some(layout),
    }))
}

fn mismatch(model: &str, expected: u128, got: u64) -> Status {
    Status::invalid_argument(format!(
        "input byte size mismatch for input '{NAME}' for model '{model}'. Expected {expected}, got {got}"
    ))
}
