//! `cellsegd models`: what is there, and what would run it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;

use super::{EXIT_SETTINGS, choices::EngineFlags, daemon};
use crate::{
    backend::Backend,
    config::Settings,
    params::{MinSpan, Normalization},
    telemetry,
};

/// Say what a model is and what would run it on this machine
#[derive(Args, Debug)]
pub(super) struct Models {
    /// ONNX file or TensorRT engine; may be repeated [default: the settings' models, else the bundled one]
    #[arg(long = "model", value_name = "FILE")]
    models: Vec<PathBuf>,
    /// Settings, TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineFlags,
}

impl Models {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut overrides = self.engine.overrides(None);
        overrides.models = self.models;
        let settings = Settings::load(self.config.as_deref(), &overrides)?;
        telemetry::start(&settings.log)?;
        let mut is_good = true;
        for (i, tried) in daemon::each(&settings)?.into_iter().enumerate() {
            let daemon::Tried { named, loaded } = tried;
            if i > 0 {
                println!();
            }
            let file = match &named.path {
                Some(path) => path.display().to_string(),
                None => "comes with cellsegd".to_owned(),
            };
            match loaded {
                Ok(backend) => {
                    println!("{}", backend.model().name);
                    let degraded = backend.description().degraded.clone();
                    line("file", &file);
                    line(
                        "state",
                        &degraded.map_or("ready".to_owned(), |why| format!("degraded: {why}")),
                    );
                    print!("{}", describe(&*backend));
                }
                Err(error) => {
                    is_good = false;
                    println!("{}", named.name);
                    line("file", &file);
                    line("state", &format!("cannot be used: {error:#}"));
                }
            }
        }
        Ok(match is_good {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(EXIT_SETTINGS),
        })
    }
}

fn line(name: &str, value: &str) {
    println!("  {name:<12}{value}");
}

fn describe(backend: &dyn Backend) -> String {
    let (model, runs) = (backend.model(), backend.description());
    let thresholds = &model.thresholds;
    let lines = [
        ("version", model.version.clone()),
        (
            "input",
            format!("{} x {} px", model.input_width, model.input_height),
        ),
        ("classes", numbered(&model.classes)),
        ("head", model.head.name().to_owned()),
        ("precision", model.precision.clone()),
        ("sha256", model.sha256.chars().take(12).collect()),
        (
            "trained at",
            model
                .trained_um_per_px
                .map_or("unknown".to_owned(), |um| format!("{um} um/px")),
        ),
        ("runs on", runs.backend.clone()),
        ("device", runs.device.clone()),
        (
            "defaults",
            format!(
                "confidence {}, iou {}{}, at most {} cells, {}",
                thresholds.confidence,
                thresholds.iou,
                if thresholds.class_agnostic {
                    " over all classes"
                } else {
                    " within a class"
                },
                thresholds.max_cells,
                normalization(model.normalization),
            ),
        ),
    ];
    let lines = lines.map(|(name, value)| format!("  {name:<12}{value}\n"));
    lines.concat()
}

fn numbered(classes: &[String]) -> String {
    let classes: Vec<String> = classes
        .iter()
        .enumerate()
        .map(|(i, class)| format!("{i} {class}"))
        .collect();
    classes.join(", ")
}

fn normalization(normalization: Normalization) -> String {
    match normalization {
        Normalization::FullRange => "full range".to_owned(),
        Normalization::Window { low, high } => format!("counts {low} to {high}"),
        Normalization::Percentiles {
            low,
            high,
            min_span,
        } => {
            let least = match min_span {
                MinSpan::Counts(counts) => format!("{counts} counts"),
                MinSpan::OfFullRange(fraction) => {
                    format!("{} % of the full range", 100.0 * fraction)
                }
            };
            format!("percentiles {low} to {high} if at least {least} apart")
        }
    }
}
