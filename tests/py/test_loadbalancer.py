"""Two daemons behind one address, by the files of deploy/loadbalancer: sessions spread, one daemon is killed, ids go on."""

import csv
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import grpc
import pytest
from client import Session, raw, tiny_options
from conftest import skip
from contract import ROOT, pb, rpc
from daemon import CHANNEL_OPTIONS, Daemon, free_port
from frames import discs
from test_analysis import FRAMES, frame, resumed, tracks
from test_security import pair, tls_settings

NAME = "cellsegd.example"
FOLDER = ROOT / "deploy/loadbalancer"
PATIENCE_S = 60


class Balancer:
    """A proxy in front of daemons, and what a client needs to dial it."""

    def __init__(self, folder: Path, tls: Path, token: str, port: int, config: str, command: list[str]):
        if not shutil.which(command[0]):
            skip(f"no {command[0]}")
        folder.mkdir()
        self.port = port
        self._ca = (tls / "ca.pem").read_bytes()
        self._token = token
        self.log = folder / "log"
        (folder / "config").write_text(config)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            with socket.socket() as wire:
                if wire.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def __exit__(self, *_):
        # Asked, not killed: nginx would leave its worker behind.
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()

    def channel(self, _target=None) -> grpc.Channel:
        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(self._ca), grpc.access_token_call_credentials(self._token)
        )
        options = [
            *CHANNEL_OPTIONS,
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.ssl_target_name_override", NAME),
            ("grpc.initial_reconnect_backoff_ms", 100),
        ]
        return grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, options=options)

    stub = Daemon.stub


def replaced(text: str, values: dict[str, str]) -> str:
    """Each must be there once: what is tested is the file itself."""
    for old, new in values.items():
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the file"
        text = text.replace(old, new)
    return text


def addresses(daemons) -> dict[str, str]:
    return {f"192.0.2.1{n}:50052": f"127.0.0.1:{daemon.tls_port}" for n, daemon in enumerate(daemons, 1)}


def haproxy(folder: Path, tls: Path, token: str, daemons) -> Balancer:
    port = free_port()
    values = {"bind :50052": f"bind 127.0.0.1:{port}", "/etc/haproxy/cellsegd-ca.pem": f"{tls}/ca.pem"}
    values["    maxconn 4096\n"] = f"    maxconn 400\n    stats socket {folder}/stats\n"
    config = replaced((FOLDER / "haproxy.cfg").read_text(), addresses(daemons) | values)
    return Balancer(folder, tls, token, port, config, ["haproxy", "-db", "-f", f"{folder}/config"])


def nginx(folder: Path, tls: Path, token: str, daemons) -> Balancer:
    port = free_port()
    values = {"/etc/nginx/cellsegd.pem": f"{tls}/server.pem", "/etc/nginx/cellsegd-key.pem": f"{tls}/server-key.pem"}
    values["/etc/nginx/cellsegd-ca.pem"] = f"{tls}/ca.pem"
    values["listen 50052 ssl http2"] = f"listen 127.0.0.1:{port} ssl http2"
    # Where it may write as any user.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    values["http {\n"] = "http {\n" + "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    config = replaced((FOLDER / "nginx.conf").read_text(), addresses(daemons) | values)
    # Its worker would else become nobody, who may not look into the folders of this test.
    user = "user root; " if os.geteuid() == 0 else ""
    settings = f"{user}daemon off; pid {folder}/pid; error_log stderr;"
    command = ["nginx", "-p", str(folder), "-e", "stderr", "-g", settings, "-c", f"{folder}/config"]
    return Balancer(folder, tls, token, port, config, command)


@pytest.fixture
def two(tmp_path, settings):
    """Two daemons with the same certificate and the same token: the bundled model, and the tiny one."""
    tls = tmp_path / "tls"
    token = pair(tls, "scope-2", hosts=(NAME,))
    daemons = []
    try:
        for name in ("one", "two"):
            port = free_port()
            also = (f"tls://127.0.0.1:{port}",)
            daemons.append(Daemon(tmp_path / name, settings + tls_settings(tls), also=also))
            daemons[-1].tls_port = port
        yield tls, token, daemons
    finally:
        for daemon in daemons:
            daemon.process.kill()
            daemon.process.wait()


def sessions(daemon: Daemon) -> list[str]:
    with daemon.channel() as channel:
        return [each.name for each in rpc.AdminStub(channel).Status(pb.StatusRequest(), timeout=PATIENCE_S).sessions]


def opened(balancer: Balancer, **options) -> Session:
    """As a controller does it: again until somebody answers."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return Session(balancer, timeout_s=PATIENCE_S, **options)
        except grpc.RpcError as error:
            assert time.monotonic() < until, f"{error.code()}: {error.details()}\n{balancer.log.read_text()}"
            time.sleep(0.1)


@pytest.mark.parametrize("start", [haproxy, nginx])
def test_sessions_spread_and_go_on_with_their_ids_when_a_daemon_is_killed(start, two, tmp_path):
    tls, token, daemons = two
    with start(tmp_path / "proxy", tls, token, daemons) as balancer:
        image = discs(96, 96)
        several = [opened(balancer, options=tiny_options(name=f"session {n}")) for n in range(4)]
        for n, session in enumerate(several):
            session.segment(raw(image, id=n + 1))
        assert [len(sessions(daemon)) for daemon in daemons] == [2, 2]
        for session in several:
            session.close()
            session.vanish()

        with Session(daemons[0], tracking=pb.Tracking()) as session:
            uninterrupted = [tracks(session.segment(frame(t))) for t in range(len(FRAMES))]
            session.close()
        with opened(balancer, tracking=pb.Tracking(), name="time-lapse") as session:
            replies = [session.segment(frame(t)) for t in range(3)]
            [killed] = [daemon for daemon in daemons if "time-lapse" in sessions(daemon)]
            [other] = [daemon for daemon in daemons if daemon is not killed]
            killed.process.kill()
            killed.process.wait()
            # Not answered: the client knows, since it has no reply to it.
            session.send_frame(frame(3))
            session.error()
        with opened(balancer, tracking=resumed(replies), name="time-lapse") as session:
            assert session.opened.resumed
            assert "time-lapse" in sessions(other)
            replies += [session.segment(frame(t)) for t in range(3, len(FRAMES))]
            session.close()
    assert [tracks(reply) for reply in replies] == uninterrupted


def states(folder: Path) -> dict[str, str]:
    """What HAProxy says of each server: UP or DOWN, once it has asked."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(PATIENCE_S)
        wire.connect(str(folder / "stats"))
        wire.sendall(b"show stat\n")
        text = b"".join(iter(lambda: wire.recv(1 << 16), b"")).decode().removeprefix("# ")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["svname"] in ("one", "two")]
    return {row["svname"]: row["status"].split()[0] if row["check_status"] else "" for row in rows}


def test_haproxy_asks_the_daemons_by_grpc(two, tmp_path):
    """A daemon that is stopped still accepts connections, by its kernel: only an answer tells."""
    tls, token, daemons = two
    folder = tmp_path / "proxy"

    def become(expected: dict[str, str]):
        until = time.monotonic() + PATIENCE_S
        while (found := states(folder)) != expected:
            assert time.monotonic() < until, f"{found}\n{balancer.log.read_text()}"
            time.sleep(0.2)

    with haproxy(folder, tls, token, daemons) as balancer:
        become({"one": "UP", "two": "UP"})
        daemons[0].process.send_signal(signal.SIGSTOP)
        become({"one": "DOWN", "two": "UP"})
        for n in range(3):
            with Session(balancer, options=tiny_options(), timeout_s=PATIENCE_S) as session:
                session.segment(raw(discs(64, 64)))
                session.close()
        daemons[0].process.send_signal(signal.SIGCONT)
        become({"one": "UP", "two": "UP"})
