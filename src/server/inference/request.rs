//! A request, understood and checked.

use std::sync::Arc;

use tonic::Status;

use super::{
    super::{Peer, Served, Shared},
    frame,
    options::{InSequence, Wishes},
    parameters::{Place, place},
    tensors::Output,
};
use crate::{
    inference::{self as oip, model_infer_request::InferRequestedOutputTensor},
    proto::{self as pb, frame::Pixels},
};

/// What a request asks for, in the contract's words.
pub(super) struct Asked {
    pub(super) options: pb::SessionOptions,
    pub(super) frame: pb::Frame,
    pub(super) sequence: Option<InSequence>,
    pub(super) wanted: Wanted,
}

/// What its answer holds.
pub(super) struct Wanted {
    /// In the order of [`Output::ALL`], each once; where it is to be written, if not into the answer.
    pub(super) outputs: Vec<(Output, Option<Place>)>,
    pub(super) label_by: pb::LabelBy,
}

impl Asked {
    /// Errors: whatever of it cannot be meant.
    pub(super) fn new(
        shared: &Shared,
        peer: &Peer,
        served: &Arc<Served>,
        request: oip::ModelInferRequest,
    ) -> Result<Self, Status> {
        let model = served.name();
        let regions = &shared.regions;
        let wishes = Wishes::new(model, &request.parameters)?;
        let wanted = Wanted {
            outputs: outputs(model, &request.outputs)?,
            label_by: wishes.label_by,
        };
        for (_, place) in &wanted.outputs {
            place
                .as_ref()
                .map_or(Ok(()), |place| place.check_for_answer(regions, peer))?;
        }
        let raw = request.raw_input_contents;
        let mut pixels = frame::pixels(model, &request.inputs, raw, (regions, peer))?;
        if let Pixels::Raw(layout)
        | Pixels::Shared(pb::SharedSlot {
            layout: Some(layout),
            ..
        }) = &mut pixels
        {
            layout.significant_bits = wishes.significant_bits;
        }
        let deadline = wishes.deadline.map(|deadline| {
            prost_types::Duration::try_from(deadline).map_err(|_| {
                Status::invalid_argument(format!("parameter 'timeout': {deadline:?} is too long"))
            })
        });
        let frame = pb::Frame {
            id: shared.inference.next_frame_id(),
            pixels: Some(pixels),
            metadata: Some(wishes.metadata),
            deadline: deadline.transpose()?,
            thresholds: Some(wishes.thresholds),
            ..pb::Frame::default()
        };
        Ok(Asked {
            options: wishes.options,
            frame,
            sequence: wishes.sequence,
            wanted,
        })
    }
}

fn outputs(
    model: &str,
    requested: &[InferRequestedOutputTensor],
) -> Result<Vec<(Output, Option<Place>)>, Status> {
    if requested.is_empty() {
        let usual = Output::ALL.into_iter().filter(|output| output.is_usual());
        return Ok(usual.map(|output| (output, None)).collect());
    }
    let mut outputs = Vec::new();
    for tensor in requested {
        let name = &tensor.name;
        let output = Output::named(name).ok_or_else(|| {
            let known = Output::ALL.map(Output::name).join(", ");
            Status::invalid_argument(format!(
                "unexpected inference output '{name}' for model '{model}'; there are {known}"
            ))
        })?;
        if outputs.iter().any(|&(other, _)| other == output) {
            return Err(Status::invalid_argument(format!(
                "output '{name}' already exists in request"
            )));
        }
        let place = place(&tensor.parameters, &format!("output '{name}'"))?;
        outputs.push((output, place));
    }
    outputs.sort_by_key(|&(output, _)| output);
    Ok(outputs)
}
