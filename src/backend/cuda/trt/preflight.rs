//! Whether an engine file can run here, said before TensorRT is asked: its own words are known to be unclear.

use super::{Flavour, Library, TrtError};
use crate::model::{BuiltFor, EngineFile};

/// The device an engine would run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gpu {
    pub name: String,
    /// "8.9" is (8, 9).
    pub compute_capability: (u32, u32),
}

/// Errors name both sides and the command that builds the engine again. An engine without a manifest is let through: only
/// TensorRT knows.
pub(crate) fn before_load(file: &EngineFile, library: &Library, gpu: &Gpu) -> Result<(), TrtError> {
    let Some(built) = file.built_for() else {
        return Ok(());
    };
    let here = Here {
        flavour: library.flavour(),
        tensorrt: library.name(),
        gpu,
    };
    here.mismatch(built).map_or(Ok(()), |what| {
        Err(TrtError::Engine(format!(
            "engine {}: {what}; build it for this machine: {}",
            file.path().display(),
            file.rebuild()
        )))
    })
}

struct Here<'a> {
    flavour: Flavour,
    tensorrt: String,
    gpu: &'a Gpu,
}

impl Here<'_> {
    /// Both sides of the first thing that does not fit.
    fn mismatch(&self, built: &BuiltFor) -> Option<String> {
        let tensorrt = &self.tensorrt;
        let compatible = built.version_compatible && self.may_be_newer(&built.tensorrt);
        if !built.tensorrt.is_empty() && built.tensorrt != *tensorrt && !compatible {
            return Some(format!(
                "it was built by {}, this machine has {tensorrt}",
                built.tensorrt
            ));
        }
        let wanted = built.compute_capability.as_deref()?;
        let (major, minor) = self.gpu.compute_capability;
        let here = format!("{major}.{minor}");
        // Hardware-compatible plans run from Ampere on.
        if wanted == here || built.hardware_compatible && major >= 8 {
            return None;
        }
        let device = built.device.as_deref().unwrap_or("a GPU");
        Some(format!(
            "it was built for {device} (compute capability {wanted}), this machine's {} has {here}",
            self.gpu.name
        ))
    }

    /// Version-compatible plans run on the same or a newer version of the same library.
    fn may_be_newer(&self, built: &str) -> bool {
        let parts = |name: &str| {
            let (flavour, version) = name.rsplit_once(' ')?;
            let numbers: Option<Vec<u32>> = version.split('.').map(|n| n.parse().ok()).collect();
            Some((flavour.to_owned(), numbers?))
        };
        match (parts(built), parts(&self.tensorrt)) {
            (Some((built_by, old)), Some((here, new))) => {
                self.flavour == Flavour::Full && built_by == here && old <= new
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(tensorrt: &str, capability: Option<&str>) -> BuiltFor {
        BuiltFor {
            tensorrt: tensorrt.to_owned(),
            compute_capability: capability.map(str::to_owned),
            device: Some("NVIDIA GeForce RTX 3060".to_owned()),
            ..BuiltFor::default()
        }
    }

    #[test]
    fn both_sides_of_a_mismatch_are_named() {
        let gpu = Gpu {
            name: "NVIDIA GeForce RTX 4090".to_owned(),
            compute_capability: (8, 9),
        };
        let here = Here {
            flavour: Flavour::Full,
            tensorrt: "TensorRT 10.3.0".to_owned(),
            gpu: &gpu,
        };
        let version_compatible = |tensorrt| BuiltFor {
            version_compatible: true,
            ..built(tensorrt, Some("8.9"))
        };
        let hardware_compatible = BuiltFor {
            hardware_compatible: true,
            ..built("TensorRT 10.3.0", Some("8.6"))
        };
        for (built, words) in [
            (built("TensorRT 10.3.0", Some("8.9")), None),
            (built("TensorRT 10.3.0", None), None),
            (built("", None), None),
            (
                built("TensorRT 8.5.2", Some("8.9")),
                Some("it was built by TensorRT 8.5.2, this machine has TensorRT 10.3.0"),
            ),
            (
                built("TensorRT 10.3.1", Some("8.9")),
                Some("it was built by TensorRT 10.3.1, this machine has TensorRT 10.3.0"),
            ),
            (
                built("TensorRT-RTX 1.7.1", None),
                Some("it was built by TensorRT-RTX 1.7.1, this machine has TensorRT 10.3.0"),
            ),
            (
                built("TensorRT 10.3.0", Some("8.6")),
                Some(
                    "it was built for NVIDIA GeForce RTX 3060 (compute capability 8.6), this machine's NVIDIA GeForce RTX 4090 \
                     has 8.9",
                ),
            ),
            (version_compatible("TensorRT 8.6.1"), None),
            (
                version_compatible("TensorRT 10.4.0"),
                Some("it was built by TensorRT 10.4.0, this machine has TensorRT 10.3.0"),
            ),
            (hardware_compatible, None),
        ] {
            assert_eq!(here.mismatch(&built).as_deref(), words, "{built:?}");
        }
    }
}
