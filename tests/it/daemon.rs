//! A daemon inside the test, with lanes that do what the test says.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use cellsegd::{
    backend::{
        LaneError, Ticket,
        fake::{self, FakeBackend},
    },
    config::{Listen, Settings},
    frame::Frame,
    params::Params,
    pool::LanePool,
    segmentation::RawSegmentation,
    server::{self, Ended, Server},
};
use tokio::{sync::oneshot, task::JoinHandle};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Daemon {
    pub(crate) address: String,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Ended>,
}

impl Daemon {
    /// Serves on a free port until stopped or dropped.
    pub(crate) fn start(settings: Settings, backend: FakeBackend, lanes: usize) -> Self {
        let settings = Settings {
            listen: vec![Listen::Tcp(([127, 0, 0, 1], 0).into())],
            ..settings
        };
        let pool = LanePool::start(Arc::new(backend), lanes).unwrap();
        let listeners = server::bind(&settings.listen).unwrap();
        let address = listeners[0].address().replace("tcp://", "http://");
        let (stop, stopped) = oneshot::channel::<()>();
        let server = Server::new(&settings, vec![pool]);
        let ended = tokio::spawn(async move {
            let stopped = async {
                // Dropped by the test: stop too.
                let _ = stopped.await;
            };
            server.run(listeners, stopped).await.unwrap()
        });
        Daemon {
            address,
            stop: Some(stop),
            ended,
        }
    }

    /// Lanes that find nine cells at once.
    pub(crate) fn instant() -> Self {
        Self::start(
            Settings::default(),
            FakeBackend::new(|frame, _, _| Ok(fake::cells(frame, 9, 4))),
            1,
        )
    }

    /// As SIGTERM does.
    pub(crate) fn stop(&mut self) {
        self.stop
            .take()
            .expect("stopped once")
            .send(())
            .expect("the daemon runs");
    }

    pub(crate) async fn ended(self) -> Ended {
        tokio::time::timeout(PATIENCE, self.ended)
            .await
            .expect("the daemon ends")
            .unwrap()
    }
}

/// Lanes that tell when a frame starts and hold it until the test lets it go.
pub(crate) struct Gate {
    started: Mutex<mpsc::Receiver<Started>>,
    release: mpsc::Sender<Result<usize, LaneError>>,
}

/// A frame that a lane has taken.
pub(crate) struct Started {
    pub(crate) params: Params,
    pub(crate) ticket: Ticket,
}

impl Gate {
    pub(crate) fn new() -> (Self, FakeBackend) {
        let (starts, started) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let (starts, released) = (Mutex::new(starts), Mutex::new(released));
        let backend = FakeBackend::new(move |frame: &Frame, params: &Params, ticket: &Ticket| {
            if is_warm_up(frame) {
                return Ok(fake::cells(frame, 0, 1));
            }
            let start = Started {
                params: params.clone(),
                ticket: ticket.clone(),
            };
            // The test may be over.
            let _ = starts.lock().unwrap().send(start);
            let answer: Result<RawSegmentation, LaneError> =
                match released.lock().unwrap().recv().unwrap_or(Ok(0)) {
                    Ok(cells) => Ok(fake::cells(frame, cells, 4)),
                    Err(error) => Err(error),
                };
            answer
        });
        (
            Gate {
                started: Mutex::new(started),
                release,
            },
            backend,
        )
    }

    /// Waits until a lane has taken a frame.
    pub(crate) async fn started(&self) -> Started {
        tokio::task::block_in_place(|| self.started.lock().unwrap().recv_timeout(PATIENCE))
            .expect("a frame starts")
    }

    /// Whether a lane has taken another frame.
    pub(crate) fn has_started_another(&self) -> bool {
        self.started.lock().unwrap().try_recv().is_ok()
    }

    /// The lane answers its frame with this many cells.
    pub(crate) fn release(&self, cells: usize) {
        self.release.send(Ok(cells)).expect("the lane waits");
    }

    /// The lane fails its frame.
    pub(crate) fn fail(&self, error: LaneError) {
        self.release.send(Err(error)).expect("the lane waits");
    }
}

/// The pool's own frame, by which a lane is warmed up: of the fake model's size.
fn is_warm_up(frame: &Frame) -> bool {
    (frame.width(), frame.height()) == (64, 64)
}
