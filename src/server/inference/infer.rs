//! From a request to its session, and from the session's answer to the request's.

use std::{mem, sync::Arc, time::Instant};

use tonic::{Code, Status};

use super::{
    super::{
        Peer, Served, Shared,
        dialog::{Answering, Dialog},
    },
    answer::{Answered, Memory},
    describe,
    options::{self, InSequence},
    request::{Asked, Wanted},
    sequences::{Key, Name, Sequence},
};
use crate::{inference as oip, proto as pb};

/// Puts one call's requests into sessions.
pub(super) struct Asking {
    shared: Arc<Shared>,
    peer: Peer,
    /// A stream's requests of the same options go into the same session.
    keeps: bool,
    kept: Option<(pb::SessionOptions, Arc<Dialog>)>,
}

/// A request that its session has, or why not.
pub(super) struct InFlight {
    shared: Arc<Shared>,
    peer: Peer,
    id: String,
    arrived: Instant,
    /// The model that is asked: a sequence's own, which may be older than the one that is served now.
    served: Option<Arc<Served>>,
    underway: Result<Underway, Status>,
}

struct Underway {
    dialog: Arc<Dialog>,
    answering: Answering,
    wanted: Wanted,
    /// It is the session's last.
    is_last: bool,
}

impl Asking {
    /// For a call of one request.
    pub(super) fn once(shared: Arc<Shared>, peer: Peer) -> Self {
        Asking {
            shared,
            peer,
            keeps: false,
            kept: None,
        }
    }

    /// For a call of many.
    pub(super) fn often(shared: Arc<Shared>, peer: Peer) -> Self {
        Asking {
            keeps: true,
            ..Asking::once(shared, peer)
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Gives a request to its session: requests of a sequence come there in the order of the calls. Waits for room.
    pub(super) async fn put(&mut self, request: oip::ModelInferRequest) -> InFlight {
        let arrived = Instant::now();
        let id = request.id.clone();
        let mut served = None;
        let underway = self.start(request, &mut served).await;
        InFlight {
            shared: Arc::clone(&self.shared),
            peer: self.peer.clone(),
            id,
            arrived,
            served,
            underway,
        }
    }

    /// `asks` becomes the model that is asked, of a request that is refused too, if there is that model.
    async fn start(
        &mut self,
        mut request: oip::ModelInferRequest,
        asks: &mut Option<Arc<Served>>,
    ) -> Result<Underway, Status> {
        let models = &self.shared.models;
        let now = describe::named(models, &request.model_name)?;
        let version = mem::take(&mut request.model_version);
        let asked = Asked::new(&self.shared, &self.peer, &now, request);
        let in_sequence = asked.as_ref().ok().and_then(|it| it.sequence.as_ref());
        let open = in_sequence
            .filter(|sequence| !sequence.is_first)
            .and_then(|sequence| {
                let key = self.key(&now, sequence);
                self.shared.inference.sequences.get(&key)
            });
        // A sequence keeps the model that it began with, whatever was loaded since.
        let own = open.as_ref().and_then(|open| open.dialog.served());
        let served = own.unwrap_or(now);
        describe::check_version(&served, &version)?;
        *asks = Some(Arc::clone(&served));
        let asked = asked?;
        let Some(sequence) = asked.sequence else {
            let dialog = self.session(asked.options, &served).await?;
            let offered = offer(&dialog, asked.frame, &asked.wanted).await;
            if offered.is_err() {
                self.kept = None;
            }
            return Ok(Underway {
                answering: offered?,
                dialog,
                wanted: asked.wanted,
                is_last: !self.keeps,
            });
        };
        let key = self.key(&served, &sequence);
        let dialog = self.sequence(&key, &sequence, open, asked.options).await?;
        let offered = offer(&dialog, asked.frame, &asked.wanted).await;
        let is_over = offered
            .as_ref()
            .is_err_and(|status| status.code() != Code::InvalidArgument);
        if sequence.is_last || is_over {
            self.shared.inference.sequences.forget(&key, &dialog);
        }
        Ok(Underway {
            answering: offered?,
            dialog,
            wanted: asked.wanted,
            is_last: sequence.is_last,
        })
    }

    fn key(&self, served: &Served, sequence: &InSequence) -> Key {
        Key {
            peer: self.peer.to_string(),
            name: Name {
                model: served.name().to_owned(),
                id: sequence.id.clone(),
            },
        }
    }

    /// A session for these options, with the model that is served now.
    async fn session(
        &mut self,
        options: pb::SessionOptions,
        served: &Arc<Served>,
    ) -> Result<Arc<Dialog>, Status> {
        if let Some((kept_for, dialog)) = &self.kept
            && *kept_for == options
            && dialog.served().is_some_and(|its| Arc::ptr_eq(&its, served))
        {
            return Ok(Arc::clone(dialog));
        }
        // The earlier one ends with its last answer, before there is another.
        self.kept = None;
        if !self.keeps {
            let (shared, peer) = (Arc::clone(&self.shared), self.peer.clone());
            return Ok(Arc::new(Dialog::once(shared, peer, options).await?));
        }
        let dialog = self.open(options.clone()).await?;
        self.kept = Some((options, Arc::clone(&dialog)));
        Ok(dialog)
    }

    /// The session of a sequence: opened by its first request.
    async fn sequence(
        &self,
        key: &Key,
        place: &InSequence,
        open: Option<Sequence>,
        options: pb::SessionOptions,
    ) -> Result<Arc<Dialog>, Status> {
        if place.is_first {
            let dialog = self.open(options.clone()).await?;
            let sequences = &self.shared.inference.sequences;
            sequences.keep(key.clone(), Arc::clone(&dialog), options);
            return Ok(dialog);
        }
        let open = open.ok_or_else(|| {
            let id = &key.name.id;
            Status::invalid_argument(format!(
                "inference request for sequence {id} to model '{}' must specify the START flag on the first request of the sequence; one without requests for {} s is closed",
                key.name.model,
                self.shared.limits.session_idle_s
            ))
        })?;
        let default = pb::SessionOptions {
            model: options.model.clone(),
            outputs: options.outputs,
            ..pb::SessionOptions::default()
        };
        if options != default && options != open.beside {
            return Err(Status::invalid_argument(format!(
                "sequence {} of model '{}' was opened with other parameters: those of tracking, normalization, tiling, delivery, priority and session_name hold from its first request on; leave them out, or repeat them",
                key.name.id, key.name.model
            )));
        }
        Ok(open.dialog)
    }

    async fn open(&self, options: pb::SessionOptions) -> Result<Arc<Dialog>, Status> {
        let dialog = Dialog::open(Arc::clone(&self.shared), self.peer.clone(), options).await?;
        Ok(Arc::new(dialog))
    }
}

async fn offer(dialog: &Dialog, frame: pb::Frame, wanted: &Wanted) -> Result<Answering, Status> {
    let opened = dialog.opened();
    let settled = opened.settled.as_ref();
    let tracks = settled.is_some_and(|settled| settled.tracking.is_some());
    if wanted.label_by == pb::LabelBy::Track && !tracks {
        return Err(Status::invalid_argument(
            "parameter 'label_by' is \"track\", but identities are not kept: the sequence's first request must have 'track'",
        ));
    }
    dialog.offer(frame).await
}

impl InFlight {
    /// The client's name for it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The request's answer. Dropped before it comes: the frame is given up.
    pub(super) async fn answer(self) -> Result<oip::ModelInferResponse, Status> {
        let InFlight {
            shared,
            peer,
            id,
            arrived,
            served,
            underway,
        } = self;
        let answered = match underway {
            Ok(underway) => underway.answer(&shared, &peer, arrived).await,
            Err(status) => Err(status),
        };
        // The session may have been moved to a newer one meanwhile.
        let found_by = answered.as_ref().ok();
        let found_by = found_by.and_then(|it| it.served.upgrade());
        let served = found_by.or(served);
        if let Some(served) = &served {
            let timing = answered.as_ref().ok().map(|answered| &answered.timing);
            let statistics = &shared.inference.statistics;
            statistics.count(served, arrived.elapsed(), timing);
        }
        let answered = answered.map_err(|status| {
            let told = options::in_parameters(status.message());
            Status::new(
                status.code(),
                match id.is_empty() {
                    true => told,
                    // Clients that answer many requests lose the id of one that failed, if its message does not have it.
                    false => format!("[request id: {id}] {told}"),
                },
            )
        })?;
        let served = served.ok_or_else(|| Status::internal("an answer without a model"))?;
        Ok(oip::ModelInferResponse {
            model_name: served.name().to_owned(),
            model_version: served.generation().to_string(),
            id,
            ..answered.response
        })
    }
}

impl Underway {
    async fn answer(
        self,
        shared: &Arc<Shared>,
        peer: &Peer,
        arrived: Instant,
    ) -> Result<Answered, Status> {
        let Underway {
            dialog,
            answering,
            wanted,
            is_last,
        } = self;
        let mut answer = answering.answer().await?;
        if is_last {
            // Its session ends before it is read: a frame that came behind it must not be held back by it.
            answer.unread.release();
            // It has nothing in flight: how it ended is in its account.
            let _ = dialog.close().await;
        }
        let memory = Memory {
            shared: Arc::clone(shared),
            owner: peer.clone(),
        };
        Answered::new(answer, wanted, memory, arrived).await
    }
}

#[cfg(test)]
mod tests;
