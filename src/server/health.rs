//! `grpc.health.v1`: the daemon as a whole, the contract's service, each model by its name, and `NAME/gpu` for a model that was
//! meant for a GPU: it does not serve where the CPU runs the model instead.

use tokio::{sync::watch, task::JoinSet};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{
    backend::OnGpu,
    pool::{Health, LanePool},
};

/// The contract's service.
const SERVICE: &str = "cellseg.v1.Segmenter";

/// Tells clients how the lanes are.
pub(super) struct Reporter {
    reporter: HealthReporter,
    models: Vec<(String, watch::Receiver<Health>)>,
    /// `NAME/gpu` of those that were meant for a GPU; of which model; whether it is on one.
    gpus: Vec<(String, usize, bool)>,
}

impl Reporter {
    pub(super) async fn new(pools: &[LanePool]) -> (Self, HealthServer<HealthService>) {
        let reporter = HealthReporter::new();
        let service = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
        let models = pools
            .iter()
            .map(|pool| (pool.model().name.clone(), pool.health()))
            .collect();
        let gpus = pools.iter().enumerate().filter_map(|(i, pool)| {
            let on_gpu = match pool.description().gpu {
                OnGpu::NotMeant => return None,
                OnGpu::Yes => true,
                OnGpu::No => false,
            };
            Some((format!("{}/gpu", pool.model().name), i, on_gpu))
        });
        let reporter = Reporter {
            reporter,
            models,
            gpus: gpus.collect(),
        };
        reporter.report().await;
        (reporter, service)
    }

    /// Reports every change, until a device is lost.
    pub(super) async fn watch(&mut self) {
        loop {
            // Seen before they are told: a change after this completes `changed` below.
            self.models
                .iter_mut()
                .for_each(|(_, health)| health.mark_unchanged());
            self.report().await;
            if self
                .models
                .iter()
                .any(|(_, health)| *health.borrow() == Health::DeviceLost)
            {
                return;
            }
            let mut changes = JoinSet::new();
            for (_, health) in &self.models {
                let mut health = health.clone();
                changes.spawn(async move { health.changed().await });
            }
            changes.join_next().await;
        }
    }

    /// Nothing is served any more.
    pub(super) async fn stop_serving(&self) {
        for service in self
            .models
            .iter()
            .map(|(name, _)| name.as_str())
            .chain(self.gpus.iter().map(|(name, ..)| name.as_str()))
            .chain(["", SERVICE])
        {
            self.reporter
                .set_service_status(service, ServingStatus::NotServing)
                .await;
        }
    }

    async fn report(&self) {
        let mut all_serve = true;
        for (name, health) in &self.models {
            let serves = *health.borrow() == Health::Serving;
            all_serve &= serves;
            self.reporter.set_service_status(name, status(serves)).await;
        }
        for (service, model, on_gpu) in &self.gpus {
            let serves = *on_gpu && *self.models[*model].1.borrow() == Health::Serving;
            self.reporter
                .set_service_status(service, status(serves))
                .await;
        }
        for service in ["", SERVICE] {
            self.reporter
                .set_service_status(service, status(all_serve))
                .await;
        }
    }
}

fn status(serves: bool) -> ServingStatus {
    if serves {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}
