//! `cellsegd engine build`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{
    On,
    batch::Batch,
    folder::{self, Folder},
    manifest, megabytes,
    output::Output,
    progress::BuildProgress,
};
use crate::{
    backend::cuda::{
        trt::{BuildOptions, timing_cache},
        workbench::Workbench,
    },
    cli::UsageError,
    config::Settings,
    model::{self, BuiltFor, EngineFile, ModelFile, Trust},
};

/// Build an engine for this machine's GPU from an ONNX file
#[derive(Args, Debug)]
pub(super) struct Build {
    /// ONNX file [default: the model that comes with cellsegd]
    #[arg(value_name = "MODEL.onnx")]
    model: Option<PathBuf>,
    /// Where it goes [default: MODEL.engine]; its manifest goes beside it
    #[arg(short, long, value_name = "FILE.engine")]
    output: Option<PathBuf>,
    /// Put it where the daemon's models lie (models_dir of its settings), with the ONNX file, and let a running daemon load it
    #[arg(long, conflicts_with = "output")]
    install: bool,
    /// Half precision: about twice as fast
    #[arg(long)]
    fp16: bool,
    /// Eight bits where the ONNX file has QuantizeLinear; cellsegd does not calibrate
    #[arg(long)]
    int8: bool,
    /// Frames at a time, N or 1..N, for ONNX files with a dynamic batch; the daemon runs one [default: 1]
    #[arg(long, value_name = "N")]
    batch: Option<Batch>,
    /// Lanes that can run a dynamic engine at a time, before TensorRT 10
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    profiles: u8,
    /// Memory that TensorRT may use for a layer [default: what it thinks best]
    #[arg(long, value_name = "MIB")]
    workspace: Option<usize>,
    /// Newer versions of TensorRT can run it too; a little slower (TensorRT 10 and 11)
    #[arg(long)]
    version_compatible: bool,
    /// Timings of earlier builds, read and added to [default: in the user's cache]
    #[arg(long, value_name = "FILE")]
    timing_cache: Option<PathBuf>,
    #[command(flatten)]
    on: On,
}

impl Build {
    pub(super) fn run(self) -> Result<ExitCode> {
        if !self.install {
            let settings = Settings {
                gpu: self.on.settings()?,
                ..Settings::default()
            };
            self.make(&settings, None)?;
            return Ok(ExitCode::SUCCESS);
        }
        let settings = self.on.daemon_settings()?;
        let folder = Folder::of(&settings)?;
        let engine = self.make(&settings, Some(&folder))?;
        folder::serve(&[engine], &settings)
    }

    /// As `file` was built, in its place.
    pub(super) fn again(file: &EngineFile, built: &BuiltFor, on: &On) -> Result<Self> {
        let batch = built.batch.as_deref().map(str::parse::<Batch>);
        let model = match (file.onnx(), built.onnx.as_deref()) {
            (Some(onnx), _) => Some(onnx),
            (None, None) => None,
            (None, Some(onnx)) => bail!("{onnx}, which it was built from, is not there"),
        };
        Ok(Build {
            model,
            output: Some(file.path().to_owned()),
            install: false,
            fp16: built.precision == "fp16",
            int8: false,
            batch: batch.transpose().map_err(anyhow::Error::msg)?,
            profiles: built.profiles.unwrap_or(1),
            workspace: None,
            version_compatible: built.version_compatible,
            timing_cache: None,
            on: on.clone(),
        })
    }

    /// `folder`: of the daemon's models, where it goes there. Returns the engine's path.
    pub(super) fn make(&self, settings: &Settings, folder: Option<&Folder>) -> Result<PathBuf> {
        let model = match &self.model {
            Some(path) => model::load_to_build(path, &Trust::new(&settings.trust))?,
            None => model::bundled()?,
        };
        let shapes = Batch::shapes(self.batch, &model)?;
        let engine = match folder.filter(|_| self.install) {
            Some(folder) => folder
                .path()
                .join(self.default_output(&model).file_name().unwrap_or_default()),
            None => self
                .output
                .clone()
                .unwrap_or_else(|| self.default_output(&model)),
        };
        let owner = folder.map(Folder::owner);
        let output = Output::new(engine, self.model.as_deref(), owner)?;
        let bench = Workbench::open(&settings.gpu, None)?;
        let quantized = model.operators.contains("QuantizeLinear");
        self.check(&model, quantized, &bench)?;
        bench
            .ready()
            .with_context(|| format!("{} cannot build here", bench.library_name()))?;
        let typed = bench.strongly_typed();
        let options = BuildOptions {
            shapes,
            profiles: usize::from(self.profiles),
            fp16: self.fp16 && !typed,
            // Weakly typed, TensorRT refuses such files without the flag.
            int8: quantized && !typed,
            workspace_mib: self.workspace,
            version_compatible: self.version_compatible,
            // RTX measures nothing before the first load.
            timing_cache: self.timing_cache.clone().or_else(|| {
                if bench.compiles_at_load() {
                    return None;
                }
                let device = bench.device().map_or("any", |device| &device.name);
                timing_cache(&bench.library_name(), device)
            }),
        };
        let on = match bench.device() {
            Some(device) if !bench.compiles_at_load() => &device.name,
            _ => "any GPU that it supports",
        };
        eprintln!(
            "{} of {} for {on}",
            bench.library_name(),
            bench.library_path().display()
        );

        let began = Instant::now();
        let progress = BuildProgress::new();
        let built = bench.build(&model.bytes, &options, &|event| progress.event(event));
        progress.finish();
        let built = built.with_context(|| self.what())?;
        let plan = built.plan()?;
        let onnx = match (&self.model, folder.filter(|_| self.install)) {
            // Beside the engine, so that the CPU can run it instead.
            (Some(onnx), Some(folder)) => Some(folder.copy(onnx)?),
            (onnx, _) => onnx.clone(),
        };
        let onnx = onnx.as_deref().map(|onnx| seen_from(output.engine(), onnx));
        let built_for = self.built_for(&model, quantized, &bench, onnx);
        let text = manifest::text(&model, &model::sha256_of(plan), &built_for)?;
        output.write(plan, &text)?;
        // Read back as the daemon will, so that what is told is what is there.
        let engine = model::load_engine(output.engine())?;
        println!(
            "{}: {}, {}, {:.1} s; manifest {}",
            output.engine().display(),
            megabytes(engine.n_bytes()),
            built_for.precision,
            began.elapsed().as_secs_f64(),
            output.manifest().display()
        );
        if !model.names_classes {
            eprintln!(
                "nothing says what the classes are called, so they are numbered: write classes = [...] into the manifest"
            );
        }
        Ok(output.engine().to_owned())
    }

    fn what(&self) -> String {
        match &self.model {
            Some(path) => format!("building {}", path.display()),
            None => "building the bundled model".to_owned(),
        }
    }

    /// Beside the ONNX file; the bundled model has no place of its own.
    fn default_output(&self, model: &ModelFile) -> PathBuf {
        match &self.model {
            Some(path) => path.with_extension("engine"),
            None => PathBuf::from(format!("{}.engine", model.spec.name)),
        }
    }

    fn check(
        &self,
        model: &ModelFile,
        quantized: bool,
        bench: &Workbench,
    ) -> Result<(), UsageError> {
        let library = bench.library_name();
        if self.int8 && !quantized {
            return Err(UsageError(
                "--int8 needs an ONNX file with QuantizeLinear and DequantizeLinear, as NVIDIA's ModelOpt writes: cellsegd does \
                 not calibrate"
                    .to_owned(),
            ));
        }
        if self.fp16 && bench.strongly_typed() && !model.half_weights {
            let bundled = Path::new("engines/cells_640.onnx");
            let onnx = self.model.as_deref().unwrap_or(bundled);
            let half = onnx.with_extension("fp16.onnx");
            let whose = match self.model {
                Some(_) => "",
                None => " (the bundled model; tools and engines are folders of cellsegd's sources)",
            };
            return Err(UsageError(format!(
                "{library} takes its types from the ONNX file: make a half-precision one first, tools/onnx-fp16 {0} {1}{whose}, \
                 and build from that: cellsegd engine build {1} --fp16",
                onnx.display(),
                half.display()
            )));
        }
        if self.profiles > 1 && !bench.one_profile_a_lane() {
            return Err(UsageError(format!(
                "--profiles is for TensorRT 8: {library} lets any number of lanes share one"
            )));
        }
        Ok(())
    }

    fn built_for(
        &self,
        model: &ModelFile,
        quantized: bool,
        bench: &Workbench,
        onnx: Option<String>,
    ) -> BuiltFor {
        let fp16 = self.fp16 && !bench.strongly_typed() || model.half_weights;
        let device = bench.device().filter(|_| !bench.compiles_at_load());
        BuiltFor {
            tensorrt: bench.library_name(),
            compute_capability: device.map(|device| {
                let (major, minor) = device.compute_capability;
                format!("{major}.{minor}")
            }),
            device: device.map(|device| device.name.clone()),
            precision: match (quantized, fp16) {
                (true, _) => "int8",
                (_, true) => "fp16",
                _ => "fp32",
            }
            .to_owned(),
            version_compatible: self.version_compatible,
            onnx,
            batch: self.batch.map(|batch| batch.to_string()),
            profiles: (self.profiles > 1).then_some(self.profiles),
            head: Some(model.spec.head.name().to_owned()),
            onnx_sha256: Some(model.spec.sha256.clone()),
            ..BuiltFor::default()
        }
    }
}

/// What the manifest of `engine` calls `onnx`: by its name in one folder, so that both may move, else by its whole path.
fn seen_from(engine: &Path, onnx: &Path) -> String {
    let folder = |path: &Path| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.canonicalize(),
        _ => Path::new(".").canonicalize(),
    };
    let name = onnx.file_name().unwrap_or_default();
    let seen = match (folder(engine), folder(onnx)) {
        (Ok(here), Ok(there)) if here != there => there.join(name),
        _ => PathBuf::from(name),
    };
    seen.to_string_lossy().into_owned()
}
