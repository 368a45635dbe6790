//! How far a run over files is: a bar for many files on a terminal, else a line a file.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use super::record::{FileFate, FileRecord};

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

    /// A file is done.
    pub(super) fn file(&self, record: &FileRecord) {
        let (line, matters) = match &record.fate {
            FileFate::Segmented(summary) => {
                (format!("{}: {} cells", record.file, summary.cells()), false)
            }
            FileFate::Dropped(why) => (format!("{}: dropped: {why}", record.file), true),
            FileFate::Failed(why) => (format!("{}: failed: {why}", record.file), true),
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

    /// Everything is done.
    pub(super) fn finish(&self, summary: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{summary}");
    }
}
