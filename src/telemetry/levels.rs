//! What goes up and down: how the daemon is, and the gauges that show it.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::machine::{Gpu, Sensor, machine_memory, process};

/// How the daemon is, at the moment somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Levelled {
    /// Sessions open.
    pub sessions: usize,
    /// Most that may be open.
    pub sessions_limit: usize,
    /// Pixels admitted and not yet segmented, bytes.
    pub in_flight_bytes: u64,
    /// Most of them, bytes.
    pub in_flight_limit_bytes: u64,
    /// Regions of shared memory that are registered or still read.
    pub shared_memory_regions: usize,
    /// Their bytes.
    pub shared_memory_bytes: u64,
    /// Each model served.
    pub models: Vec<ModelLevels>,
    /// Each GPU that the driver's management library shows.
    pub gpus: Vec<Gpu>,
    /// The kernel's thermal zones.
    pub sensors: Vec<Sensor>,
}

/// How one model is.
#[derive(Clone, Debug, Default)]
pub struct ModelLevels {
    /// As clients ask for it.
    pub name: String,
    /// Its maker's.
    pub version: String,
    /// Of its file, hex.
    pub sha256: String,
    /// "fp16".
    pub precision: String,
    /// What runs it.
    pub backend: String,
    /// Where.
    pub device: String,
    /// One of [`ModelLevels::STATES`].
    pub state: &'static str,
    /// 1, and one more with every reload that changed it.
    pub generation: u64,
    /// Lanes that it has.
    pub lanes: usize,
    /// Lanes that run.
    pub lanes_up: usize,
    /// Frames that wait for a lane.
    pub waiting: usize,
    /// Frames on lanes.
    pub running: usize,
}

impl ModelLevels {
    /// Every state that a model can be in.
    pub const STATES: [&'static str; 5] = ["warming", "serving", "degraded", "down", "draining"];
}

/// Names and values of `N` labels.
pub type Labels<const N: usize> = [(&'static str, String); N];

/// A number that goes up and down.
type Level = Gauge<f64, AtomicU64>;

/// Levels, one for each set of labels.
type Levels<const N: usize> = Family<Labels<N>, Level>;

/// What [`super::Metrics::observe`] sets.
#[derive(Default)]
pub(super) struct LevelsNow {
    pub(super) sessions: Level,
    pub(super) sessions_limit: Level,
    pub(super) in_flight_bytes: Level,
    pub(super) in_flight_limit_bytes: Level,
    pub(super) shared_memory_regions: Level,
    pub(super) shared_memory_bytes: Level,
    pub(super) frames_waiting: Levels<1>,
    pub(super) frames_running: Levels<1>,
    pub(super) lanes: Levels<1>,
    pub(super) lanes_up: Levels<1>,
    pub(super) model_info: Levels<6>,
    pub(super) model_state: Levels<2>,
    pub(super) model_generation: Levels<1>,
    pub(super) gpu_memory_used: Levels<2>,
    pub(super) gpu_memory_total: Levels<2>,
    pub(super) gpu_temperature: Levels<2>,
    pub(super) gpu_utilization: Levels<2>,
    pub(super) gpu_power: Levels<2>,
    pub(super) sensor_temperature: Levels<1>,
    pub(super) memory_available: Level,
    pub(super) memory_total: Level,
    pub(super) rss: Level,
    pub(super) fds: Level,
    pub(super) fds_limit: Level,
    pub(super) threads: Level,
    pub(super) cpu: Counter<f64, AtomicU64>,
    pub(super) started: Level,
}

impl LevelsNow {
    /// What is gone since the last time goes.
    pub(super) fn set(&self, now: &Levelled) {
        self.sessions.set(now.sessions as f64);
        self.sessions_limit.set(now.sessions_limit as f64);
        self.in_flight_bytes.set(now.in_flight_bytes as f64);
        let limit = now.in_flight_limit_bytes;
        self.in_flight_limit_bytes.set(limit as f64);
        let regions = now.shared_memory_regions;
        self.shared_memory_regions.set(regions as f64);
        self.shared_memory_bytes.set(now.shared_memory_bytes as f64);
        self.set_models(&now.models);
        self.set_gpus(&now.gpus);
        self.sensor_temperature.clear();
        for Sensor { name, celsius } in &now.sensors {
            let labels = [("sensor", name.clone())];
            self.sensor_temperature.get_or_create(&labels).set(*celsius);
        }
        if let Some((available, total)) = machine_memory() {
            self.memory_available.set(available as f64);
            self.memory_total.set(total as f64);
        }
        if let Some(process) = process() {
            self.rss.set(process.rss_bytes as f64);
            self.fds.set(process.fds as f64);
            self.fds_limit.set(process.fds_limit as f64);
            self.threads.set(process.threads as f64);
            // The kernel counts, not we.
            self.cpu
                .inner()
                .store(process.cpu_s.to_bits(), Ordering::Relaxed);
            self.started.set(process.started_s);
        }
    }

    fn set_models(&self, models: &[ModelLevels]) {
        let all = [
            &self.frames_waiting,
            &self.frames_running,
            &self.lanes,
            &self.lanes_up,
            &self.model_generation,
        ];
        all.iter().for_each(|family| family.clear());
        self.model_info.clear();
        self.model_state.clear();
        for model in models {
            let labels = [("model", model.name.clone())];
            let values = [
                model.waiting as f64,
                model.running as f64,
                model.lanes as f64,
                model.lanes_up as f64,
                model.generation as f64,
            ];
            for (family, value) in all.iter().zip(values) {
                family.get_or_create(&labels).set(value);
            }
            let identity = [
                ("model", model.name.clone()),
                ("version", model.version.clone()),
                ("sha256", model.sha256.clone()),
                ("precision", model.precision.clone()),
                ("backend", model.backend.clone()),
                ("device", model.device.clone()),
            ];
            self.model_info.get_or_create(&identity).set(1.0);
            for state in ModelLevels::STATES {
                let labels = [("model", model.name.clone()), ("state", state.to_owned())];
                let is = f64::from(u8::from(state == model.state));
                self.model_state.get_or_create(&labels).set(is);
            }
        }
    }

    fn set_gpus(&self, gpus: &[Gpu]) {
        let all = [
            &self.gpu_memory_used,
            &self.gpu_memory_total,
            &self.gpu_temperature,
            &self.gpu_utilization,
            &self.gpu_power,
        ];
        all.iter().for_each(|family| family.clear());
        for gpu in gpus {
            let labels = [("gpu", gpu.index.to_string()), ("name", gpu.name.clone())];
            let values = [
                gpu.memory_used,
                gpu.memory_total,
                gpu.celsius,
                gpu.utilization,
                gpu.watts,
            ];
            for (family, value) in all.iter().zip(values) {
                if let Some(value) = value {
                    family.get_or_create(&labels).set(value);
                }
            }
        }
    }
}
