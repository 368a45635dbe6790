//! Every metric that the daemon counts, declared once.
//!
//! Labels are names that we choose and values that the contract or the operator chooses: nothing that a client sends becomes
//! one, so their number is bounded.

use std::time::Duration;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use super::{
    Bound,
    levels::{Labels, Levelled, LevelsNow},
};

/// Upper bounds of the times' buckets, seconds: a small frame on a GPU to a large network on a small CPU.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0, 60.0,
];

/// What is counted. Cheap to count; read by [`Metrics::text`].
pub struct Metrics {
    registry: Registry,
    /// Sessions opened since the start.
    pub sessions_opened: Counter,
    /// Answers taken by clients: model, outcome, reason.
    frames: Family<Labels<3>, Counter>,
    /// Times of segmented frames: model, stage.
    stages: Family<Labels<2>, Histogram, fn() -> Histogram>,
    /// What reloads did to models: outcome.
    reloads: Family<Labels<1>, Counter>,
    /// What clients were refused, or wait for: bound.
    refused: Family<Labels<1>, Counter>,
    /// Series that fell silent.
    pub series_silent: Counter,
    /// Frames that were made small to be looked at.
    pub frames_shown: Counter,
    /// Levels as they were when somebody last looked.
    levels: LevelsNow,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics {
            sessions_opened: Counter::default(),
            frames: Family::default(),
            stages: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            reloads: Family::default(),
            refused: Family::default(),
            series_silent: Counter::default(),
            frames_shown: Counter::default(),
            levels: LevelsNow::default(),
            registry: Registry::default(),
        };
        metrics.register(&mut registry);
        Metrics {
            registry,
            ..metrics
        }
    }
}

impl Metrics {
    fn register(&self, root: &mut Registry) {
        for bound in Bound::ALL {
            // From the start: a rate needs a zero to begin with.
            let _ = self
                .refused
                .get_or_create(&[("bound", bound.name().to_owned())]);
        }
        let levels = &self.levels;
        let ours = root.sub_registry_with_prefix("cellsegd");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        ours.register("build", "This program", version);
        let mut add = |name: &str, help: &str, metric: &dyn Fn(&mut Registry, String, String)| {
            metric(ours, name.to_owned(), help.to_owned());
        };
        macro_rules! plain {
            ($($name:literal, $help:literal, $metric:expr;)*) => {$(
                add($name, $help, &|registry, name, help| registry.register(name, help, $metric.clone()));
            )*};
        }
        macro_rules! with_unit {
            ($($name:literal, $unit:expr, $help:literal, $metric:expr;)*) => {$(
                add($name, $help, &|registry, name, help| {
                    registry.register_with_unit(name, help, $unit, $metric.clone());
                });
            )*};
        }
        plain! {
            "sessions_opened", "Sessions opened since the start", self.sessions_opened;
            "frames", "Answers taken by clients, by how the frame ended and why", self.frames;
            "reloads", "What reloads did to models", self.reloads;
            "refused", "What clients were refused, or wait for, by the bound that it ran into", self.refused;
            "series_silent", "Series of frames that fell silent for 2.5 times their own interval", self.series_silent;
            "frames_shown", "Frames that were made small for pages that look at a session", self.frames_shown;
            "sessions", "Sessions open", levels.sessions;
            "sessions_limit", "Most sessions that may be open", levels.sessions_limit;
            "frames_waiting", "Frames that wait for a lane", levels.frames_waiting;
            "frames_running", "Frames on lanes", levels.frames_running;
            "shared_memory_regions", "Regions of shared memory that are registered or still read", levels.shared_memory_regions;
            "lanes", "Lanes of a model", levels.lanes;
            "lanes_up", "Lanes of a model that run", levels.lanes_up;
            "model_identity", "What is served, and by what; always 1", levels.model_info;
            "model_state", "1 for the state that the model is in", levels.model_state;
            "model_generation", "1, and one more with every reload that changed the model", levels.model_generation;
        }
        with_unit! {
            "frame_stage", Unit::Seconds, "Time of a segmented frame in each stage; stage total is from its last byte to its reply", self.stages;
            "frames_in_flight", Unit::Bytes, "Pixels admitted and not yet segmented", levels.in_flight_bytes;
            "frames_in_flight_limit", Unit::Bytes, "Most pixels that are admitted", levels.in_flight_limit_bytes;
            "shared_memory", Unit::Bytes, "Shared memory in regions that are registered or still read", levels.shared_memory_bytes;
            "gpu_memory_used", Unit::Bytes, "Memory of the GPU in use, by anybody", levels.gpu_memory_used;
            "gpu_memory_total", Unit::Bytes, "Memory of the GPU", levels.gpu_memory_total;
            "gpu_temperature", Unit::Celsius, "Temperature of the GPU", levels.gpu_temperature;
            "gpu_utilization", Unit::Ratios, "Part of the time in which a kernel ran on the GPU, by anybody", levels.gpu_utilization;
            "gpu_power", Unit::Other("watts".to_owned()), "Power that the GPU draws", levels.gpu_power;
            "sensor_temperature", Unit::Celsius, "Temperature of the machine's thermal zones", levels.sensor_temperature;
            "machine_memory_available", Unit::Bytes, "Memory of the machine that a program could still have", levels.memory_available;
            "machine_memory_total", Unit::Bytes, "Memory of the machine", levels.memory_total;
        }
        // The names that every Prometheus client uses.
        let process = root.sub_registry_with_prefix("process");
        process.register_with_unit(
            "resident_memory",
            "Resident memory",
            Unit::Bytes,
            levels.rss.clone(),
        );
        process.register("open_fds", "File descriptors open", levels.fds.clone());
        process.register(
            "max_fds",
            "Most file descriptors that may be open",
            levels.fds_limit.clone(),
        );
        process.register("threads", "Threads", levels.threads.clone());
        process.register_with_unit(
            "cpu",
            "Processor time used since the start",
            Unit::Seconds,
            levels.cpu.clone(),
        );
        process.register_with_unit(
            "start_time",
            "When the process started, since 1970",
            Unit::Seconds,
            levels.started.clone(),
        );
    }

    /// A client took a frame's answer.
    pub fn frame(&self, model: &str, outcome: &'static str, reason: &'static str) {
        let labels = [
            ("model", model.to_owned()),
            ("outcome", outcome.to_owned()),
            ("reason", reason.to_owned()),
        ];
        self.frames.get_or_create(&labels).inc();
    }

    /// How long a segmented frame was in a stage.
    pub fn stage(&self, model: &str, stage: &'static str, time: Duration) {
        let labels = [("model", model.to_owned()), ("stage", stage.to_owned())];
        self.stages
            .get_or_create(&labels)
            .observe(time.as_secs_f64());
    }

    /// What a reload did to a model: "loaded", "refused", ...
    pub fn reload(&self, outcome: &'static str) {
        self.reloads
            .get_or_create(&[("outcome", outcome.to_owned())])
            .inc();
    }

    /// Something of a client's ran into `bound`.
    pub fn refuse(&self, bound: Bound) {
        self.refused
            .get_or_create(&[("bound", bound.name().to_owned())])
            .inc();
    }

    /// Sets the levels; what is gone since the last time goes.
    pub fn observe(&self, now: &Levelled) {
        self.levels.set(now);
    }

    /// All of it in the OpenMetrics text format, which Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests;
