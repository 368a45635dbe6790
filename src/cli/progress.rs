//! How far a run over files is: a bar for many files on a terminal, else a line a file.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use super::record::{Fate, FrameRecord};

/// From this many files on lines would scroll away what matters.
const BAR_FROM: usize = 8;

/// Writes to stderr; failures are always a line of their own.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(n_files: usize) -> Self {
        let bar = (n_files >= BAR_FROM && stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{bar:32} {pos}/{len}  {per_sec}  {eta} left")
                .expect("a valid template");
            ProgressBar::new(n_files as u64).with_style(style)
        });
        Progress { bar }
    }

    /// A frame is done.
    pub(super) fn frame(&self, record: &FrameRecord) {
        let name = match record.page {
            0 => record.file.clone(),
            page => format!("{} page {page}", record.file),
        };
        let (line, matters) = match &record.fate {
            Fate::Segmented(summary) => {
                let confluence = 100.0 * summary.confluence;
                let mut line =
                    format!("{name}: {} cells, {confluence:.1} % covered", summary.cells);
                for notice in &summary.notices {
                    line += &format!("; {notice}");
                }
                (line, false)
            }
            Fate::Measured { on } => (format!("{name}: measured in the cells of {on}"), false),
            Fate::Dropped(why) => (format!("{name}: dropped: {why}"), true),
            Fate::Failed(why) => (format!("{name}: failed: {why}"), true),
        };
        match &self.bar {
            None => eprintln!("{line}"),
            Some(bar) => {
                if matters {
                    bar.println(line);
                }
                bar.inc(1);
            }
        }
    }

    /// Something about all of it.
    pub(super) fn say(&self, line: &str) {
        match &self.bar {
            None => eprintln!("{line}"),
            Some(bar) => bar.println(line),
        }
    }

    /// Everything is done.
    pub(super) fn finish(&self, summary: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{summary}");
    }
}
