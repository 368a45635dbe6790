//! What the models of this process hold of its GPU together: they share one device, as they share its primary context.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
};

use super::{GpuError, mib};
use crate::config::GpuWait;

static BYTES: AtomicU64 = AtomicU64::new(0);
static LANES: AtomicUsize = AtomicUsize::new(0);

/// A model's part; given back when dropped.
pub(super) struct Claim {
    bytes: u64,
    lanes: usize,
}

impl Claim {
    /// `limit_mib` is for all models together; 0: none.
    pub(super) fn new(bytes: u64, lanes: usize, limit_mib: u64) -> Result<Self, GpuError> {
        let held = BYTES.fetch_add(bytes, Ordering::SeqCst);
        LANES.fetch_add(lanes, Ordering::SeqCst);
        // Dropped on refusal, it is given back.
        let claim = Claim { bytes, lanes };
        match limit_mib == 0 || mib(held + bytes) <= limit_mib {
            true => Ok(claim),
            false => Err(GpuError::Total {
                limit: limit_mib,
                need: mib(bytes),
                held: mib(held),
            }),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        BYTES.fetch_sub(self.bytes, Ordering::SeqCst);
        LANES.fetch_sub(self.lanes, Ordering::SeqCst);
    }
}

/// Of all models on GPUs.
pub(super) fn lanes() -> usize {
    LANES.load(Ordering::Relaxed)
}

/// How lanes wait for the GPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    setting: GpuWait,
    integrated: bool,
    cores: usize,
}

impl Wait {
    pub(super) fn new(setting: GpuWait, integrated: bool) -> Self {
        Wait {
            setting,
            integrated,
            cores: thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// A spinning lane answers some tens of microseconds earlier and keeps a core busy: worth it where cores are left over for
    /// tokio, the work pool and the acquisition, and never on a Jetson, whose few cores share its power with the GPU. `lanes` are
    /// those of all models: each spins.
    pub(super) fn spins(&self, lanes: usize) -> bool {
        match self.setting {
            GpuWait::Spin => true,
            GpuWait::Block => false,
            GpuWait::Auto => !self.integrated && lanes + 4 <= self.cores,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_spin_where_cores_are_left_over() {
        for (setting, integrated, lanes, cores, spins) in [
            (GpuWait::Auto, false, 1, 16, true),
            (GpuWait::Auto, false, 1, 4, false),
            (GpuWait::Auto, false, 4, 8, true),
            (GpuWait::Auto, false, 5, 8, false),
            (GpuWait::Auto, true, 1, 12, false),
            (GpuWait::Spin, true, 8, 1, true),
            (GpuWait::Block, false, 1, 64, false),
        ] {
            let wait = Wait {
                setting,
                integrated,
                cores,
            };
            assert_eq!(wait.spins(lanes), spins, "{wait:?}, {lanes} lanes");
        }
    }

    #[test]
    fn models_share_one_limit_and_give_their_part_back() {
        const MIB: u64 = 1 << 20;
        // The limit counts what other tests of this process hold too: they hold nothing.
        let first = Claim::new(60 * MIB, 2, 100).unwrap();
        let words = match Claim::new(50 * MIB, 1, 100) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("110 MiB of 100"),
        };
        for figure in ["= 100", "50 MiB", "hold 60"] {
            assert!(words.contains(figure), "{words}");
        }
        assert_eq!(lanes(), 2);
        drop(first);
        assert!(Claim::new(50 * MIB, 1, 100).is_ok());
        assert_eq!(lanes(), 0);
    }
}
