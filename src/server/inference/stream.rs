//! Triton's stream: requests in, answers in their order; one that fails does not end it.

use std::pin::Pin;

use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Status, Streaming};

use super::{
    super::{Draining, places::Place},
    infer::{Asking, InFlight},
    parameters::parameter,
};
use crate::inference::{self as oip, infer_parameter::ParameterChoice as Choice};

/// What the transport takes.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Answer> + Send>>;

type Answer = Result<oip::ModelStreamInferResponse, Status>;

/// A request that was put, or how the stream ends.
type Put = Result<InFlight, Status>;

/// What says that an answer is its request's last.
const FINAL: &str = "triton_final_response";

/// Answers `requests`. `ends_on_error`: the first error ends the stream, as a status.
pub(super) fn answers(
    asking: Asking,
    requests: Streaming<oip::ModelInferRequest>,
    ends_on_error: bool,
    place: Place<String>,
) -> Answers {
    // So many beside those that sessions hold back themselves.
    let window = asking.shared().limits.window as usize;
    let (sender, receiver) = mpsc::channel(window);
    // Ends with the requests, when the client is gone, or when the daemon drains.
    tokio::spawn(put_all(asking, requests, sender));
    let answers = ReceiverStream::new(receiver).then(move |put| answer(put, ends_on_error));
    // Until the stream is over.
    let answers = answers.map(move |answer| {
        let _held = &place;
        answer
    });
    Box::pin(answers)
}

async fn put_all(
    mut asking: Asking,
    mut requests: Streaming<oip::ModelInferRequest>,
    sender: mpsc::Sender<Put>,
) {
    let mut draining = asking.shared().draining.subscribe();
    loop {
        let next = tokio::select! {
            next = requests.message() => next,
            () = sender.closed() => return,
            _ = draining.wait_for(Option::is_some) => {
                let why = *asking.shared().draining.borrow();
                Err(why.unwrap_or(Draining::Asked).status())
            }
        };
        let put = match next {
            Ok(Some(request)) => Ok(asking.put(request).await),
            Ok(None) => return,
            Err(status) => Err(status),
        };
        let is_end = put.is_err();
        if sender.send(put).await.is_err() || is_end {
            return;
        }
    }
}

async fn answer(put: Put, ends_on_error: bool) -> Answer {
    let in_flight = put?;
    let id = in_flight.id().to_owned();
    match in_flight.answer().await {
        Ok(mut response) => {
            let last = parameter(Choice::BoolParam(true));
            response.parameters.insert(FINAL.to_owned(), last);
            Ok(oip::ModelStreamInferResponse {
                error_message: String::new(),
                infer_response: Some(response),
            })
        }
        Err(status) if ends_on_error => Err(status),
        Err(status) => Ok(oip::ModelStreamInferResponse {
            error_message: status.message().to_owned(),
            infer_response: Some(oip::ModelInferResponse {
                id,
                ..oip::ModelInferResponse::default()
            }),
        }),
    }
}
