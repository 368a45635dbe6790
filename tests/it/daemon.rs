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
    config::{LimitSettings, Listen, Settings},
    frame::Frame,
    params::Params,
    pool::LanePool,
    server::{self, Control, Ended, Loader, MemorySocket, Server},
};
use tokio::{sync::oneshot, task::JoinHandle};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Daemon {
    pub(crate) address: String,
    /// Where HTTP is answered.
    pub(crate) http: std::net::SocketAddr,
    pub(crate) control: Control,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Ended>,
}

impl Daemon {
    /// Serves on a free port until stopped or dropped.
    pub(crate) fn start(settings: Settings, backend: FakeBackend, lanes: usize) -> Self {
        let pool = LanePool::start_with(Arc::new(backend), lanes, settings.hung_after()).unwrap();
        Self::serve(settings, |settings| Server::new(settings, vec![pool]))
    }

    /// The same with models that `loader` exchanges for others.
    pub(crate) fn reloading(
        settings: Settings,
        pools: Vec<LanePool>,
        loader: Arc<dyn Loader>,
    ) -> Self {
        Self::serve(settings, |settings| {
            Server::new(settings, pools).reloading(loader)
        })
    }

    fn serve(settings: Settings, server: impl FnOnce(&Settings) -> Server) -> Self {
        let settings = Settings {
            listen: vec![Listen::Tcp(([127, 0, 0, 1], 0).into())],
            http: vec![Listen::Tcp(([127, 0, 0, 1], 0).into())],
            ..settings
        };
        let listeners = server::bind(&settings.listen).unwrap();
        let address = listeners[0].address().replace("tcp://", "http://");
        let http_listeners = server::bind(&settings.http).unwrap();
        let http = http_listeners[0].address().replace("tcp://", "");
        let (stop, stopped) = oneshot::channel::<()>();
        let memory = settings.shared_memory.socket.clone();
        let memory = memory.map(MemorySocket::bind).transpose().unwrap();
        let server = server(&settings)
            .with_http(http_listeners)
            .with_memory(memory);
        let control = server.control();
        let ended = tokio::spawn(async move {
            let stopped = async {
                // Dropped by the test: stop too.
                let _ = stopped.await;
            };
            server.run(listeners, stopped).await.unwrap()
        });
        Daemon {
            address,
            http: http.parse().unwrap(),
            control,
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

    /// Lanes that find one cell at once, within bounds of the test's own.
    pub(crate) fn limited(limits: LimitSettings) -> Self {
        let settings = Settings {
            limits,
            ..Default::default()
        };
        let backend = FakeBackend::new(|frame, _, _| Ok(fake::cells(frame, 1, 4)));
        Self::start(settings, backend, 1)
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

/// Lanes that hold each frame until the test answers it.
pub(crate) struct Gate(Mutex<mpsc::Receiver<Started>>);

/// A frame that a lane has taken. Dropped, it is answered without cells.
pub(crate) struct Started {
    pub(crate) frame: Frame,
    pub(crate) params: Params,
    pub(crate) ticket: Ticket,
    answer: mpsc::Sender<Result<usize, LaneError>>,
}

impl Gate {
    pub(crate) fn new() -> (Self, FakeBackend) {
        let (starts, started) = mpsc::channel();
        let starts = Mutex::new(starts);
        let backend = FakeBackend::new(move |frame: &Frame, params: &Params, ticket: &Ticket| {
            if is_warm_up(frame) {
                return Ok(fake::cells(frame, 0, 1));
            }
            let (answer, answered) = mpsc::channel();
            let (frame, params, ticket) = (frame.clone(), params.clone(), ticket.clone());
            let started = Started {
                frame: frame.clone(),
                params,
                ticket,
                answer,
            };
            // The test may be over.
            let _ = starts.lock().unwrap().send(started);
            answered
                .recv()
                .unwrap_or(Ok(0))
                .map(|cells| fake::cells(&frame, cells, 4))
        });
        (Gate(Mutex::new(started)), backend)
    }

    /// Waits until a lane has taken a frame.
    pub(crate) async fn started(&self) -> Started {
        tokio::task::block_in_place(|| self.0.lock().unwrap().recv_timeout(PATIENCE))
            .expect("a frame starts")
    }

    /// Whether a lane has taken another frame.
    pub(crate) fn has_started_another(&self) -> bool {
        self.0.lock().unwrap().try_recv().is_ok()
    }
}

impl Started {
    /// The lane answers with this many cells.
    pub(crate) fn answer(self, cells: usize) {
        self.answer.send(Ok(cells)).expect("the lane waits");
    }

    /// The lane fails.
    pub(crate) fn fail(self, error: LaneError) {
        self.answer.send(Err(error)).expect("the lane waits");
    }
}

/// Time for the daemon to read what was sent, where no reply can tell that it has. If it is too short a test fails, never
/// passes.
pub(crate) async fn let_it_be_read() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// The pool's own frame, by which a lane is warmed up: of the fake model's size.
fn is_warm_up(frame: &Frame) -> bool {
    (frame.width(), frame.height()) == (64, 64)
}

/// Says why a test cannot run here, and fails where it was meant to.
#[expect(
    clippy::print_stderr,
    reason = "a skip that nobody reads about is a test that does not exist"
)]
pub(crate) fn skipped(why: &str) {
    let required = std::env::var("CELLSEGD_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "CELLSEGD_REQUIRE_ALL=1, but: {why}");
    eprintln!("skipped: {why}");
}
