//! What the daemon tells of itself: logs, metrics, traces.

mod bound;
mod journal;
mod levels;
mod logs;
mod machine;
mod metrics;
mod traces;

pub use bound::Bound;
pub use levels::{Labels, Levelled, ModelLevels};
pub use logs::{TelemetryError, set_filter, start};
pub use machine::{Gpu, Gpus, Sensor, sensors};
pub use metrics::Metrics;
pub use traces::{FrameTrace, Parent, SessionTrace, Traces};
