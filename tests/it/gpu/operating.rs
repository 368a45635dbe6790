//! Models of a folder: installed, rebuilt after an upgrade, exchanged while they are served.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use cellsegd::proto::{self as pb, stream_reply::Reply, stream_request::Request};

use super::{
    machine::{Machine, TRT_10},
    models,
};
use crate::client::{Session, outcome};

const PLAN: &str = "tensorrt=10.3.0\ncompute=8.9";

/// Settings of a daemon that serves a folder, which is made, beside a unix socket.
struct Daemon {
    config: String,
    listen: String,
    folder: PathBuf,
}

impl Daemon {
    fn new(machine: &Machine, settings: &str) -> Self {
        let folder = machine.path("models");
        fs::create_dir_all(&folder).unwrap();
        let daemon = Daemon {
            config: machine.path("cellsegd.toml").display().to_string(),
            listen: format!("unix://{}", machine.path("s").display()),
            folder,
        };
        daemon.configure(settings);
        daemon
    }

    fn configure(&self, settings: &str) {
        let (folder, listen) = (&self.folder, &self.listen);
        let text = format!("models_dir = {folder:?}\nlisten = [{listen:?}]\n{settings}");
        fs::write(&self.config, text).unwrap();
    }

    fn arguments(&self) -> [&str; 4] {
        ["--config", &self.config, "--listen", &self.listen]
    }
}

async fn changed(session: &mut Session) -> pb::SessionChanged {
    match session.reply().await {
        Reply::Changed(changed) => changed,
        other => panic!("no change: {other:?}"),
    }
}

fn follow() -> pb::SessionOptions {
    pb::SessionOptions {
        follow_reload: true,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_upgrade_engines_are_rebuilt_and_taken_by_the_daemon_that_runs() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let daemon = Daemon::new(&machine, "[gpu]\nfallback = \"cpu\"");
    let config = &*daemon.config;
    let onnx = machine.path("cell.onnx");
    fs::write(&onnx, models::ONNX).unwrap();
    let onnx = onnx.to_str().unwrap();
    let said = machine.ok(&["engine", "build", onnx, "--install", "--config", config]);
    assert!(said.contains("no daemon answers"), "{said}");
    for name in ["cell.engine", "cell.engine.toml", "cell.onnx"] {
        let about = fs::metadata(daemon.folder.join(name)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o644, "{name}");
    }
    let rebuild = ["engine", "rebuild", "--all", "--config", config];
    let said = machine.ok(&rebuild);
    assert!(said.contains("cell.engine: fits"), "{said}");

    let machine = machine.with("CELLSEGD_FAKE_TRT_VERSION", "10.9.0");
    let said = machine.ok(&["models", "--config", config]);
    assert!(
        said.contains("degraded") && said.contains("cellsegd engine build"),
        "{said}"
    );
    let served = machine.serve(&daemon.arguments()).await;
    let (mut session, opened) = served.open(follow()).await;
    assert!(
        opened.backend.starts_with("CPU instead"),
        "{}",
        opened.backend
    );
    let said = machine.ok(&rebuild);
    assert!(said.contains("cell: loaded"), "{said}");
    let told = changed(&mut session).await;
    assert_eq!((told.revision, told.why.as_str()), (2, "reload"));
    assert!(told.backend.contains("10.9.0"), "{}", told.backend);
    let frame = &models::frames()[0];
    session
        .send(Request::Frame(models::message(1, frame)))
        .await;
    let reply = session.frame_reply().await;
    assert!(outcome(&reply).ends_with("cells") && reply.revision == 2);
    let said = machine.ok(&["reload", "--server", &daemon.listen]);
    assert_eq!(said.trim(), "cell: unchanged");
    drop(session);
    let (status, log) = served.stop();
    assert!(status.success(), "{log}");
    machine.assert_nothing_is_left();
}

#[test]
fn where_signatures_are_required_nothing_unsigned_is_built_from_or_offered() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let key = "RWQ0xyJsdb/rMLnuFwH9d1bXCPJLE8dzdn7YDAEX49vsKs/A3HlfNX2J";
    let daemon = Daemon::new(
        &machine,
        &format!("[trust]\nkeys = [{key:?}]\nrequire_signature = true"),
    );
    let config = &*daemon.config;
    let onnx = machine.path("cell.onnx");
    fs::write(&onnx, models::ONNX).unwrap();
    let install = ["engine", "build", "--install", "--config", config];
    let said = machine.fails(78, &[&install[..], &[onnx.to_str().unwrap()]].concat());
    assert!(said.contains("cell.onnx.minisig is missing"), "{said}");
    // The model that comes with the program needs no signature to be built from; what was built does.
    let signature = daemon.folder.join("cells_640.engine.minisig");
    fs::write(&signature, "of the engine before").unwrap();
    let said = machine.ok(&install);
    assert!(
        said.contains("minisign -S -m") && !said.contains("no daemon answers"),
        "{said}"
    );
    assert!(!signature.exists());
    let said = machine.fails(
        1,
        &["engine", "rebuild", "--all", "--force", "--config", config],
    );
    assert!(said.contains("engine.minisig is missing"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_is_short_of_memory_says_both_figures_and_changes_nothing() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let daemon = Daemon::new(&machine, "");
    let engine = daemon.folder.join("cell.engine");
    fs::write(&engine, models::plan(PLAN)).unwrap();
    // How much one needs is for the daemon to say.
    let limited = "[gpu]\nmemory_limit_mib = 1";
    daemon.configure(limited);
    let said = machine.fails(78, &["serve", "--config", &daemon.config]);
    let words = said.split("need ").nth(1).unwrap_or_default();
    let need: u64 = words.split(' ').next().unwrap().parse().unwrap();
    let free = need + need / 2;
    let machine = machine.with("CELLSEGD_FAKE_MEMORY_MIB", &free.to_string());
    daemon.configure("");
    let served = machine.serve(&daemon.arguments()).await;
    let (mut session, _) = served.open(follow()).await;
    fs::write(&engine, models::plan(&format!("{PLAN}\nx=y"))).unwrap();
    let reload = ["reload", "--server", &daemon.listen];
    let said = machine.fails(1, &reload);
    for word in ["cell: refused", " MiB of ", "are free", "need "] {
        assert!(said.contains(word), "{said}");
    }
    let frame = &models::frames()[0];
    session
        .send(Request::Frame(models::message(1, frame)))
        .await;
    let reply = session.frame_reply().await;
    assert!(outcome(&reply).ends_with("cells") && reply.revision == 1);
    // Without the old lanes there is room.
    daemon.configure("reload = \"replace\"");
    let said = machine.ok(&reload);
    assert!(said.contains("cell: loaded"), "{said}");
    assert_eq!(changed(&mut session).await.revision, 2);
    drop(session);
    let (status, log) = served.stop();
    assert!(status.success(), "{log}");
    machine.assert_nothing_is_left();
}

#[test]
fn models_share_one_budget() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let daemon = Daemon::new(&machine, "");
    for name in ["a.engine", "b.engine"] {
        fs::write(daemon.folder.join(name), models::plan(PLAN)).unwrap();
    }
    let check = ["serve", "--check", "--config", &daemon.config];
    machine.ok(&check);
    daemon.configure("[gpu]\nmemory_limit_mib = 1");
    let said = machine.fails(78, &check);
    let words = said.split("need ").nth(1).unwrap_or_default();
    let need: u64 = words.split(' ').next().unwrap().parse().unwrap();
    daemon.configure(&format!("[gpu]\ntotal_memory_mib = {}", 2 * need));
    machine.ok(&check);
    let short = 2 * need - 2;
    daemon.configure(&format!("[gpu]\ntotal_memory_mib = {short}"));
    let said = machine.fails(78, &check);
    for word in [
        format!("gpu.total_memory_mib = {short}"),
        format!("needs {need} MiB"),
        format!("hold {need}"),
    ] {
        assert!(said.contains(&word), "{word}: {said}");
    }
    machine.assert_nothing_is_left();
}
