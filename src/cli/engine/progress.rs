//! How far a build is: a line that changes on a terminal, else a line a phase.

use std::{
    io::{IsTerminal, stderr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::backend::cuda::trt::Event;

/// Writes to stderr.
pub(super) struct BuildProgress {
    bar: Option<ProgressBar>,
    phases: Mutex<Vec<Phase>>,
}

/// One that has begun and not ended.
struct Phase {
    name: String,
    steps: u32,
    done: u32,
}

impl BuildProgress {
    pub(super) fn new() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}")
                .expect("a valid template");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.set_message("building");
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        BuildProgress {
            bar,
            phases: Mutex::default(),
        }
    }

    /// From any thread.
    pub(super) fn event(&self, event: Event) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, started) = match event {
            Event::Started { phase, steps } => {
                let name = phase.clone();
                phases.push(Phase {
                    name: phase,
                    steps,
                    done: 0,
                });
                (name, true)
            }
            Event::Step { phase, done } => {
                if let Some(known) = phases.iter_mut().find(|known| known.name == phase) {
                    known.done = done;
                }
                (phase, false)
            }
            Event::Finished { phase } => {
                phases.retain(|known| known.name != phase);
                (phase, false)
            }
        };
        match &self.bar {
            Some(bar) => bar.set_message(message(&phases)),
            // Inner phases come by the hundred.
            None if started && phases.len() == 1 => eprintln!("building: {name}"),
            None => (),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn message(phases: &[Phase]) -> String {
    let texts: Vec<String> = phases
        .iter()
        .map(|phase| format!("{} {}/{}", phase.name, phase.done, phase.steps))
        .collect();
    match &texts[..] {
        [] => "building".to_owned(),
        texts => texts.join(", "),
    }
}
