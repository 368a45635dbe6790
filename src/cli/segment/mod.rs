//! `cellsegd segment`: images in, masks out.

mod missing;
mod resume;
mod run;
mod tally;
mod watch;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;

use self::run::Run;
use super::{
    UsageError,
    choices::{AnalysisChoices, Choices, EngineFlags, SessionChoices},
    client::{CredentialFlags, OptionsFile, ServerUrl},
    inputs::{InputFlags, Lister, Listing},
    output::Products,
    progress::Progress,
    record::{Folder, RunRecord},
    segmenter::{Segmenter, Wishes},
};

/// Segment image files and folders of them (PNG, TIFF stacks, OME-TIFF, JPEG; 8 and 16 bit)
#[derive(Args, Debug)]
pub(super) struct Segment {
    /// Images, and folders of images: every page of a stack is a frame
    #[arg(required_unless_present_any = ["watch", "missing"], value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder for what is written
    #[arg(long, value_name = "DIR", required_unless_present = "missing")]
    out: Option<PathBuf>,
    /// Segment what comes into this folder, until Ctrl-C; started again, it goes on where it stopped
    #[arg(long, value_name = "DIR", conflicts_with_all = ["paths", "missing"])]
    watch: Option<PathBuf>,
    /// A watched file is taken when it has not changed for so many seconds
    #[arg(long, value_name = "SECONDS", requires = "watch", default_value = "1", value_parser = seconds)]
    settle: Duration,
    /// Segment what an earlier run did not: frames that were dropped or failed, or that it never came to
    #[arg(long, value_name = "RUN.JSON", conflicts_with_all = ["paths", "out"])]
    missing: Option<PathBuf>,
    /// tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH [default: a lane in this process]
    #[arg(long, value_name = "URL")]
    server: Option<ServerUrl>,
    #[command(flatten)]
    credentials: CredentialFlags,
    /// ONNX file or TensorRT engine [default: the bundled one]; with --server: the name of one of its models
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Options as TOML, named as in SessionOptions of the contract: what the Python client and napari save; flags win over it
    #[arg(long, value_name = "FILE", conflicts_with = "missing")]
    options: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineFlags,
    #[command(flatten, next_help_heading = "Frames")]
    inputs: InputFlags,
    #[command(flatten, next_help_heading = "Cells")]
    choices: Choices,
    #[command(flatten, next_help_heading = "Analysis")]
    analysis: AnalysisChoices,
    #[command(flatten, next_help_heading = "Files written")]
    products: Products,
    /// What only a server's session has.
    #[arg(skip)]
    session: SessionChoices,
}

impl Segment {
    pub(super) fn run(mut self) -> Result<ExitCode> {
        self.read_options()?;
        if let Some(record) = &self.missing {
            return self.fill_in(record);
        }
        let out = self.out.as_ref().expect("clap asks for it");
        let wishes = self.wishes();
        let followed = wishes.analysis.tracking.is_some() || wishes.analysis.growth.is_some();
        let watch = self.watch.as_deref();
        let listing = self.inputs.listing(&self.paths, watch, followed)?;
        own_folder(out, &listing)?;
        match watch {
            Some(folder) => self.watch(folder, out, listing, wishes),
            None => self.all(out, listing, &wishes),
        }
    }

    /// Flags win over the file.
    fn read_options(&mut self) -> Result<()> {
        let Some(path) = &self.options else {
            return Ok(());
        };
        let file = OptionsFile::read(path)?;
        file.fill(&mut self.choices, &mut self.analysis);
        self.session = file.session();
        if self.server.is_some() && !self.session.model.is_empty() {
            let named = || PathBuf::from(&self.session.model);
            self.model.get_or_insert_with(named);
        }
        for notice in file.not_followed() {
            eprintln!("{}: {notice}", path.display());
        }
        Ok(())
    }

    fn all(&self, out: &Path, listing: Listing, wishes: &Wishes) -> Result<ExitCode> {
        let listed = Lister::new(listing.clone())?.all()?;
        if !listed.unmatched.is_empty() {
            eprintln!("{} files do not match --pattern", listed.unmatched.len());
        }
        if listed.other_channels > 0 {
            eprintln!(
                "{} frames of other channels are left out",
                listed.other_channels
            );
        }
        if listing.segment.is_none() && listed.channels.len() > 1 {
            eprintln!(
                "channels {}: each is segmented; --segment NAME takes one",
                listed.channels.join(", ")
            );
        }
        let segmenter = self.open(wishes)?;
        make_folder(out)?;
        let header = RunRecord::new(
            segmenter.provenance().clone(),
            self.inputs.pixel_size,
            Some(listing),
        );
        let folder = Folder::start(out, header)?;
        let n_frames = listed.groups.iter().map(|group| group.planes().count());
        let progress = Progress::new(n_frames.sum());
        Run::new(folder, self.products, segmenter, progress).all(listed.groups)
    }

    fn wishes(&self) -> Wishes {
        let other_channels = self.inputs.measures_other_channels();
        Wishes {
            choices: self.choices.clone(),
            analysis: self.analysis.settle(other_channels),
            other_channels,
            flat: self.analysis.flat.clone(),
            dark: self.analysis.dark.clone(),
            session: self.session.clone(),
            resumed: Vec::new(),
        }
    }

    fn open(&self, wishes: &Wishes) -> Result<Segmenter> {
        let segmenter = Segmenter::open(
            self.server.as_ref(),
            &self.credentials.read()?,
            self.model.clone(),
            &self.engine,
            wishes,
        )?;
        // Thresholds are one model's: with another they would be taken for settings that somebody has tried.
        let (named, model) = (&self.session.model, &segmenter.provenance().model.name);
        if self.model.is_none() && !named.is_empty() && named != model {
            let why = format!(
                "the options are for model {named:?}, this is {model}: give its file with --model, or a --server that has it"
            );
            return Err(UsageError(why).into());
        }
        Ok(segmenter)
    }
}

fn make_folder(out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))
}

/// Results among the images would be taken for images.
fn own_folder(out: &Path, listing: &Listing) -> Result<(), UsageError> {
    let whole = |path: &Path| fs::canonicalize(path).ok();
    let mut folders = listing.paths.iter().chain(&listing.watch);
    match folders.find(|path| whole(out).is_some_and(|out| whole(path) == Some(out))) {
        None => Ok(()),
        Some(folder) => Err(UsageError(format!(
            "--out {}: results need a folder of their own, not that of the images",
            folder.display()
        ))),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let found = text.parse().ok();
    found
        .filter(|seconds| 0.0 < *seconds && *seconds < 3600.0)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "must be seconds, above 0".to_owned())
}
