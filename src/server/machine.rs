//! Asks the machine about its GPUs and sensors, without anybody having to wait for a driver that does not answer.

use std::{
    sync::{Arc, Mutex, PoisonError, TryLockError},
    time::Duration,
};

use crate::telemetry::{Gpu, Gpus, Sensor, sensors};

/// How long a scrape waits for the driver.
const PATIENCE: Duration = Duration::from_secs(2);

/// The machine's own numbers.
#[derive(Default)]
pub(super) struct Machine(Arc<Mutex<Gpus>>);

impl Machine {
    /// GPUs and sensors, now; none where the driver does not answer in time, or has not answered who asked before.
    pub(super) async fn look(&self) -> (Vec<Gpu>, Vec<Sensor>) {
        let gpus = Arc::clone(&self.0);
        let looking = tokio::task::spawn_blocking(move || {
            let mut gpus = match gpus.try_lock() {
                Ok(gpus) => gpus,
                Err(TryLockError::Poisoned(gpus)) => PoisonError::into_inner(gpus),
                Err(TryLockError::WouldBlock) => return Default::default(),
            };
            (gpus.look(), sensors())
        });
        let looked = tokio::time::timeout(PATIENCE, looking).await;
        looked.map_or_else(|_| Default::default(), Result::unwrap_or_default)
    }
}
