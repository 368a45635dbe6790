"""Under systemd: what the daemon tells it, the sockets that it hands over, and the units as installed.

tools/boot starts the same units under a real systemd; this is what can be known without one.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from client import Session, raw, tiny_options
from conftest import skip
from contract import pb, rpc
from daemon import BIN, ROOT, TARGET, Daemon, environment, free_port
from frames import discs

UNITS = ROOT / "systemd/usr/lib/systemd/system"
FAKE_GPU = TARGET.absolute() / "fake_gpu"
PATIENCE_S = 60
SYSEXITS_CONFIG = 78


def tool(name: str) -> str:
    return shutil.which(name) or skip(f"no {name}: Debian's package systemd has it")


class Manager:
    """The other end of NOTIFY_SOCKET: keeps what it is told, in order."""

    def __init__(self):
        # Short: a unix socket's path has 107 bytes.
        self.folder = tempfile.TemporaryDirectory(prefix="notify-")
        self.path = f"{self.folder.name}/s"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.messages: list[dict[str, str]] = []
        self.told = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            text = self.socket.recv(1 << 16).decode()
            message = dict(line.split("=", 1) for line in text.splitlines())
            with self.told:
                self.messages.append(message)
                self.told.notify_all()

    def wait(self, key: str, value: str | None = None, after: int = 0) -> int:
        """The place of the first message from `after` on that has `key`, of `value` where one is given."""

        def place():
            for at, message in enumerate(self.messages):
                if at >= after and key in message and value in (None, message[key]):
                    return at + 1
            return None

        with self.told:
            found = self.told.wait_for(place, PATIENCE_S)
            assert found, f"no {key}={value or '...'} from message {after} on in {self.messages}"
            return found - 1

    def count(self, key: str) -> int:
        with self.told:
            return sum(key in message for message in self.messages)


@pytest.fixture
def manager():
    return Manager()


@pytest.fixture
def tiny_settings(tiny_model) -> str:
    return f'models = ["{tiny_model}"]\n[engine]\nkind = "rten"\n'


def test_systemd_hears_of_the_start_and_then_that_it_is_ready(manager, tmp_path, tiny_settings):
    with Daemon(tmp_path, tiny_settings, NOTIFY_SOCKET=manager.path) as daemon:
        ready = manager.wait("READY", "1")
        before = manager.messages[:ready]
        assert before, "loading was said before"
        for message in before:
            assert int(message["EXTEND_TIMEOUT_USEC"]) >= 10_000_000
            assert re.fullmatch(r"loading tiny \(\d+ s\)", message["STATUS"]), message
        assert "tiny" in manager.messages[ready]["STATUS"]
        with Session(daemon, tiny_options()) as session:
            session.segment(raw(discs(64, 64)))
        manager.wait("STATUS", after=ready + 1)
    assert not manager.count("WATCHDOG"), "nobody asked for beats"


def test_ready_means_that_frames_are_taken(manager, tmp_path, tiny_settings):
    """The client is there before the daemon, and calls in the moment of READY."""
    port = free_port()
    config = tmp_path / "cellsegd.toml"
    config.write_text(tiny_settings)
    process = subprocess.Popen(
        [BIN, "serve", "--config", config, "--listen", f"tcp://127.0.0.1:{port}"],
        env=environment(NOTIFY_SOCKET=manager.path),
        stderr=subprocess.DEVNULL,
    )
    try:
        manager.wait("READY", "1")
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


@contextmanager
def emulated_gpu(tmp_path, **extra):
    """The environment and a plan of the emulated GPU."""
    engine = TARGET.absolute() / "examples/libfake_engine.so"
    engine = engine if engine.exists() else BIN.parent / "examples/libfake_engine.so"
    if not (FAKE_GPU / "cuda/libcuda.so.1").exists() or not engine.exists():
        skip("no emulated GPU: bash tests/fake_gpu/build")
    onnx = (ROOT / "engines/cells_640.onnx").read_bytes()
    plan = tmp_path / "cells.engine"
    plan.write_bytes(f"ftrtFAKE1\ntensorrt=10.3.0\ncompute=8.9\nonnx={len(onnx)}\n\n".encode() + onnx)
    yield plan, {
        "LD_LIBRARY_PATH": f"{FAKE_GPU / 'cuda'}:{FAKE_GPU / 'trt10'}",
        "CELLSEGD_FAKE_ENGINE": str(engine),
        **extra,
    }


def test_a_slow_engine_is_given_time_and_shows_it(manager, tmp_path):
    """Each task of the emulated GPU's streams waits: a warm-up has dozens of them."""
    with emulated_gpu(tmp_path, CELLSEGD_FAKE_DELAY_US="100000") as (plan, variables):
        with Daemon(tmp_path, f'models = ["{plan}"]\n', NOTIFY_SOCKET=manager.path, **variables):
            ready = manager.wait("READY")
    said = [re.search(r"\((\d+) s\)", message["STATUS"])[1] for message in manager.messages[:ready]]
    assert len(said) >= 3 and said == sorted(said, key=int) and len(set(said)) >= 3, said


@contextmanager
def loading(manager, tmp_path):
    """A daemon that has begun to load an engine and takes a while for it."""
    with emulated_gpu(tmp_path, CELLSEGD_FAKE_DELAY_US="100000") as (plan, variables):
        config = tmp_path / "cellsegd.toml"
        config.write_text(f'models = ["{plan}"]\n')
        process = subprocess.Popen(
            [BIN, "serve", "--config", config, "--listen", f"tcp://127.0.0.1:{free_port()}"],
            env=environment(NOTIFY_SOCKET=manager.path, **variables),
            stderr=subprocess.DEVNULL,
        )
        try:
            # The second word comes a second after the first, when signals are seen to.
            manager.wait("EXTEND_TIMEOUT_USEC", after=manager.wait("EXTEND_TIMEOUT_USEC") + 1)
            assert not manager.count("READY")
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE_S)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_start_ends_when_it_is_asked_to(manager, tmp_path, name):
    with loading(manager, tmp_path) as process:
        process.send_signal(getattr(signal, name))
        assert process.wait(PATIENCE_S) == 0
    manager.wait("STOPPING")
    assert not manager.count("READY")


def test_a_reload_that_comes_during_the_start_is_done_after_it(manager, tmp_path):
    with loading(manager, tmp_path) as process:
        process.send_signal(signal.SIGHUP)
        ready = manager.wait("READY")
        reloading = manager.wait("RELOADING", after=ready + 1)
        manager.wait("READY", after=reloading + 1)
        assert process.poll() is None


def test_beats_come_twice_as_often_as_asked_for(manager, tmp_path, tiny_settings):
    asked = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "1000000"}
    with Daemon(tmp_path, tiny_settings, **asked) as daemon:
        manager.wait("READY")
        began = manager.wait("WATCHDOG")
        seen = manager.count("WATCHDOG")
        until = time.monotonic() + PATIENCE_S
        while manager.count("WATCHDOG") < seen + 3:
            assert time.monotonic() < until, manager.messages[began:]
            time.sleep(0.05)
        # Its runtime does not turn: no beats, whatever its other threads do.
        os.kill(daemon.process.pid, signal.SIGSTOP)
        time.sleep(1)
        seen = manager.count("WATCHDOG")
        time.sleep(1.5)
        stopped = manager.count("WATCHDOG")
        os.kill(daemon.process.pid, signal.SIGCONT)
        assert stopped == seen
        manager.wait("WATCHDOG", after=len(manager.messages))


def test_a_reload_is_announced_and_ended(manager, tmp_path, tiny_settings):
    with Daemon(tmp_path, tiny_settings, NOTIFY_SOCKET=manager.path) as daemon:
        with Session(daemon, tiny_options()) as session:
            at = manager.wait("READY")
            for _ in range(2):
                before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                daemon.process.send_signal(signal.SIGHUP)
                at = manager.wait("RELOADING", "1", after=at + 1)
                # systemd 253 and later want the time in the same message.
                assert before <= int(manager.messages[at]["MONOTONIC_USEC"]) <= before + PATIENCE_S * 1_000_000
                at = manager.wait("READY", "1", after=at + 1)
                assert manager.messages[at]["STATUS"]
            session.segment(raw(discs(64, 64)))
            session.close()


def test_settings_that_went_bad_are_said_by_a_reload_and_serving_goes_on(manager, tmp_path, tiny_settings):
    with Daemon(tmp_path, tiny_settings, NOTIFY_SOCKET=manager.path) as daemon:
        at = manager.wait("READY")
        (tmp_path / "cellsegd.toml").write_text("lanes = 'many'\n")
        daemon.process.send_signal(signal.SIGHUP)
        at = manager.wait("READY", "1", after=at + 1)
        assert "lanes" in manager.messages[at]["STATUS"], manager.messages[at]
        with Session(daemon, tiny_options()) as session:
            session.segment(raw(discs(64, 64)))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_the_end_is_announced(manager, tmp_path, tiny_settings, name):
    with Daemon(tmp_path, tiny_settings, NOTIFY_SOCKET=manager.path) as daemon:
        at = manager.wait("READY")
        daemon.process.send_signal(getattr(signal, name))
        at = manager.wait("STOPPING", "1", after=at + 1)
        assert daemon.process.wait(PATIENCE_S) == 0
    for message in manager.messages[at + 1 :]:
        assert "READY" not in message and "draining" in message.get("STATUS", "draining"), message


def test_a_socket_that_nobody_reads_is_no_trouble(tmp_path, tiny_settings):
    with Daemon(tmp_path, tiny_settings, NOTIFY_SOCKET="/does/not/exist") as daemon:
        pass
    assert daemon.log.read_text().count("NOTIFY_SOCKET") == 1


# Sockets.


@contextmanager
def activated(folder: Path, settings: str, listen: list[str], *options: str):
    """`systemd-socket-activate`, which starts the daemon with the first connection, and its log."""
    config, log = folder / "cellsegd.toml", folder / "log"
    config.write_text(settings)
    command = [tool("systemd-socket-activate"), *options, *(f"--listen={each}" for each in listen)]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, BIN, "serve", "--config", config], env=environment(), stdout=file, stderr=file
        )
    try:
        yield process, log
    finally:
        process.terminate()
        status = process.wait(PATIENCE_S)
    assert status == 0, f"exit {status}\n{log.read_text()}"


def test_clients_come_in_by_sockets_of_systemd(tmp_path, tiny_settings):
    address = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="run-") as run:
        path = f"{run}/s"
        with activated(tmp_path, tiny_settings, [address, path], "--fdname=grpc:unix") as (_, log):
            for target, options in [(address, []), (f"unix:{path}", [("grpc.default_authority", "localhost")])]:
                with grpc.insecure_channel(target, options=options) as channel:
                    grpc.channel_ready_future(channel).result(PATIENCE_S)
                    segment_once(channel)
        said = log.read_text()
        assert f"tcp://{address}" in said and f"unix://{path}" in said and "from systemd" in said
        assert "50051" not in said, "the default is not bound beside them"
        assert os.path.exists(path), "the socket's file is systemd's"


def segment_once(channel: grpc.Channel):
    request = pb.SegmentRequest(options=tiny_options(), frame=raw(discs(64, 64)))
    reply = rpc.SegmenterStub(channel).Segment(request, timeout=PATIENCE_S)
    assert reply.frame.WhichOneof("outcome") == "segmentation", reply


def listening(family=socket.AF_INET, kind=socket.SOCK_STREAM, address=("127.0.0.1", 0)):
    made = socket.socket(family, kind)
    made.bind(address)
    if kind == socket.SOCK_STREAM:
        made.listen()
    return made


def connection():
    with listening() as server:
        return socket.create_connection(server.getsockname())


# What is handed over, its name, what the message names.
WRONG = {
    "datagrams": (lambda: listening(kind=socket.SOCK_DGRAM), "grpc", ["3", "grpc", "ListenStream="]),
    "a file": (lambda: open("/dev/null"), "grpc", ["3", "not a socket"]),
    "a connection": (connection, "grpc", ["3", "Accept=no"]),
    "another name": (listening, "telnet", ["telnet", "FileDescriptorName=", "http"]),
    "TLS without a certificate": (listening, "tls", ["tls.certificate"]),
    "TCP named unix": (listening, "unix", ["unix", "FileDescriptorName="]),
    "open to the network": (lambda: listening(address=("0.0.0.0", 0)), "grpc", ["0.0.0.0", "insecure"]),
}

LAUNCH = """
import os, sys
fd, command = int(sys.argv[1]), sys.argv[2:]
os.dup2(fd, 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(command[0], command)
"""


@pytest.mark.parametrize("what", WRONG)
def test_a_socket_that_cannot_be_used_is_named(tmp_path, tiny_settings, what):
    make, name, words = WRONG[what]
    config = tmp_path / "cellsegd.toml"
    config.write_text(tiny_settings)
    with make() as handed:
        done = subprocess.run(
            [sys.executable, "-c", LAUNCH, str(handed.fileno()), BIN, "serve", "--config", config],
            env=environment(LISTEN_FDS="1", LISTEN_FDNAMES=name),
            pass_fds=[handed.fileno()],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    assert done.returncode == SYSEXITS_CONFIG, done.stderr
    assert "panicked" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


# Units.


def test_the_units_are_understood_whole(tmp_path):
    """As installed, but with this build for /usr/bin/cellsegd. A word that systemd does not know is a line here."""
    analyze = tool("systemd-analyze")
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/usr/bin/cellsegd", str(BIN))
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", *tmp_path.iterdir()], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0 and "cellsegd" not in done.stderr, done.stderr


def test_a_lane_that_hangs_is_noticed_before_the_watchdog_bites():
    """Its frames are answered then, which a killed daemon cannot do. The settings' own test holds the comment to the default."""
    watchdog = re.search(r"^WatchdogSec=(\d+)$", (UNITS / "cellsegd.service").read_text(), re.MULTILINE)
    settings = (ROOT / "systemd/etc/cellsegd/cellsegd.toml").read_text()
    hung_after = re.search(r"^#hung_after_s = (\d+)$", settings, re.MULTILINE)
    assert int(hung_after[1]) < int(watchdog[1])


def test_the_daemon_is_exposed_to_2_0_at_most(tmp_path):
    analyze = tool("systemd-analyze")
    check = [analyze, "security", "--offline=true", "--threshold=20", "--no-pager"]
    done = subprocess.run(
        [*check, UNITS / "cellsegd.service"], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # That the threshold is looked at.
    (tmp_path / "cellsegd.service").write_text("[Service]\nExecStart=/bin/true\n")
    open_to_all = subprocess.run(
        [*check, tmp_path / "cellsegd.service"], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert open_to_all.returncode != 0


def test_what_is_relaxed_is_argued_in_the_unit(tmp_path):
    """Every setting that `systemd-analyze security` misses has its reason in a comment."""
    done = subprocess.run(
        [tool("systemd-analyze"), "security", "--offline=true", "--no-pager", UNITS / "cellsegd.service"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(SYSTEMD_COLORS="0", COLUMNS="200"),
    )
    missed = re.findall(r"^✗ (\w+)=", done.stdout, re.MULTILINE)
    assert missed, done.stdout
    unit = (UNITS / "cellsegd.service").read_text()
    # Its files lie in the machine's own tree, as any package's do.
    not_argued = [name for name in missed if name not in unit and name != "RootDirectory"]
    assert not not_argued, not_argued
