//! A request's parameters as the contract's options: names are the contract's.

mod parts;

use std::{collections::BTreeMap, fmt, time::Duration};

use tonic::Status;

use super::parameters::Parameter;
use crate::{inference::InferParameter, proto as pb};
use parts::{Parts, Policy};

/// What a request asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// Of the session: the same for all requests of a sequence.
    pub(super) options: pb::SessionOptions,
    pub(super) thresholds: pb::Thresholds,
    pub(super) metadata: pb::FrameMetadata,
    pub(super) deadline: Option<Duration>,
    pub(super) significant_bits: u32,
    pub(super) label_by: pb::LabelBy,
    pub(super) sequence: Option<InSequence>,
}

/// A request's place in a sequence.
#[derive(Clone, Debug)]
pub(super) struct InSequence {
    pub(super) id: SequenceId,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

/// The client's name for a sequence: 5 and "5" are two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum SequenceId {
    Number(u64),
    Word(String),
}

/// Bytes of a sequence's name.
const MAX_WORD: usize = 256;

/// Reserved by the protocol and by Triton, without a meaning here.
const RESERVED: [&str; 2] = ["headers", "binary_data_output"];
const RESERVED_PREFIX: &str = "triton_";

/// In the order in which people look for them.
const UNDERSTOOD: [&str; 49] = [
    "confidence",
    "iou",
    "class_agnostic",
    "max_cells",
    "classes",
    "border",
    "min_area_px",
    "min_area_um2",
    "max_area_um2",
    "normalization",
    "low",
    "high",
    "min_span",
    "tiling",
    "overlap",
    "target_um_per_px",
    "label_by",
    "significant_bits",
    "sequence_id",
    "sequence_start",
    "sequence_end",
    "session_name",
    "delivery",
    "priority",
    "timeout",
    "track",
    "max_gap",
    "max_distance_px",
    "max_distance_um",
    "divisions",
    "pixel_size_um",
    "channel",
    "position",
    "camera",
    "plate",
    "well",
    "field",
    "exposure_ms",
    "elapsed_ms",
    "x_um",
    "y_um",
    "z_um",
    "binning",
    "t",
    "p",
    "c",
    "z",
    "g",
    "z_plane",
];

/// The contract's fields, and where they are among the parameters.
const FIELDS: [(&str, &str); 6] = [
    ("thresholds.", "parameter "),
    ("tiling.", "parameter "),
    ("tracking.", "parameter "),
    ("metadata.", "parameter "),
    ("normalization.percentiles.", "parameter "),
    ("normalization.", "parameter normalization "),
];

/// What a session says is wrong, in the names that the client has used.
pub(super) fn in_parameters(told: &str) -> String {
    let named = FIELDS.iter().find_map(|(field, parameter)| {
        let rest = told.strip_prefix(field)?;
        // Two that do not go together are both named.
        Some(format!("{parameter}{}", rest.replace(field, "")))
    });
    named.unwrap_or_else(|| told.to_owned())
}

impl Wishes {
    /// What `parameters` ask of `model`. Errors: one that is not understood, or cannot be meant.
    pub(super) fn new(
        model: &str,
        parameters: &BTreeMap<String, InferParameter>,
    ) -> Result<Self, Status> {
        let mut wishes = Wishes {
            label_by: pb::LabelBy::Instance,
            ..Wishes::default()
        };
        wishes.options.model = model.to_owned();
        // Made here, of what was asked for.
        wishes.options.outputs = Some(pb::Outputs {
            masks: pb::MaskEncoding::None.into(),
            ..pb::Outputs::default()
        });
        let mut parts = Parts::default();
        for (name, parameter) in parameters {
            let parameter = Parameter::new(name, parameter);
            let understood = wishes.cells(parameter)?
                || wishes.session(parameter, &mut parts)?
                || wishes.frame(parameter)?
                || RESERVED.contains(&parameter.name)
                || name.starts_with(RESERVED_PREFIX);
            if !understood {
                return Err(Status::invalid_argument(format!(
                    "unexpected parameter '{name}' for model '{model}'; understood are {}",
                    UNDERSTOOD.join(", ")
                )));
            }
        }
        wishes.options.normalization = parts.normalization()?;
        wishes.options.tracking = parts.tracking()?;
        wishes.sequence = parts.sequence()?;
        if wishes.options.tracking.is_some() && wishes.sequence.is_none() {
            return Err(Status::invalid_argument(
                "parameter 'track' needs a sequence: sequence_id, and sequence_start on its first request",
            ));
        }
        Ok(wishes)
    }

    /// Which cells are kept.
    fn cells(&mut self, parameter: Parameter<'_>) -> Result<bool, Status> {
        let thresholds = &mut self.thresholds;
        match parameter.name {
            "confidence" => thresholds.confidence = Some(parameter.number()? as f32),
            "iou" => thresholds.iou = Some(parameter.number()? as f32),
            "class_agnostic" => thresholds.class_agnostic = Some(parameter.flag()?),
            "max_cells" => thresholds.max_cells = Some(parameter.whole_32()?),
            "min_area_px" => thresholds.min_area_px = Some(parameter.whole_32()?),
            "min_area_um2" => thresholds.min_area_um2 = Some(parameter.number()? as f32),
            "max_area_um2" => thresholds.max_area_um2 = Some(parameter.number()? as f32),
            "classes" => thresholds.classes = class_indices(parameter)?,
            "border" => {
                thresholds.border = parameter
                    .one_of(&[
                        ("keep", pb::BorderRule::Keep),
                        ("drop", pb::BorderRule::Drop),
                        ("unbiased", pb::BorderRule::Unbiased),
                    ])?
                    .into();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What holds for a session.
    fn session(&mut self, parameter: Parameter<'_>, parts: &mut Parts) -> Result<bool, Status> {
        let options = &mut self.options;
        match parameter.name {
            "sequence_id" => parts.sequence = sequence_id(parameter)?,
            "sequence_start" => parts.is_first = parameter.flag()?,
            "sequence_end" => parts.is_last = parameter.flag()?,
            "session_name" => parameter.text()?.clone_into(&mut options.name),
            "delivery" => {
                options.delivery = parameter
                    .one_of(&[
                        ("lossless", pb::Delivery::Lossless),
                        ("latest", pb::Delivery::Latest),
                    ])?
                    .into();
            }
            "priority" => options.priority = priority(parameter)?.into(),
            "track" => parts.tracks = parameter.flag()?,
            "max_gap" => parts.tracking.max_gap = Some(parameter.whole_32()?),
            "max_distance_px" => parts.tracking.max_distance_px = Some(parameter.number()?),
            "max_distance_um" => parts.tracking.max_distance_um = Some(parameter.number()?),
            "divisions" => parts.tracking.divisions = Some(parameter.flag()?),
            "z_plane" => parts.tracking.z_plane = Some(parameter.whole_32()?),
            "normalization" => {
                parts.policy = Some(parameter.one_of(&[
                    ("full_range", Policy::FullRange),
                    ("window", Policy::Window),
                    ("percentiles", Policy::Percentiles),
                ])?);
            }
            "low" => parts.low = Some(parameter.number()?),
            "high" => parts.high = Some(parameter.number()?),
            "min_span" => parts.min_span = Some(parameter.number()?),
            "tiling" => {
                use pb::tiling::Mode;
                let mode = parameter.one_of(&[
                    ("auto", Mode::Auto),
                    ("off", Mode::Off),
                    ("on", Mode::On),
                ])?;
                options.tiling.get_or_insert_default().mode = mode.into();
            }
            "overlap" => {
                options.tiling.get_or_insert_default().overlap = Some(parameter.number()?);
            }
            "target_um_per_px" => {
                options.tiling.get_or_insert_default().target_um_per_px = Some(parameter.number()?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is known of the frame.
    fn frame(&mut self, parameter: Parameter<'_>) -> Result<bool, Status> {
        let metadata = &mut self.metadata;
        match parameter.name {
            "timeout" => {
                // As in Triton 0 is none.
                let timeout = parameter.whole()?;
                self.deadline = (timeout != 0).then(|| Duration::from_micros(timeout));
            }
            "significant_bits" => self.significant_bits = parameter.whole_32()?,
            "label_by" => {
                self.label_by = parameter.one_of(&[
                    ("instance", pb::LabelBy::Instance),
                    ("track", pb::LabelBy::Track),
                ])?;
            }
            "channel" => parameter.text()?.clone_into(&mut metadata.channel),
            "position" => parameter.text()?.clone_into(&mut metadata.position),
            "camera" => parameter.text()?.clone_into(&mut metadata.camera),
            "plate" => parameter.text()?.clone_into(&mut metadata.plate),
            "well" => parameter.text()?.clone_into(&mut metadata.well),
            "field" => metadata.field = Some(parameter.whole_32()?),
            "exposure_ms" => metadata.exposure_ms = Some(parameter.number()?),
            "elapsed_ms" => metadata.elapsed_ms = Some(parameter.number()?),
            "x_um" => metadata.x_um = Some(parameter.number()?),
            "y_um" => metadata.y_um = Some(parameter.number()?),
            "z_um" => metadata.z_um = Some(parameter.number()?),
            "pixel_size_um" => metadata.pixel_size_um = Some(parameter.number()?),
            "binning" => metadata.binning = Some(parameter.whole_32()?),
            axis @ ("t" | "p" | "c" | "z" | "g") => {
                metadata
                    .index
                    .insert(axis.to_owned(), parameter.whole_32()?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl fmt::Display for SequenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SequenceId::Number(number) => write!(f, "{number}"),
            SequenceId::Word(word) => write!(f, "{word:?}"),
        }
    }
}

/// None: 0 and the empty word are none, as in Triton.
fn sequence_id(parameter: Parameter<'_>) -> Result<Option<SequenceId>, Status> {
    if !parameter.is_text() {
        let number = parameter.whole()?;
        return Ok((number != 0).then_some(SequenceId::Number(number)));
    }
    match parameter.text()? {
        "" => Ok(None),
        word if word.len() <= MAX_WORD => Ok(Some(SequenceId::Word(word.to_owned()))),
        _ => Err(parameter.wrong(&format!("a name of at most {MAX_WORD} bytes"))),
    }
}

/// Triton's numbers, of which 0 is the default and 1 comes first, or the contract's words.
fn priority(parameter: Parameter<'_>) -> Result<pb::Priority, Status> {
    if parameter.is_text() {
        return parameter.one_of(&[
            ("background", pb::Priority::Background),
            ("normal", pb::Priority::Normal),
            ("urgent", pb::Priority::Urgent),
        ]);
    }
    Ok(match parameter.whole()? {
        0 => pb::Priority::Unspecified,
        1 => pb::Priority::Urgent,
        2 => pb::Priority::Normal,
        _ => pb::Priority::Background,
    })
}

/// One index, or some as "0,2".
fn class_indices(parameter: Parameter<'_>) -> Result<Vec<u32>, Status> {
    if !parameter.is_text() {
        return Ok(vec![parameter.whole_32()?]);
    }
    let indices = parameter
        .text()?
        .split(',')
        .map(|index| index.trim().parse());
    let indices: Result<Vec<u32>, _> = indices.collect();
    indices.map_err(|_| parameter.wrong("class indices as \"0,2\""))
}

#[cfg(test)]
mod tests;
