//! `cellsegd engine inspect`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use super::{On, megabytes};
use crate::{
    backend::cuda::{
        GpuError,
        trt::{Io, TensorInfo},
        workbench::Workbench,
    },
    config::GpuSettings,
    model::{self, BuiltFor, EngineFile, Header, ModelSpec},
};

/// Say what an engine file is, and whether this machine can run it: exit code 1 where it cannot
#[derive(Args, Debug)]
pub(super) struct Inspect {
    /// Engine file
    #[arg(value_name = "FILE.engine")]
    file: PathBuf,
    #[command(flatten)]
    on: On,
}

impl Inspect {
    pub(super) fn run(self) -> Result<ExitCode> {
        let settings = self.on.settings()?;
        let file = model::load_engine(&self.file)?;
        println!("{}", self.file.display());
        line("name", &file.name());
        line("size", &megabytes(file.n_bytes()));
        line("sha256", file.sha256());
        match file.header() {
            Some(header) => describe_header(header),
            None => line("header", "none: a bare plan"),
        }
        if !file.is_marked() {
            line("plan", "does not begin as TensorRT's plans do");
        }
        match file.built_for() {
            Some(built) => describe_built(&file, built),
            None => line(
                "built for",
                &format!(
                    "unknown: {} has no [engine]",
                    file.manifest_path().display()
                ),
            ),
        }
        let runs = tensors(&file, &settings)
            .map_err(anyhow::Error::from)
            .and_then(|(library, tensors)| {
                tensors.iter().for_each(describe_tensor);
                Ok((library, understood(&file, &tensors)?))
            });
        match runs {
            Ok((library, spec)) => {
                line("head", spec.head.name());
                line("classes", &spec.classes.join(", "));
                line("runs here", &format!("yes, by {library}"));
                Ok(ExitCode::SUCCESS)
            }
            Err(why) => {
                line("runs here", &format!("no: {why}"));
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// Whether this machine can run an engine: `Err` says why not.
pub(super) fn check(file: &EngineFile, settings: &GpuSettings) -> Result<()> {
    let (_, tensors) = tensors(file, settings)?;
    understood(file, &tensors).map(drop)
}

/// All that a daemon would ask of them, but for the memory that its lanes need.
fn understood(file: &EngineFile, tensors: &[TensorInfo]) -> Result<ModelSpec> {
    let shapes = shapes(tensors);
    let spec = file.spec(&shapes)?;
    file.storage(&shapes)?;
    match tensors
        .iter()
        .find(|tensor| tensor.on_host || tensor.vectorised)
    {
        None => Ok(spec),
        Some(tensor) => bail!(
            "tensor {}: understood are tensors in device memory, row-major",
            tensor.name
        ),
    }
}

fn tensors(
    file: &EngineFile,
    settings: &GpuSettings,
) -> Result<(String, Vec<TensorInfo>), GpuError> {
    let wanted = file.built_for().map(|built| built.tensorrt.as_str());
    let bench = Workbench::open(settings, wanted)?;
    Ok((bench.library_name(), bench.tensors(file)?))
}

fn shapes(tensors: &[TensorInfo]) -> Vec<model::TensorShape> {
    tensors.iter().map(TensorInfo::shape).collect()
}

fn line(name: &str, text: &str) {
    println!("  {name:<12}{text}");
}

fn describe_header(header: &Header) {
    let mut facts = vec!["ultralytics".to_owned()];
    let mut add = |name: &str, value: Option<String>| {
        facts.extend(value.map(|value| format!("{name} {value}")));
    };
    add("", header.version.clone());
    add("task", header.task.clone());
    add(
        "size",
        header
            .size
            .map(|[height, width]| format!("{width} x {height}")),
    );
    add("stride", header.stride.map(|n| n.to_string()));
    add("batch", header.batch.map(|n| n.to_string()));
    add("precision", header.precision.clone());
    add(
        "classes",
        header.names.as_ref().map(|names| names.join(" ")),
    );
    line(
        "header",
        &facts.join(", ").replace("ultralytics,  ", "ultralytics "),
    );
}

fn describe_built(file: &EngineFile, built: &BuiltFor) {
    line("built for", &facts(built).join(", "));
    let sum = built.onnx_sha256.as_deref();
    let onnx = match (&built.onnx, sum) {
        (Some(onnx), _) => onnx,
        (None, Some(sum)) if is_bundled(sum) => "the bundled model",
        (None, _) => "a file that its manifest does not name",
    };
    let sum: String = sum.unwrap_or("unknown").chars().take(12).collect();
    line("from", &format!("{onnx} (sha256 {sum})"));
    line("manifest", &file.manifest_path().display().to_string());
}

/// What the manifest leaves out is not made up.
fn facts(built: &BuiltFor) -> Vec<String> {
    let gpu = match (&built.device, &built.compute_capability) {
        (Some(device), Some(capability)) => format!("{device} (compute capability {capability})"),
        (Some(device), None) => device.clone(),
        (None, Some(capability)) => format!("GPUs of compute capability {capability}"),
        (None, None) => "any GPU that it supports".to_owned(),
    };
    let mut facts = vec![built.tensorrt.clone(), gpu, built.precision.clone()];
    if built.version_compatible {
        facts.push("newer versions too".to_owned());
    }
    facts.retain(|fact| !fact.is_empty());
    facts
}

fn is_bundled(sha256: &str) -> bool {
    model::bundled().is_ok_and(|bundled| bundled.spec.sha256.eq_ignore_ascii_case(sha256))
}

fn describe_tensor(tensor: &TensorInfo) {
    let io = match tensor.io {
        Io::Input => "input",
        Io::Output => "output",
    };
    let mut text = format!("{} {} {:?}", tensor.name, tensor.element, tensor.dims);
    for profile in &tensor.profiles {
        if profile.min != profile.max {
            text += &format!(", {:?} to {:?}", profile.min, profile.max);
        }
    }
    if tensor.on_host {
        text += ", on the host";
    }
    if tensor.vectorised {
        text += ", vectorised";
    }
    line(io, &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_manifest_says_is_told() {
        let built = |device: Option<&str>, capability: Option<&str>| BuiltFor {
            tensorrt: "TensorRT 10.3.0".to_owned(),
            device: device.map(str::to_owned),
            compute_capability: capability.map(str::to_owned),
            ..BuiltFor::default()
        };
        for (built, words) in [
            (built(None, Some("8.9")), "GPUs of compute capability 8.9"),
            (
                built(Some("A2"), Some("8.6")),
                "A2 (compute capability 8.6)",
            ),
            (built(None, None), "any GPU that it supports"),
        ] {
            assert_eq!(
                facts(&built).join(", "),
                format!("TensorRT 10.3.0, {words}")
            );
        }
    }
}
