//! `grpc.health.v1`: the daemon as a whole, the contract's service, each model by its name, and `NAME/gpu` for a model that was
//! meant for a GPU: it does not serve where the CPU runs the model instead. A model that is degraded serves.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{sync::watch, task::JoinSet};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use super::{Models, Served};
use crate::{backend::OnGpu, pool::Health};

/// The contract's service, and that of the Open Inference Protocol.
const SERVICES: [&str; 2] = ["cellseg.v1.Segmenter", "inference.GRPCInferenceService"];

/// Tells clients how the lanes are.
pub(super) struct Reporter {
    reporter: HealthReporter,
    models: watch::Receiver<Arc<[Arc<Served>]>>,
    /// What clients were told last, by service.
    told: BTreeMap<String, bool>,
}

impl Reporter {
    pub(super) async fn new(models: &Models) -> (Self, HealthServer<HealthService>) {
        let reporter = HealthReporter::new();
        let service = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
        let mut reporter = Reporter {
            reporter,
            models: models.changes(),
            told: BTreeMap::new(),
        };
        reporter.report().await;
        (reporter, service)
    }

    /// Reports every change, until a device is lost under one of `models`, be it an older one.
    pub(super) async fn watch(&mut self, models: &Models) {
        loop {
            // Subscribed to before they are told: a change after this completes `changed` below.
            self.models.mark_unchanged();
            let alive = models.living();
            let healths: Vec<_> = alive.iter().map(|served| served.pool().health()).collect();
            // Whoever leaves a model last must not be us.
            drop(alive);
            self.report().await;
            if healths
                .iter()
                .any(|health| *health.borrow() == Health::DeviceLost)
            {
                return;
            }
            let mut changes = JoinSet::new();
            for mut health in healths {
                changes.spawn(async move {
                    // An error: the pool is gone, which is a change of the models.
                    if health.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                });
            }
            // An error: the server is gone, and with it who waits for this.
            tokio::select! {
                _ = self.models.changed() => {}
                _ = changes.join_next(), if !changes.is_empty() => {}
            }
        }
    }

    /// Nothing is served any more.
    pub(super) async fn stop_serving(&mut self) {
        let services = std::mem::take(&mut self.told);
        for service in services.into_keys() {
            self.tell(service, false).await;
        }
    }

    async fn report(&mut self) {
        let mut services = BTreeMap::new();
        let mut all_serve = true;
        for served in self.models.borrow().iter() {
            let pool = served.pool();
            let serves = *pool.health().borrow() == Health::Serving;
            all_serve &= serves;
            services.insert(served.name().to_owned(), serves);
            let on_gpu = match pool.description().gpu {
                OnGpu::NotMeant => continue,
                OnGpu::Yes => true,
                OnGpu::No => false,
            };
            services.insert(format!("{}/gpu", served.name()), serves && on_gpu);
        }
        for service in SERVICES.into_iter().chain([""]) {
            services.insert(service.to_owned(), all_serve);
        }
        let gone: Vec<String> = self
            .told
            .keys()
            .filter(|service| !services.contains_key(*service))
            .cloned()
            .collect();
        for service in gone {
            // Whoever watches it hears that it does not serve; whoever asks anew, that there is none.
            self.tell(service.clone(), false).await;
            self.told.remove(&service);
            self.reporter.clear_service_status(&service).await;
        }
        for (service, serves) in services {
            if self.told.get(&service) != Some(&serves) {
                self.tell(service, serves).await;
            }
        }
    }

    async fn tell(&mut self, service: String, serves: bool) {
        let status = match serves {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        self.reporter.set_service_status(&service, status).await;
        self.told.insert(service, serves);
    }
}
