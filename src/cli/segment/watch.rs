//! `segment --watch`: frames as they come into a folder, until somebody ends it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Segment, make_folder, resume, run::Run};
use crate::cli::{
    UsageError,
    inputs::{Arrival, Arrivals, Listing, Wake, Wakes},
    progress::Progress,
    record::{self, Fate, Folder, FrameRecord, RunRecord},
    segmenter::Wishes,
};

/// Network shares give no events: how long nothing is looked at.
const POLL: Duration = Duration::from_secs(2);

impl Segment {
    pub(super) fn watch(
        &self,
        folder: &Path,
        out: &Path,
        listing: Listing,
        mut wishes: Wishes,
    ) -> Result<ExitCode> {
        let earlier = match out.join("run.json").exists() {
            true => Some(record::read(out)?),
            false => None,
        };
        let mut arrivals = Arrivals::new(folder, listing.clone(), self.settle)?;
        if let Some(run) = &earlier {
            same_listing(&run.header, &listing, out)?;
            wishes.resumed = resume::series(out, &run.frames, &wishes.analysis)?;
            for frame in run.frames.iter().filter(|frame| is_done(frame)) {
                let path = PathBuf::from(&frame.file);
                arrivals.is_done(&frame.image_id, &path, &frame.metadata);
            }
        }
        // Before the model is loaded: a signal that comes meanwhile ends the run in order, too.
        let mut wakes = Wakes::new(folder).context("cannot watch")?;
        let segmenter = self.open(&wishes)?;
        make_folder(out)?;
        let header = RunRecord::new(
            segmenter.provenance().clone(),
            self.inputs.pixel_size,
            Some(listing),
        );
        let record = match earlier {
            None => Folder::start(out, header)?,
            Some(run) => {
                same_options(&run.header, &header, out)?;
                let n_done = run.frames.iter().filter(|frame| is_done(frame)).count();
                eprintln!("going on after {n_done} frames in {}", out.display());
                Folder::go_on(out, run)?
            }
        };
        eprintln!("watching {}; Ctrl-C ends", folder.display());
        let mut run = Run::new(record, self.products, segmenter, Progress::new(0));
        let ended = self.follow(&mut run, &mut arrivals, &mut wakes);
        run.end(ended, arrivals.rest())
    }

    fn follow(&self, run: &mut Run, arrivals: &mut Arrivals, wakes: &mut Wakes) -> Result<()> {
        loop {
            let arrived = arrivals.look(Instant::now());
            for arrival in arrived {
                match arrival {
                    Arrival::LeftOut(why) => eprintln!("{why}"),
                    Arrival::Group(group) => run.group(*group)?,
                }
                if wakes.wait(Duration::ZERO) == Wake::Stop {
                    return run.settle();
                }
            }
            // Answers do not wait for the next file.
            run.settle()?;
            let patience = match arrivals.is_expecting() {
                true => (self.settle / 2).min(POLL),
                false => POLL,
            };
            if wakes.wait(patience) == Wake::Stop {
                for group in arrivals.rest() {
                    run.group(group)?;
                }
                return run.settle();
            }
        }
    }
}

/// What failed is tried again.
fn is_done(frame: &FrameRecord) -> bool {
    matches!(frame.fate, Fate::Segmented(_) | Fate::Measured { .. })
}

fn same_listing(run: &RunRecord, listing: &Listing, out: &Path) -> Result<(), UsageError> {
    match run.inputs.as_ref() == Some(listing) {
        true => Ok(()),
        false => Err(another(out, "other files or flags about frames")),
    }
}

/// Frames of one folder are made alike.
fn same_options(run: &RunRecord, now: &RunRecord, out: &Path) -> Result<(), UsageError> {
    if run.model != now.model {
        return Err(another(
            out,
            &format!("model {} ({})", run.model.name, run.model.sha256),
        ));
    }
    match run.options == now.options {
        true => Ok(()),
        false => Err(another(out, "other flags about cells")),
    }
}

fn another(out: &Path, what: &str) -> UsageError {
    UsageError(format!(
        "{} holds the results of a run with {what}: use the same flags to go on with it, or another --out",
        out.display()
    ))
}
