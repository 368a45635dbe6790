//! `cellsegd reload`: a running daemon reads its settings and models again.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tokio::runtime::Builder;

use super::client::{ConnectFlags, Reloaded, reload};

/// Let a running daemon read its settings and models again: exit code 1 where it refuses one
#[derive(Args, Debug)]
pub(super) struct Reload {
    #[command(flatten)]
    connect: ConnectFlags,
}

impl Reload {
    pub(super) fn run(self) -> Result<ExitCode> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let done = runtime.block_on(async { reload(self.connect.connect().await?).await })?;
        Ok(tell(&done))
    }
}

/// Says what became of each model; the exit code tells whether all is well.
pub(super) fn tell(done: &Reloaded) -> ExitCode {
    done.lines.iter().for_each(|line| println!("{line}"));
    match done.is_refused {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}
