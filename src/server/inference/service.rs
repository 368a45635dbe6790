//! `inference.GRPCInferenceService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use super::{
    super::{Peer, Shared},
    describe,
    infer::Asking,
    memory,
    stream::{self, Answers},
};
use crate::inference::{self as oip, grpc_inference_service_server::GrpcInferenceService};

/// The header by which a client asks that errors end its stream as a status.
const STATUS_ERRORS: &str = "triton_grpc_error";

/// Answers clients of KServe and Triton.
pub(in crate::server) struct Inference(Arc<Shared>);

impl Inference {
    pub(in crate::server) fn new(shared: &Arc<Shared>) -> Self {
        Inference(Arc::clone(shared))
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    type ModelStreamInferStream = Answers;

    async fn model_infer(
        &self,
        request: Request<oip::ModelInferRequest>,
    ) -> Answer<oip::ModelInferResponse> {
        let peer = Peer::of(&request)?;
        let mut asking = Asking::once(Arc::clone(&self.0), peer);
        let in_flight = asking.put(request.into_inner()).await;
        in_flight.answer().await.map(Response::new)
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<oip::ModelInferRequest>>,
    ) -> Answer<Answers> {
        let peer = Peer::of(&request)?;
        // Its messages are as large as frames, and are read before any session counts them.
        let place = self.0.gate.take_place(&peer)?;
        let ends_on_error = request
            .metadata()
            .get(STATUS_ERRORS)
            .is_some_and(|value| value == "true");
        let asking = Asking::often(Arc::clone(&self.0), peer);
        let answers = stream::answers(asking, request.into_inner(), ends_on_error, place);
        Ok(Response::new(answers))
    }

    async fn server_live(
        &self,
        _: Request<oip::ServerLiveRequest>,
    ) -> Answer<oip::ServerLiveResponse> {
        let live = self.0.device_lost().is_none();
        Ok(Response::new(oip::ServerLiveResponse { live }))
    }

    async fn server_ready(
        &self,
        _: Request<oip::ServerReadyRequest>,
    ) -> Answer<oip::ServerReadyResponse> {
        let ready = self.0.worst().is_ready();
        Ok(Response::new(oip::ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<oip::ModelReadyRequest>,
    ) -> Answer<oip::ModelReadyResponse> {
        let oip::ModelReadyRequest { name, version } = request.into_inner();
        // One that is not there is not ready, as Triton has it.
        let ready = match describe::served(&self.0.models, &name, &version) {
            Ok(served) => self.0.condition(&served).is_ready(),
            Err(status) if status.code() == tonic::Code::NotFound => false,
            Err(status) => return Err(status),
        };
        Ok(Response::new(oip::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<oip::ServerMetadataRequest>,
    ) -> Answer<oip::ServerMetadataResponse> {
        Ok(Response::new(describe::server()))
    }

    async fn model_metadata(
        &self,
        request: Request<oip::ModelMetadataRequest>,
    ) -> Answer<oip::ModelMetadataResponse> {
        let oip::ModelMetadataRequest { name, version } = request.into_inner();
        let served = describe::served(&self.0.models, &name, &version)?;
        Ok(Response::new(describe::metadata(&served)))
    }

    async fn model_config(
        &self,
        request: Request<oip::ModelConfigRequest>,
    ) -> Answer<oip::ModelConfigResponse> {
        let oip::ModelConfigRequest { name, version } = request.into_inner();
        let served = describe::served(&self.0.models, &name, &version)?;
        let config = Some(describe::config(&served));
        Ok(Response::new(oip::ModelConfigResponse { config }))
    }

    async fn model_statistics(
        &self,
        request: Request<oip::ModelStatisticsRequest>,
    ) -> Answer<oip::ModelStatisticsResponse> {
        let oip::ModelStatisticsRequest { name, version } = request.into_inner();
        let asked = match name.as_str() {
            "" => self.0.models.all().to_vec(),
            name => vec![describe::served(&self.0.models, name, &version)?],
        };
        let statistics = &self.0.inference.statistics;
        let model_stats = asked.iter().map(|served| statistics.told(served)).collect();
        Ok(Response::new(oip::ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<oip::RepositoryIndexRequest>,
    ) -> Answer<oip::RepositoryIndexResponse> {
        let only_ready = request.get_ref().ready;
        let all = self.0.models.all();
        let models = all.iter().filter_map(|served| {
            let condition = self.0.condition(served);
            let ready = condition.is_ready();
            (ready || !only_ready).then(|| describe::listed(served, ready, condition.why))
        });
        let models = models.collect();
        Ok(Response::new(oip::RepositoryIndexResponse { models }))
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<oip::SystemSharedMemoryStatusRequest>,
    ) -> Answer<oip::SystemSharedMemoryStatusResponse> {
        let peer = Peer::of(&request)?;
        let name = &request.get_ref().name;
        memory::status(&self.0.regions, &peer, name).map(Response::new)
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<oip::SystemSharedMemoryRegisterRequest>,
    ) -> Answer<oip::SystemSharedMemoryRegisterResponse> {
        let peer = Peer::of(&request)?;
        memory::register(&self.0, &peer, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<oip::SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<oip::SystemSharedMemoryUnregisterResponse> {
        let peer = Peer::of(&request)?;
        let name = &request.get_ref().name;
        memory::unregister(&self.0.regions, &peer, name).map(Response::new)
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<oip::CudaSharedMemoryStatusRequest>,
    ) -> Answer<oip::CudaSharedMemoryStatusResponse> {
        memory::status_on_the_gpu(&request.get_ref().name).map(Response::new)
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<oip::CudaSharedMemoryRegisterRequest>,
    ) -> Answer<oip::CudaSharedMemoryRegisterResponse> {
        Err(memory::not_on_the_gpu())
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<oip::CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<oip::CudaSharedMemoryUnregisterResponse> {
        // As of any region that is not there: clients give up all of both kinds before they begin.
        Ok(Response::new(oip::CudaSharedMemoryUnregisterResponse {}))
    }

    async fn repository_model_load(
        &self,
        _: Request<oip::RepositoryModelLoadRequest>,
    ) -> Answer<oip::RepositoryModelLoadResponse> {
        Err(by_settings())
    }

    async fn repository_model_unload(
        &self,
        _: Request<oip::RepositoryModelUnloadRequest>,
    ) -> Answer<oip::RepositoryModelUnloadResponse> {
        Err(by_settings())
    }

    async fn trace_setting(
        &self,
        _: Request<oip::TraceSettingRequest>,
    ) -> Answer<oip::TraceSettingResponse> {
        Err(Status::unimplemented(
            "traces are set by traces.otlp of the daemon's settings",
        ))
    }

    async fn log_settings(
        &self,
        _: Request<oip::LogSettingsRequest>,
    ) -> Answer<oip::LogSettingsResponse> {
        Err(Status::unimplemented(
            "the log is set by [log] of the daemon's settings",
        ))
    }
}

fn by_settings() -> Status {
    Status::unimplemented(
        "models are loaded by the daemon's settings: change `models` there and call cellseg.v1.Admin/Reload",
    )
}
