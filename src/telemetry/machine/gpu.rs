//! GPUs as NVIDIA's management library sees them, where the machine has one.

use std::ffi::OsStr;

use nvml_wrapper::{Device, Nvml, enum_wrappers::device::TemperatureSensor, error::NvmlError};
use tracing::{debug, warn};

/// The name that the driver installs; without the number it is a developer's.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// The library, opened when it is first asked. A machine without it is not asked again.
#[derive(Default)]
pub struct Gpus(Option<Option<Nvml>>);

/// A GPU, now. What its driver does not tell is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpu {
    /// As the driver counts them.
    pub index: u32,
    /// "NVIDIA RTX 4000 Ada Generation".
    pub name: String,
    /// Bytes in use, by anybody.
    pub memory_used: Option<f64>,
    /// Bytes.
    pub memory_total: Option<f64>,
    /// Degrees.
    pub celsius: Option<f64>,
    /// 0..1.
    pub utilization: Option<f64>,
    /// Watts.
    pub watts: Option<f64>,
}

impl Gpus {
    /// Every GPU, now. A broken driver may take its time: not on a thread that others wait for.
    pub fn look(&mut self) -> Vec<Gpu> {
        let Some(nvml) = self.0.get_or_insert_with(open) else {
            return Vec::new();
        };
        let count = nvml.device_count().unwrap_or(0);
        let devices =
            (0..count).filter_map(|index| Some((index, nvml.device_by_index(index).ok()?)));
        devices
            .map(|(index, device)| look(index, &device))
            .collect()
    }
}

fn open() -> Option<Nvml> {
    match Nvml::builder().lib_path(OsStr::new(LIBRARY)).init() {
        Ok(nvml) => Some(nvml),
        Err(NvmlError::LibRmVersionMismatch) => {
            warn!(
                "the NVIDIA driver was updated while it was running: its kernel module and its libraries are of different \
                 versions: reboot; until then no metrics of the GPU, and no GPU after a restart of the daemon"
            );
            None
        }
        Err(why) => {
            debug!(%why, "no metrics of GPUs");
            None
        }
    }
}

fn look(index: u32, device: &Device<'_>) -> Gpu {
    let memory = device.memory_info().ok();
    Gpu {
        index,
        name: device.name().unwrap_or_default(),
        memory_used: memory.as_ref().map(|memory| memory.used as f64),
        memory_total: memory.as_ref().map(|memory| memory.total as f64),
        celsius: device
            .temperature(TemperatureSensor::Gpu)
            .ok()
            .map(f64::from),
        utilization: device
            .utilization_rates()
            .ok()
            .map(|rates| f64::from(rates.gpu) / 100.0),
        watts: device
            .power_usage()
            .ok()
            .map(|milli| f64::from(milli) / 1e3),
    }
}
