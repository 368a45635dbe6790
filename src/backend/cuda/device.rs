//! Finds CUDA devices: what is there, which one is used, what is wrong with it. Never panics, whatever the machine has.

mod explain;

use std::path::PathBuf;

use self::explain::{Surroundings, explain};
use super::driver::{self, CudaError, Unloadable};

/// What the embedded PTX was made for: Turing, of 2018, and newer.
const OLDEST: (u32, u32) = (7, 5);

/// A driver, and at least one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpus {
    /// What drives them.
    pub driver: Driver,
    /// In the driver's order.
    pub devices: Vec<Device>,
}

/// The driver's library.
#[derive(Clone, Debug, PartialEq)]
pub struct Driver {
    /// The newest CUDA that it supports: "12.4".
    pub cuda: String,
    /// Its own: "550.54.14", where its file's name says it.
    pub version: Option<String>,
    /// Its file.
    pub library: Option<PathBuf>,
}

/// A device.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// In the driver's order.
    pub index: u32,
    /// "NVIDIA GeForce RTX 4090".
    pub name: String,
    /// "GPU-5c1b...", as nvidia-smi writes it.
    pub uuid: String,
    /// "8.9" is (8, 9).
    pub compute_capability: (u32, u32),
    /// In all.
    pub memory_bytes: u64,
    /// Of them a kernel fills some or all.
    pub multiprocessors: u32,
    /// It shares memory with the CPU, as on a Jetson.
    pub integrated: bool,
}

/// Why no GPU is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoGpu {
    /// There is none, as far as this machine shows: use the CPU.
    #[error("{0}")]
    Absent(String),
    /// There is one, or there was; the text says what to mend.
    #[error("{0}")]
    Unusable(String),
    /// Correct the settings.
    #[error("gpu.device = {wanted:?} is {why}; there are: {there}")]
    Choice {
        /// Of the settings.
        wanted: String,
        /// What is wrong with it.
        why: &'static str,
        /// Index, name and UUID of each.
        there: String,
    },
}

/// The newest CUDA that the driver supports, "12.4", without waking it or a device.
pub fn driver() -> Result<String, NoGpu> {
    driver::load().map(driver::version).map_err(NoGpu::from)
}

/// Asks the driver what there is. Makes no context: nothing stays allocated on a device.
pub fn probe() -> Result<Gpus, NoGpu> {
    let cuda = driver()?;
    let found = driver::init().and_then(|()| driver::devices());
    let library = driver::library();
    let surroundings = Surroundings::look(library.as_deref());
    let devices = found.map_err(|error: CudaError| explain(&error, &surroundings))?;
    if devices.is_empty() {
        return Err(NoGpu::Absent("the NVIDIA driver shows no GPU".to_owned()));
    }
    Ok(Gpus {
        driver: Driver {
            cuda,
            version: surroundings.library,
            library,
        },
        devices,
    })
}

impl From<Unloadable> for NoGpu {
    fn from(error: Unloadable) -> Self {
        match error {
            Unloadable::Absent { .. } => NoGpu::Absent(error.to_string()),
            Unloadable::Old { .. } | Unloadable::Lacks { .. } => NoGpu::Unusable(error.to_string()),
        }
    }
}

impl Gpus {
    /// By index or UUID; a UUID's beginning is enough if only one begins so.
    pub fn choose(&self, wanted: &str) -> Result<&Device, NoGpu> {
        let wrong = |why| NoGpu::Choice {
            wanted: wanted.to_owned(),
            why,
            there: self.list(),
        };
        let is_wanted = |device: &&Device| match wanted.parse::<u32>() {
            Ok(index) => device.index == index,
            Err(_) => device
                .uuid
                .to_ascii_lowercase()
                .starts_with(&wanted.to_ascii_lowercase()),
        };
        let mut matching = self.devices.iter().filter(is_wanted);
        let device = matching.next().ok_or_else(|| wrong("none of the GPUs"))?;
        if matching.next().is_some() {
            return Err(wrong("the beginning of more than one UUID"));
        }
        if device.compute_capability < OLDEST {
            let ((major, minor), (oldest_major, oldest_minor)) =
                (device.compute_capability, OLDEST);
            return Err(NoGpu::Unusable(format!(
                "{} has compute capability {major}.{minor}: cellsegd's kernels need {oldest_major}.{oldest_minor} (Turing, 2018) or newer",
                device.name
            )));
        }
        Ok(device)
    }

    fn list(&self) -> String {
        let each = |device: &Device| format!("{} {} {}", device.index, device.name, device.uuid);
        let all: Vec<String> = self.devices.iter().map(each).collect();
        all.join(", ")
    }
}

impl Device {
    /// Bytes of its memory that nobody uses. Makes a context for as long as it takes to ask.
    pub fn free_bytes(&self) -> Result<u64, String> {
        driver::Context::new(self.index as i32)
            .and_then(|context| context.memory())
            .map(|(free, _)| free)
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, name: &str, uuid: &str, compute_capability: (u32, u32)) -> Device {
        Device {
            index,
            name: name.to_owned(),
            uuid: uuid.to_owned(),
            compute_capability,
            memory_bytes: 8 << 30,
            multiprocessors: 16,
            integrated: false,
        }
    }

    fn gpus() -> Gpus {
        Gpus {
            driver: Driver {
                cuda: "12.4".to_owned(),
                version: None,
                library: None,
            },
            devices: vec![
                device(0, "NVIDIA RTX A4000", "GPU-5c1b0000-aaaa", (8, 6)),
                device(1, "NVIDIA RTX A4000", "GPU-5c1b0000-bbbb", (8, 6)),
                device(2, "Tesla V100", "GPU-77770000-cccc", (7, 0)),
            ],
        }
    }

    #[test]
    fn a_device_is_chosen_by_its_index_or_its_uuid() {
        for (wanted, index) in [
            ("0", 0),
            ("1", 1),
            ("GPU-5c1b0000-b", 1),
            ("gpu-5C1B0000-AAAA", 0),
        ] {
            assert_eq!(
                gpus().choose(wanted).map(|d| d.index),
                Ok(index),
                "{wanted}"
            );
        }
    }

    #[test]
    fn a_wrong_choice_is_told_what_there_is() {
        for (wanted, word) in [
            ("3", "none of the GPUs"),
            ("GPU-0", "none of the GPUs"),
            ("GPU-5c1b", "more than one UUID"),
        ] {
            let text = gpus().choose(wanted).unwrap_err().to_string();
            for word in [wanted, word, "1 NVIDIA RTX A4000 GPU-5c1b0000-bbbb"] {
                assert!(text.contains(word), "{text}");
            }
        }
    }

    #[test]
    fn a_device_older_than_the_kernels_is_refused() {
        let text = gpus().choose("2").unwrap_err().to_string();
        assert!(
            text.contains("Tesla V100") && text.contains("7.0") && text.contains("7.5"),
            "{text}"
        );
    }

    #[test]
    fn probing_says_what_is_there_or_why_nothing_is() {
        // On any machine, with a driver or without.
        match probe() {
            Ok(gpus) => assert!(!gpus.devices.is_empty()),
            Err(why) => assert!(!why.to_string().is_empty()),
        }
    }
}
