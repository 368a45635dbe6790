//! The contract's services, health and reflection on one router.

use std::sync::Arc;

use tonic::{
    Request, Response, Status, Streaming,
    service::Routes,
    transport::server::{Router, Server},
};

use super::{
    HTTP2_FRAME, KEEPALIVE_TIMEOUT, Peer, SMALL_MESSAGE, ServerError, Shared, admin::Operators,
    dialog::Dialog, inference::Inference, reflection, shm::Controllers, stream::Replies,
};
use crate::{
    inference::grpc_inference_service_server::GrpcInferenceServiceServer,
    proto::{
        self as pb,
        admin_server::AdminServer,
        segmenter_server::{Segmenter, SegmenterServer},
        shared_memory_server::SharedMemoryServer,
    },
};

/// All services, with the transport settings that camera frames need.
pub(super) fn router(
    shared: &Arc<Shared>,
    health: tonic_health::pb::health_server::HealthServer<tonic_health::server::HealthService>,
) -> Result<Router, ServerError> {
    let limits = &shared.limits;
    // A frame can follow while one is being read. HTTP/2 windows end at 2^31 - 1.
    let window = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX).min((1 << 31) - 1);
    let stream_window = 2 * limits.max_frame_bytes;
    let connection_window = stream_window.saturating_mul(limits.streams_per_connection.into());
    let segmenter = SegmenterServer::new(Doors(Arc::clone(shared)))
        .max_decoding_message_size(shared.max_message())
        .max_encoding_message_size(usize::MAX);
    let services = Routes::new(segmenter)
        .add_service(
            AdminServer::new(Operators::new(shared)).max_decoding_message_size(SMALL_MESSAGE),
        )
        .add_service(
            SharedMemoryServer::new(Controllers::new(shared))
                .max_decoding_message_size(SMALL_MESSAGE),
        )
        .add_service(
            GrpcInferenceServiceServer::new(Inference::new(shared))
                .max_decoding_message_size(shared.max_message())
                .max_encoding_message_size(usize::MAX),
        )
        .add_service(health.max_decoding_message_size(SMALL_MESSAGE))
        .add_service(
            reflection()
                .build_v1()?
                .max_decoding_message_size(SMALL_MESSAGE),
        )
        .add_service(
            reflection()
                .build_v1alpha()?
                .max_decoding_message_size(SMALL_MESSAGE),
        );
    let services = Routes::from(shared.gate.guard(services.into_axum_router()));
    Ok(Server::builder()
        .initial_stream_window_size(window(stream_window))
        .initial_connection_window_size(window(connection_window))
        .max_concurrent_streams(limits.streams_per_connection)
        .max_frame_size(HTTP2_FRAME)
        .http2_keepalive_interval(Some(limits.keepalive()))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(services))
}

struct Doors(Arc<Shared>);

#[tonic::async_trait]
impl Segmenter for Doors {
    type StreamStream = Replies;

    async fn stream(
        &self,
        request: Request<Streaming<pb::StreamRequest>>,
    ) -> Result<Response<Replies>, Status> {
        // Nothing is awaited: the headers go out before the first message is read.
        Ok(Response::new(Replies::new(
            Arc::clone(&self.0),
            Peer::of(&request)?,
            request.into_inner(),
        )))
    }

    async fn segment(
        &self,
        request: Request<pb::SegmentRequest>,
    ) -> Result<Response<pb::SegmentReply>, Status> {
        let peer = Peer::of(&request)?;
        let pb::SegmentRequest { options, frame } = request.into_inner();
        let frame = frame.ok_or_else(|| Status::invalid_argument("a request without a frame"))?;
        let dialog = Dialog::once(Arc::clone(&self.0), peer, options.unwrap_or_default()).await?;
        let answer = dialog.frame(frame).await?;
        // It has nothing in flight: how it ended, a draining daemon included, takes nothing from its answer.
        let _ = dialog.close().await;
        let reply = pb::SegmentReply {
            opened: Some(Arc::unwrap_or_clone(answer.opened)),
            frame: Some(answer.reply),
        };
        Ok(Response::new(reply))
    }

    async fn list_models(
        &self,
        _: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsReply>, Status> {
        Ok(Response::new(self.0.models.listed()))
    }
}
