//! A machine with emulated GPUs: the program is run on it, and what it did to the driver is counted.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use cellsegd::proto::{self as pb, stream_request::Request};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::models;
use crate::client::Session;

/// A stand-in: its folder in target/fake_gpu, and the name that the program gives it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trt {
    pub(super) folder: &'static str,
    pub(super) name: &'static str,
}

pub(super) const TRT_8: Trt = Trt {
    folder: "trt8",
    name: "TensorRT 8.6.1",
};
pub(super) const TRT_10: Trt = Trt {
    folder: "trt10",
    name: "TensorRT 10.3.0",
};
pub(super) const TRT_11: Trt = Trt {
    folder: "trt11",
    name: "TensorRT 11.4.0",
};
pub(super) const RTX: Trt = Trt {
    folder: "rtx",
    name: "TensorRT-RTX 1.7.1",
};
pub(super) const RTX_13: Trt = Trt {
    folder: "rtx13",
    name: "TensorRT-RTX 1.3.0",
};

/// How long starting may take: the emulation computes on the CPU, and in debug builds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the program runs, in an environment of its own.
pub(super) struct Machine {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// A running `cellsegd serve`.
pub(super) struct Served {
    pub(super) address: String,
    log: PathBuf,
    child: Child,
}

impl Machine {
    /// None, with the reason printed, where the emulation cannot be built.
    pub(super) fn new(trt: Trt) -> Option<Self> {
        let fakes = fakes()?;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| fakes.join(name).display().to_string();
        let libraries = format!("{}:{}", path("cuda"), path(trt.folder));
        let machine = Machine {
            variables: vec![
                ("LD_LIBRARY_PATH".to_owned(), libraries),
                ("HOME".to_owned(), folder.path().display().to_string()),
                (
                    "XDG_CACHE_HOME".to_owned(),
                    folder.path().join("cache").display().to_string(),
                ),
                (
                    "CELLSEGD_FAKE_COUNTERS".to_owned(),
                    folder.path().join("counters").display().to_string(),
                ),
                (
                    "CELLSEGD_FAKE_ENGINE".to_owned(),
                    example("libfake_engine.so").display().to_string(),
                ),
                // Settings that the tests' own defaults would otherwise hide.
                ("CELLSEGD_LOG__FILTER".to_owned(), "info".to_owned()),
            ],
            folder,
        };
        Some(machine)
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Several stand-ins at once, by their folders, as the loader searches them.
    pub(super) fn with_libraries(self, folders: &[&str]) -> Self {
        let fakes = fakes().expect("it was built");
        let paths: Vec<_> = folders
            .iter()
            .map(|folder| fakes.join(folder).display().to_string())
            .collect();
        self.with("LD_LIBRARY_PATH", &paths.join(":"))
    }

    /// A fault on order: tests/fake_gpu/README.md.
    pub(super) fn with_fault(self, fault: &str) -> Self {
        self.with("CELLSEGD_FAKE_FAULT", fault)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The bundled model as `PLAN`: as `cellsegd engine build` would have written it, without building it.
    pub(super) fn engine(&self, plan: &str) -> PathBuf {
        let path = self.path("cell.engine");
        fs::write(&path, models::plan(plan)).unwrap();
        path
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(program());
        clean(&mut command);
        command
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// This test binary again, with only the test called `name`.
    pub(super) fn rerun(&self, name: &str) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        clean(&mut command);
        command
            .args([name, "--exact", "--nocapture"])
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// A program that was built beside the emulated driver.
    pub(super) fn beside_the_driver(&self, name: &str) -> Command {
        let mut command = Command::new(fakes().expect("it was built").join("cuda").join(name));
        command.stdin(Stdio::null());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// What it printed, if it ended well.
    pub(super) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{}",
            output.status,
            words(&output)
        );
        words(&output)
    }

    /// What it complained of, if it ended with `code`.
    pub(super) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}\n{}",
            words(&output)
        );
        words(&output)
    }

    /// A daemon that listens.
    pub(super) async fn serve(&self, arguments: &[&str]) -> Served {
        let mut served = self.start(arguments);
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = served.child.try_wait().unwrap() {
                panic!("it ended with {status}:\n{}", served.log());
            }
            if let Ok(1) = served.health("").await {
                return served;
            }
            assert!(
                Instant::now() < until,
                "not SERVING in time:\n{}",
                served.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The same model, as bare as [`Machine::engine`] makes it, without a GPU.
    pub(super) async fn serve_on_cpu(&self) -> Served {
        let onnx = self.path("cell.onnx");
        fs::write(&onnx, models::ONNX).unwrap();
        self.serve(&["--model", onnx.to_str().unwrap()]).await
    }

    fn start(&self, arguments: &[&str]) -> Served {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let log = self.path("log");
        let file = fs::File::create(&log).unwrap();
        let child = self
            .command()
            .arg("serve")
            .args(["--listen", &format!("tcp://127.0.0.1:{port}")])
            .args(arguments)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Served {
            address: format!("http://127.0.0.1:{port}"),
            log,
            child,
        }
    }

    /// How often the driver was asked for something, or how much of it there is; 0: never.
    pub(super) fn count(&self, name: &str) -> i64 {
        let records = fs::read(self.path("counters")).unwrap_or_default();
        records
            .chunks_exact(64)
            .find(|record| record.split(|&byte| byte == 0).next() == Some(name.as_bytes()))
            .map_or(0, |record| {
                i64::from_le_bytes(record[56..].try_into().unwrap())
            })
    }

    /// Nothing that was made is left.
    pub(super) fn assert_nothing_is_left(&self) {
        for name in [
            "live_device_buffers",
            "live_pinned_buffers",
            "live_streams",
            "live_events",
            "live_modules",
            "live_graphs",
            "live_graph_execs",
            "live_trt_objects",
            "live_parsers",
        ] {
            assert_eq!(self.count(name), 0, "{name} at the end");
        }
    }
}

impl Served {
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(super) async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        Channel::from_shared(self.address.clone())
            .unwrap()
            .connect()
            .await
    }

    /// 1: SERVING, 2: NOT_SERVING; Err: nobody listens, or the service is unknown.
    pub(super) async fn health(&self, service: &str) -> Result<i32, String> {
        let channel = self.channel().await.map_err(|error| error.to_string())?;
        let service = service.to_owned();
        HealthClient::new(channel)
            .check(HealthCheckRequest { service })
            .await
            .map(|response| response.into_inner().status)
            .map_err(|status| status.code().to_string())
    }

    pub(super) async fn open(&self, options: pb::SessionOptions) -> (Session, pb::SessionOpened) {
        let client =
            pb::segmenter_client::SegmenterClient::new(self.channel().await.expect("it listens"))
                .max_decoding_message_size(usize::MAX);
        let mut session = Session::on(client).await;
        session.send(Request::Open(options)).await;
        match session.reply().await {
            pb::stream_reply::Reply::Opened(opened) => (session, opened),
            other => panic!("not opened: {other:?}"),
        }
    }

    /// As systemd ends it.
    pub(super) fn stop(mut self) -> (ExitStatus, String) {
        let killed = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(killed.success(), "it runs:\n{}", self.log());
        self.ended()
    }

    /// How it ended by itself.
    pub(super) fn ended(&mut self) -> (ExitStatus, String) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.log());
            }
            if until < Instant::now() {
                self.child.kill().unwrap();
                panic!("it does not end:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A test that failed leaves nothing running; one that did not has waited for the end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that was printed.
pub(super) fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The program; another machine than the one that built it names it.
fn program() -> PathBuf {
    env::var_os("CELLSEGD_BIN").map_or_else(|| env!("CARGO_BIN_EXE_cellsegd").into(), PathBuf::from)
}

fn example(name: &str) -> PathBuf {
    if let Some(folder) = env::var_os("CELLSEGD_FAKE_GPU") {
        return PathBuf::from(folder).join(name);
    }
    let folder = Path::new(env!("CARGO_BIN_EXE_cellsegd")).parent().unwrap();
    folder.join("examples").join(name)
}

/// Without settings that a developer's shell may carry.
fn clean(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CELLSEGD_") {
            command.env_remove(name);
        }
    }
}

/// Where the emulation was built; None: it cannot be, and that was said.
fn fakes() -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_gpu/build");
        let target = Path::new(env!("CARGO_BIN_EXE_cellsegd"))
            .parent()
            .and_then(Path::parent)
            .unwrap();
        // Another architecture's, built already: tools/soak.
        if let Some(folder) = env::var_os("CELLSEGD_FAKE_GPU") {
            return Ok(folder.into());
        }
        let folder = target.join("fake_gpu");
        if !script.exists() {
            return Err("the source is not here".to_owned());
        }
        let output = Command::new("bash")
            .args([&script, &folder])
            .output()
            .map_err(|error| format!("bash: {error}"))?;
        match output.status.code() {
            Some(0) => Ok(folder),
            Some(3) => Err(words(&output)),
            _ => panic!("tests/fake_gpu/build: {}", words(&output)),
        }
    });
    match built {
        Ok(folder) => Some(folder),
        Err(why) => {
            skipped(why.trim());
            None
        }
    }
}

/// Says why a test cannot run here, and fails where it was meant to.
#[expect(
    clippy::print_stderr,
    reason = "a skip that nobody reads about is a test that does not exist"
)]
pub(super) fn skipped(why: &str) {
    let required = env::var("CELLSEGD_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "CELLSEGD_REQUIRE_ALL=1, but: {why}");
    eprintln!("skipped: {why}");
}
