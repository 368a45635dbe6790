//! `cellsegd doctor`: what this machine has, what will run the models and why, and what to do where something is missing.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use super::{choices::EngineFlags, daemon};
use crate::{
    backend::{
        Description, OnGpu, cpu,
        cuda::{
            device::{self, Device, Gpus, NoGpu},
            trt::{self, Flavour, Found},
        },
    },
    config::{GpuFallback, Settings},
    model, telemetry,
};

/// Say what this machine has, what will run the models and why, and what to do where something is missing
#[derive(Args, Debug)]
pub(super) struct Doctor {
    /// ONNX file or TensorRT engine; may be repeated [default: the settings' models, else the bundled one]
    #[arg(long = "model", value_name = "FILE")]
    models: Vec<PathBuf>,
    /// Settings, TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineFlags,
}

/// A name and what is said of it, line by line.
#[derive(Debug, PartialEq)]
struct Finding {
    name: String,
    lines: Vec<String>,
}

impl Doctor {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut overrides = self.engine.overrides(None);
        overrides.models = self.models;
        let settings = Settings::load(self.config.as_deref(), &overrides)?;
        telemetry::start(&settings.log)?;
        println!("cellsegd {}\n", env!("CARGO_PKG_VERSION"));
        let probed = device::probe();
        let libraries = trt::survey(settings.gpu.tensorrt.as_deref());
        let mut findings = gpus(&probed, &settings.gpu.device, Device::free_bytes);
        findings.extend(tensorrt(&libraries, probed.is_ok()));
        findings.push(onnxruntime(cpu::onnxruntime(&settings.engine)));
        findings.iter().for_each(|finding| print!("{finding}"));
        println!();

        let mut all_run = true;
        for (path, settings) in models(&settings) {
            let ran = run_one_frame(&settings);
            all_run &= ran.is_ok();
            print!("{}", verdict(path, ran, &settings));
        }
        Ok(match all_run {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Each model with settings that name it alone.
fn models(settings: &Settings) -> Vec<(Option<PathBuf>, Settings)> {
    if settings.models.is_empty() {
        return vec![(None, settings.clone())];
    }
    let each = settings.models.iter().map(|path| {
        let alone = Settings {
            models: vec![path.clone()],
            ..settings.clone()
        };
        (Some(path.clone()), alone)
    });
    each.collect()
}

/// As the daemon would, down to the frame that warms a lane up.
fn run_one_frame(settings: &Settings) -> Result<(String, Description)> {
    let pools = daemon::pools(settings, daemon::backends(settings)?)?;
    let pool = pools
        .into_iter()
        .next()
        .context("settings with one model make one pool")?;
    Ok((pool.model().name.clone(), pool.description().clone()))
}

fn verdict(
    path: Option<PathBuf>,
    ran: Result<(String, Description)>,
    settings: &Settings,
) -> Finding {
    let name = match &path {
        None => "bundled model".to_owned(),
        Some(path) => path.display().to_string(),
    };
    let lines = match ran {
        Ok((name, runs)) => {
            let mut lines = vec![
                format!("{name} runs: a frame was segmented"),
                format!("by  {}", runs.backend),
                format!("on  {}", runs.device),
            ];
            lines.extend(why_this_device(runs.gpu));
            lines
        }
        Err(error) => {
            let mut lines = vec![format!("CANNOT BE USED: {error:#}")];
            let is_engine = path
                .is_some_and(|path| matches!(model::file_kind(&path), Ok(model::FileKind::Engine)));
            if is_engine && settings.gpu.fallback == GpuFallback::Never {
                lines.push(
                    "the daemon does not start with it; gpu.fallback = \"cpu\" would run its ONNX file on the CPU".to_owned(),
                );
            }
            lines
        }
    };
    Finding { name, lines }
}

fn why_this_device(gpu: OnGpu) -> Option<String> {
    match gpu {
        OnGpu::NotMeant => Some(
            "because it is an ONNX file; `cellsegd engine build` makes an engine for a GPU of it"
                .to_owned(),
        ),
        OnGpu::Yes => None,
        OnGpu::No => Some("because gpu.fallback = \"cpu\" allows it".to_owned()),
    }
}

/// `free_bytes` asks a device.
fn gpus(
    probed: &Result<Gpus, NoGpu>,
    wanted: &str,
    free_bytes: impl Fn(&Device) -> Result<u64, String>,
) -> Vec<Finding> {
    let gpus = match probed {
        Ok(gpus) => gpus,
        Err(why) => {
            let mut lines = vec![why.to_string()];
            lines.extend(advice(why));
            return vec![Finding::new("GPU", lines)];
        }
    };
    let driver = &gpus.driver;
    let version = driver.version.as_deref().unwrap_or("version unknown");
    let mut lines = vec![format!("{version}, CUDA {}", driver.cuda)];
    lines.extend(driver.library.iter().map(|path| path.display().to_string()));
    let mut findings = vec![Finding::new("NVIDIA driver", lines)];
    let chosen = gpus.choose(wanted);
    for device in &gpus.devices {
        let (major, minor) = device.compute_capability;
        let all = device.memory_bytes >> 20;
        let memory = match free_bytes(device) {
            Ok(free) => format!("{} of {all} MiB free", free >> 20),
            Err(why) => format!("{all} MiB, but: {why}"),
        };
        let mut lines = vec![
            format!("{}, compute {major}.{minor}, {memory}", device.name),
            device.uuid.clone(),
        ];
        if device.integrated {
            lines.push("integrated: it shares memory with the CPU".to_owned());
        }
        if chosen
            .as_ref()
            .is_ok_and(|chosen| chosen.index == device.index)
        {
            lines.push(format!("used for engines: gpu.device = {wanted:?}"));
        }
        findings.push(Finding::new(&format!("GPU {}", device.index), lines));
    }
    if let Err(why) = chosen {
        findings.push(Finding::new("gpu.device", vec![why.to_string()]));
    }
    findings
}

fn advice(why: &NoGpu) -> Option<String> {
    match why {
        NoGpu::Absent(_) => Some(
            "nothing to do without an NVIDIA GPU: the CPU runs ONNX models; with one: install its driver, 535 or newer (Jetson: \
             JetPack 6)"
                .to_owned(),
        ),
        NoGpu::Unusable(_) | NoGpu::Choice { .. } => None,
    }
}

fn tensorrt(found: &[Found], has_gpu: bool) -> Vec<Finding> {
    let runs = |found: &&Found| matches!(found.what, Ok((Flavour::Full | Flavour::Rtx, _)));
    let used = found.iter().find(runs).map(|used| &used.path);
    // Which one runs an engine depends on the engine.
    let use_words = match found.iter().filter(runs).count() {
        1 => "used for engines",
        _ => "used for engines, unless another one of these built them",
    };
    let mut findings: Vec<Finding> = found
        .iter()
        .map(|found| {
            let mut lines = match &found.what {
                Ok((flavour, version)) => vec![format!("{flavour} {version}")],
                Err(why) => vec![format!("not usable: {why}")],
            };
            lines.push(found.path.display().to_string());
            if used == Some(&found.path) {
                lines.push(use_words.to_owned());
            }
            Finding::new("TensorRT", lines)
        })
        .collect();
    if used.is_none() {
        let mut lines = vec!["none found that runs engines".to_owned()];
        if has_gpu {
            lines.push(
                "install it from NVIDIA's apt repository (libnvinfer10, libnvonnxparsers10; Jetson: nvidia-jetpack), or".to_owned(),
            );
            lines.push(
                "TensorRT-RTX from PyPI (tensorrt-rtx-cu13-libs), or name its folder: gpu.tensorrt = \"/path\"".to_owned(),
            );
        }
        findings.push(Finding::new("TensorRT", lines));
    }
    findings
}

fn onnxruntime(found: Result<String, String>) -> Finding {
    match found {
        Ok(what) => Finding::new("ONNX Runtime", vec![what]),
        Err(why) => Finding::new(
            "ONNX Runtime",
            vec![
                why,
                "not needed: rten, which is built in, runs ONNX models at about half the speed"
                    .to_owned(),
            ],
        ),
    }
}

impl Finding {
    fn new(name: &str, lines: Vec<String>) -> Self {
        Finding {
            name: name.to_owned(),
            lines,
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A long name has a line of its own.
        let mut name = self.name.as_str();
        if name.len() > 14 {
            writeln!(f, "{name}")?;
            name = "";
        }
        for line in &self.lines {
            writeln!(f, "{name:<16}{line}")?;
            name = "";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cuda::{device::Driver, trt::Version};

    fn text(findings: &[Finding]) -> String {
        findings.iter().map(Finding::to_string).collect()
    }

    fn two_gpus() -> Result<Gpus, NoGpu> {
        let device = |index, name: &str, uuid: &str| Device {
            index,
            name: name.to_owned(),
            uuid: uuid.to_owned(),
            compute_capability: (8, 9),
            memory_bytes: 24 << 30,
            multiprocessors: 128,
            integrated: false,
        };
        Ok(Gpus {
            driver: Driver {
                cuda: "12.4".to_owned(),
                version: Some("550.54.14".to_owned()),
                library: Some("/usr/lib/libcuda.so.550.54.14".into()),
            },
            devices: vec![
                device(0, "NVIDIA RTX A4000", "GPU-0a"),
                device(1, "NVIDIA GeForce RTX 4090", "GPU-1b"),
            ],
        })
    }

    #[test]
    fn devices_are_listed_and_the_chosen_one_is_marked() {
        let text = text(&gpus(&two_gpus(), "GPU-1", |_| Ok(10 << 30)));
        let expected = "\
NVIDIA driver   550.54.14, CUDA 12.4
                /usr/lib/libcuda.so.550.54.14
GPU 0           NVIDIA RTX A4000, compute 8.9, 10240 of 24576 MiB free
                GPU-0a
GPU 1           NVIDIA GeForce RTX 4090, compute 8.9, 10240 of 24576 MiB free
                GPU-1b
                used for engines: gpu.device = \"GPU-1\"
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_wrong_choice_and_a_sick_device_are_said() {
        let text = text(&gpus(&two_gpus(), "7", |_| Err("out of memory".to_owned())));
        for word in ["gpu.device = \"7\"", "24576 MiB, but: out of memory"] {
            assert!(text.contains(word), "{text}");
        }
        assert!(!text.contains("used for engines"), "{text}");
    }

    #[test]
    fn no_gpu_is_no_illness() {
        let text = text(&gpus(
            &Err(NoGpu::Absent("no NVIDIA driver found".to_owned())),
            "0",
            |_| Ok(0),
        ));
        assert!(
            text.contains("no NVIDIA driver found") && text.contains("nothing to do"),
            "{text}"
        );
    }

    #[test]
    fn the_first_library_that_runs_engines_is_marked() {
        let version = Version {
            major: 10,
            minor: 3,
            patch: 0,
            build: 26,
        };
        let found = |path: &str, what| Found {
            path: path.into(),
            what,
        };
        let all = [
            found("/a", Err("cannot be loaded".to_owned())),
            found("/b", Ok((Flavour::Lean, version))),
            found("/c", Ok((Flavour::Full, version))),
            found("/d", Ok((Flavour::Rtx, version))),
        ];
        let text = text(&tensorrt(&all, true));
        assert!(
            text.contains("/c\n                used for engines, unless another"),
            "{text}"
        );
        assert_eq!(text.matches("used for engines").count(), 1, "{text}");
        assert!(!text.contains("none found"), "{text}");
        let text = self::text(&tensorrt(&all[..3], true));
        assert!(text.ends_with("  used for engines\n"), "{text}");
        let text = self::text(&tensorrt(&all[..2], true));
        assert!(
            text.contains("none found that runs engines") && text.contains("gpu.tensorrt"),
            "{text}"
        );
    }
}
