//! A frame's answer as the protocol's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Instant,
};

use tonic::{Code, Status};

use super::{
    super::{
        Peer, Served, Shared,
        convert::micros,
        dialog::FrameAnswer,
        stream::{Unread, on_work_pool},
        wording,
    },
    parameters::{Place, parameter},
    request::Wanted,
    tensors::Tensor,
};
use crate::{
    inference::{
        self as oip, infer_parameter::ParameterChoice as Choice,
        model_infer_response::InferOutputTensor,
    },
    proto::{self as pb, failed::Code as Failure, frame_reply::Outcome},
};

/// What a request is answered with.
pub(super) struct Answered {
    /// But for the model and the request's id.
    pub(super) response: oip::ModelInferResponse,
    pub(super) timing: pb::Timing,
    /// The model that answered; gone with its last session.
    pub(super) served: Weak<Served>,
    /// Until the transport has the response.
    pub(super) _unread: Unread,
}

/// Where outputs may be written: regions of this peer.
pub(super) struct Memory {
    pub(super) shared: Arc<Shared>,
    pub(super) owner: Peer,
}

impl Answered {
    /// Made of a frame's answer. Errors: what became of the frame, if it has no cells, and outputs that
    /// find no room in shared memory.
    pub(super) async fn new(
        answer: FrameAnswer,
        wanted: Wanted,
        memory: Memory,
        arrived: Instant,
    ) -> Result<Self, Status> {
        let FrameAnswer {
            reply,
            cells,
            opened,
            served,
            unread,
        } = answer;
        let segmentation = match reply.outcome {
            Some(Outcome::Segmentation(segmentation)) => segmentation,
            Some(Outcome::Failed(failed)) => return Err(failure(&failed)),
            Some(Outcome::Dropped(dropped)) => return Err(drop_status(dropped)),
            Some(Outcome::Measured(_)) | None => return Err(defect()),
        };
        let cells = cells.ok_or_else(defect)?;
        let mut timing = reply.timing.unwrap_or_default();
        let truncated = segmentation.truncated;
        let encoding = Instant::now();
        let made = on_work_pool(move || {
            let mut tensors = Vec::new();
            for (output, place) in wanted.outputs {
                let mut tensor = output.made(&segmentation, &cells, wanted.label_by);
                let parameters = match place {
                    None => BTreeMap::new(),
                    Some(place) => memory.write(&mut tensor, &place)?,
                };
                tensors.push((tensor, parameters));
            }
            Ok::<_, Status>(tensors)
        });
        let tensors = made.await.ok_or_else(defect)??;
        timing.encode = timing.encode.saturating_add(micros(encoding.elapsed()));
        timing.total = micros(arrived.elapsed());
        let mut parameters = times(&timing);
        let mut tell = |name: &str, choice| parameters.insert(name.to_owned(), parameter(choice));
        tell("session", Choice::StringParam(opened.session.clone()));
        tell("revision", Choice::Int64Param(reply.revision.into()));
        if truncated {
            tell("truncated", Choice::BoolParam(true));
        }
        if !reply.notices.is_empty() {
            tell("notices", Choice::StringParam(notices(&reply.notices)));
        }
        let (outputs, raw_output_contents) = tensors
            .into_iter()
            .map(|(tensor, parameters)| told(tensor, parameters))
            .unzip();
        let response = oip::ModelInferResponse {
            parameters,
            outputs,
            raw_output_contents,
            ..oip::ModelInferResponse::default()
        };
        Ok(Answered {
            response,
            timing,
            served,
            _unread: unread,
        })
    }
}

impl Memory {
    /// Moves a tensor's elements there. What comes back says so in the answer.
    fn write(
        &self,
        tensor: &mut Tensor,
        place: &Place,
    ) -> Result<BTreeMap<String, oip::InferParameter>, Status> {
        let needed = tensor.bytes.len();
        if (needed as u64) > place.byte_size {
            return Err(Status::invalid_argument(format!(
                "shared memory size specified with the request for output '{}' should be at least {needed} bytes to hold the results, it is {}",
                tensor.output.name(),
                place.byte_size
            )));
        }
        let bytes = std::mem::take(&mut tensor.bytes);
        let regions = &self.shared.regions;
        regions.write(&self.owner, &place.region, place.offset, &bytes)?;
        Ok(place.told(needed))
    }
}

fn told(
    tensor: Tensor,
    parameters: BTreeMap<String, oip::InferParameter>,
) -> (InferOutputTensor, bytes::Bytes) {
    let told = InferOutputTensor {
        name: tensor.output.name().to_owned(),
        datatype: tensor.datatype.to_owned(),
        shape: tensor.shape,
        parameters,
        contents: None,
    };
    (told, tensor.bytes)
}

/// The contract's times, microseconds, each under its name.
fn times(timing: &pb::Timing) -> BTreeMap<String, oip::InferParameter> {
    let stages = wording::stages(timing).into_iter();
    let times = stages.chain([("total", timing.total)]);
    times
        .map(|(stage, time)| (format!("{stage}_us"), time))
        .chain([("tiles".to_owned(), timing.tiles)])
        .map(|(name, number)| (name, parameter(Choice::Int64Param(number.into()))))
        .collect()
}

/// One a line.
fn notices(notices: &[pb::Notice]) -> String {
    let lines: Vec<String> = notices.iter().map(wording::notice).collect();
    lines.join("\n")
}

fn failure(failed: &pb::Failed) -> Status {
    let code = match failed.code() {
        Failure::InvalidFrame | Failure::TooLarge => Code::InvalidArgument,
        Failure::Unsupported => Code::Unimplemented,
        Failure::LaneLost | Failure::DeviceLost | Failure::Overloaded => Code::Unavailable,
        Failure::Internal | Failure::Unspecified => Code::Internal,
    };
    Status::new(code, failed.message.clone())
}

fn drop_status(dropped: pb::Dropped) -> Status {
    use pb::dropped::Reason;
    match dropped.reason() {
        Reason::Deadline => {
            Status::unavailable("Request timeout expired: no lane was free within 'timeout'")
        }
        Reason::NewerFrame => Status::unavailable(
            "a newer frame of its series took its place: delivery is \"latest\"",
        ),
        Reason::Draining => Status::unavailable("the daemon is draining"),
        Reason::Cancelled | Reason::Unspecified => Status::cancelled("the request was cancelled"),
    }
}

fn defect() -> Status {
    Status::internal("a defect of the daemon while answering; its log says more")
}
