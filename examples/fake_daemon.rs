//! The daemon with lanes that segment nothing: each waits and finds nine cells. For stress tests, and for writing a client on a
//! machine that could not run a network. Everything but the lanes is the daemon's own.
//!
//! `cargo run --release --example fake_daemon SETTINGS.toml [MS_PER_FRAME]`

use std::{env, error::Error, path::PathBuf, sync::Arc, thread, time::Duration};

use cellsegd::{
    backend::fake::{self, FakeBackend},
    config::{Overrides, Settings},
    pool::LanePool,
    server::{self, Server},
    telemetry,
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let file = args.next().map(PathBuf::from);
    let ms: u64 = args.next().map_or(Ok(10), |ms| ms.parse())?;
    let settings = Settings::load(file.as_deref(), &Overrides::default())?;
    telemetry::start(&settings.log)?;
    let backend = FakeBackend::new(move |frame, _, ticket| {
        for _ in 0..ms {
            thread::sleep(Duration::from_millis(1));
            ticket.look()?;
        }
        Ok(fake::cells(frame, 9, 12))
    });
    let lanes = LanePool::start(Arc::new(backend), settings.lanes)?;
    // As `cellsegd serve` runs: one thread moves bytes.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let listeners = server::bind(&settings.listen)?;
        let stop = async move {
            terminate.recv().await;
        };
        Server::new(&settings, vec![lanes])
            .run(listeners, stop)
            .await?;
        Ok(())
    })
}
