//! `cellseg.v1.Admin`: for operators.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{Shared, convert, reload};
use crate::proto::{self as pb, admin_server::Admin};

/// Answers operators.
pub(super) struct Operators {
    shared: Arc<Shared>,
}

impl Operators {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Operators {
            shared: Arc::clone(shared),
        }
    }
}

#[tonic::async_trait]
impl Admin for Operators {
    async fn reload(
        &self,
        _: Request<pb::ReloadRequest>,
    ) -> Result<Response<pb::ReloadReply>, Status> {
        let done = reload::reload(&self.shared).await;
        match done.failed {
            Some(why) => Err(Status::failed_precondition(why)),
            None => Ok(Response::new(convert::reloaded(done))),
        }
    }

    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusReply>, Status> {
        Ok(Response::new(self.shared.status()))
    }
}
