"""Who is let in: TLS, tokens, client certificates, roles; by stock clients, and by the lines that `cellsegd pair` prints."""

import hashlib
import json
import os
import queue
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import cv2
import grpc
import pytest
from client import raw, tiny_options
from conftest import skip
from contract import pb, rpc
from daemon import CHANNEL_OPTIONS, Daemon, free_port, run
from frames import discs
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 30


def pair(folder: Path, name: str, *flags: str, hosts=("localhost", "127.0.0.1")) -> str:
    """The token that `cellsegd pair` makes."""
    return token_in(paired_text(folder, name, *flags, hosts=hosts))


def paired_text(folder: Path, name: str, *flags: str, hosts=("localhost", "127.0.0.1")) -> str:
    named = [flag for host in hosts for flag in ("--host", host)]
    return run("pair", name, "--dir", folder, *named, *flags).stdout


def token_in(text: str) -> str:
    return re.search(r"^ +([0-9a-f]{64})$", text, re.M)[1]


def tls_settings(folder: Path, more_tls: str = "", more_auth: str = "") -> str:
    return (
        f'[tls]\ncertificate = "{folder}/server.pem"\nkey = "{folder}/server-key.pem"\n{more_tls}\n'
        f'[auth]\ntokens = "{folder}/tokens.toml"\n{more_auth}\n'
    )


class Secured(Daemon):
    """A daemon that listens with TLS too."""

    def __init__(self, folder: Path, tls: Path, settings: str, **more: str):
        self.folder = tls
        self.tls_port = free_port()
        settings += tls_settings(tls, **more)
        super().__init__(folder, settings, also=(f"tls://127.0.0.1:{self.tls_port}",))

    def secure_channel(self, token: str | None = None, ca: Path | None = None, identity: tuple | None = None):
        key, certificate = (path.read_bytes() for path in identity) if identity else (None, None)
        credentials = grpc.ssl_channel_credentials((ca or self.folder / "ca.pem").read_bytes(), key, certificate)
        if token:
            credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
        options = [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(f"localhost:{self.tls_port}", credentials, options=options)

    def list_models(self, *arguments, **keywords):
        """The status code and the words of ListModels."""
        with self.secure_channel(*arguments, **keywords) as channel:
            return outcome(lambda: rpc.SegmenterStub(channel).ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S))

    def code_without_handshake(self, token: str, ca: Path | None = None) -> str:
        """The status code's name of ListModels where TLS comes to nothing.

        In a process of its own that ends without closing its channel: grpcio 1.85 can hang for good in `close` just
        after a handshake failed.
        """
        script = (
            "import os, sys, grpc\n"
            "from pathlib import Path\n"
            "from contract import pb, rpc\n"
            "target, ca, token, seconds = sys.argv[1:]\n"
            "credentials = grpc.composite_channel_credentials(\n"
            "    grpc.ssl_channel_credentials(Path(ca).read_bytes()), grpc.access_token_call_credentials(token))\n"
            "try:\n"
            "    channel = grpc.secure_channel(target, credentials)\n"
            "    rpc.SegmenterStub(channel).ListModels(pb.ListModelsRequest(), timeout=float(seconds))\n"
            "    print('OK', flush=True)\n"
            "except grpc.RpcError as error:\n"
            "    print(error.code().name, flush=True)\n"
            "os._exit(0)\n"
        )
        arguments = [f"localhost:{self.tls_port}", ca or self.folder / "ca.pem", token, TIMEOUT_S]
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=4 * TIMEOUT_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def reload(self):
        """As `systemctl reload` does; waits until it is done."""
        done = " done="  # or refused
        before = self.log.read_text().count(done)
        self.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + TIMEOUT_S
        while self.log.read_text().count(done) == before:
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)


def outcome(call) -> tuple[grpc.StatusCode, str]:
    try:
        call()
        return grpc.StatusCode.OK, ""
    except grpc.RpcError as error:
        return error.code(), error.details()


@pytest.fixture
def tiny_settings(tiny_model) -> str:
    return f'models = ["{tiny_model}"]\n[engine]\nkind = "rten"\n'


@pytest.fixture
def tls(tmp_path) -> Path:
    return tmp_path / "tls"


@pytest.fixture
def secured(tmp_path, tls, tiny_settings):
    """A daemon with a token for scope-2."""
    token = pair(tls, "scope-2")
    with Secured(tmp_path / "daemon", tls, tiny_settings) as daemon:
        daemon.token = token
        yield daemon


def openssl(*arguments, **keywords) -> subprocess.CompletedProcess:
    if not shutil.which("openssl"):
        skip("no openssl")
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **{"check": True} | keywords)


def certificate_served(daemon: Secured) -> bytes:
    """In DER, as Python's own TLS sees it; checked against the CA and the name."""
    context = ssl.create_default_context(cafile=daemon.folder / "ca.pem")
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", daemon.tls_port), timeout=TIMEOUT_S) as wire:
        with context.wrap_socket(wire, server_hostname="localhost") as secure:
            assert secure.selected_alpn_protocol() == "h2"
            return secure.getpeercert(binary_form=True)


def test_the_printed_lines_let_a_controller_in(tmp_path, tls, tiny_settings, monkeypatch):
    port, http_port = free_port(), free_port()
    text = paired_text(tls, "scope-2", "--port", str(port), hosts=("localhost",))
    http = re.search(r"^    (http = .*)$", text, re.M)[1].replace("0.0.0.0:9465", f"127.0.0.1:{http_port}").replace("9464", str(free_port()))
    settings = f"{http}\n{tiny_settings}" + "\n".join(re.findall(r"^    (\[.*\]|certificate = .*|key = .*|tokens = .*)$", text, re.M))
    controller = tmp_path / "controller"
    controller.mkdir()
    pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", text, re.S)[0]
    (controller / "cellsegd-ca.pem").write_text(pem)
    (controller / "cellsegd-token.txt").write_text(token_in(text) + "\n")
    (controller / "cellsegd-token.txt").chmod(0o600)
    python = text.split("Python (grpcio):\n")[1].split("\n   C#")[0]
    monkeypatch.chdir(controller)
    with Daemon(tmp_path / "daemon", settings, also=(f"tls://127.0.0.1:{port}",)):
        namespace = {}
        exec("\n".join(line.strip() for line in python.splitlines()), namespace)
        with namespace["channel"] as channel:
            request = pb.SegmentRequest(options=tiny_options(), frame=raw(discs(64, 64, seed=1)))
            reply = rpc.SegmenterStub(channel).Segment(request, timeout=TIMEOUT_S)
            assert reply.frame.segmentation.instances
        curl = re.search(r"^    (printf .*?ListModels)$", text, re.S | re.M)[1]
        if "HTTP2" in subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout:
            shown = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=60)
            assert "grpc-status: 0" in shown.stdout, shown
        ours = re.search(r"cellsegd segment (--server .*) --out", text)[1]
        image = tmp_path / "image.png"
        cv2.imwrite(str(image), discs(64, 64, seed=1))
        flags = [controller / part if part.startswith("cellsegd-") else part for part in ours.split()]
        run("segment", *flags, "--out", tmp_path / "cells", image)
        rest = re.search(r"^    (curl .*?/v1/segment)$", text, re.S | re.M)[1]
        if shutil.which("curl"):
            rest = rest.replace("9465", str(http_port)).replace("FILE", str(image))
            shown = subprocess.run(["bash", "-c", f"{rest} --silent --show-error"], capture_output=True, text=True, timeout=60)
            assert "instances" in json.loads(shown.stdout)["frame"]["segmentation"], shown


def test_who_is_not_known_is_unauthenticated_and_who_may_not_is_denied(secured):
    observer = pair(secured.folder, "page", "--role", "observe")
    boss = pair(secured.folder, "boss", "--role", "admin")
    stale = pair(secured.folder, "stale", "--expires", "2020-01-31")
    secured.reload()
    assert secured.list_models(secured.token)[0] == grpc.StatusCode.OK
    for token, words in [(None, "a token is needed"), ("0" * 64, "not known here"), (stale, "token of stale has expired")]:
        code, text = secured.list_models(token)
        assert code == grpc.StatusCode.UNAUTHENTICATED and words in text, (token, text)
    with secured.secure_channel(observer) as channel:
        stub = rpc.SegmenterStub(channel)
        assert outcome(lambda: stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S))[0] == grpc.StatusCode.OK
        code, text = outcome(lambda: list(stub.Stream(iter([]), timeout=TIMEOUT_S)))
        assert code == grpc.StatusCode.PERMISSION_DENIED
        assert "needs the role infer" in text and "token page has the role observe" in text
    for token, expected in [(secured.token, grpc.StatusCode.PERMISSION_DENIED), (boss, grpc.StatusCode.OK)]:
        with secured.secure_channel(token) as channel:
            reload = lambda: rpc.AdminStub(channel).Reload(pb.ReloadRequest(), timeout=TIMEOUT_S)  # noqa: E731
            assert outcome(reload)[0] == expected
    # Whether it lives is no secret.
    with secured.secure_channel() as channel:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)


def test_a_server_that_another_ca_vouches_for_is_not_believed(secured, tmp_path):
    pair(tmp_path / "other", "scope-2")
    assert secured.code_without_handshake(secured.token, ca=tmp_path / "other/ca.pem") == "UNAVAILABLE"
    assert secured.code_without_handshake(secured.token) == "OK"
    assert secured.list_models(secured.token)[0] == grpc.StatusCode.OK


def test_openssl_and_python_agree_with_the_certificate(secured):
    served = certificate_served(secured)
    openssl("verify", "-CAfile", secured.folder / "ca.pem", "-x509_strict", secured.folder / "server.pem")
    shown = openssl("s_client", "-connect", f"127.0.0.1:{secured.tls_port}", "-CAfile", secured.folder / "ca.pem",
                    "-verify_return_error", "-verify_hostname", "localhost", "-alpn", "h2", "-brief",
                    stdin=subprocess.DEVNULL)  # fmt: skip
    assert "Verification: OK" in shown.stderr, shown
    fingerprint = openssl("x509", "-in", secured.folder / "server.pem", "-noout", "-fingerprint", "-sha256").stdout
    assert fingerprint.strip().split("=")[1].replace(":", "").lower() == hashlib.sha256(served).hexdigest()


def test_a_new_certificate_is_served_while_a_session_goes_on(secured):
    before = certificate_served(secured)
    with secured.secure_channel(secured.token) as channel:
        requests = queue.SimpleQueue()
        requests.put(pb.StreamRequest(open=tiny_options()))
        call = rpc.SegmenterStub(channel).Stream(iter(requests.get, None), timeout=120)
        assert next(call).WhichOneof("reply") == "opened"
        pair(secured.folder, "scope-3", hosts=("localhost", "127.0.0.1", "10.1.2.3"))
        secured.reload()
        after = certificate_served(secured)
        assert after != before
        # A pair that does not fit leaves the one that does.
        key = secured.folder / "server-key.pem"
        shutil.copy(key, secured.folder / "kept")
        shutil.copy(secured.folder / "ca-key.pem", key)
        secured.reload()
        assert certificate_served(secured) == after
        assert f"{secured.folder}/server.pem" in secured.log.read_text()
        shutil.copy(secured.folder / "kept", key)
        for id in range(3):
            requests.put(pb.StreamRequest(frame=raw(discs(64, 64, seed=id), id=id)))
            assert next(call).frame.id == id
        requests.put(None)
        assert next(call).closed.segmented == 3


def test_a_token_taken_away_opens_nothing_more(secured):
    run("pair", "scope-2", "--dir", secured.folder, "--revoke")
    assert secured.list_models(secured.token)[0] == grpc.StatusCode.OK, "not before the daemon has read it"
    secured.reload()
    assert secured.list_models(secured.token)[0] == grpc.StatusCode.UNAUTHENTICATED


def client_certificates(folder: Path) -> dict[str, tuple[Path, Path]]:
    """A CA of one's own and two certificates from it: (key, certificate)."""
    folder.mkdir()
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    ca = folder / "ca.pem", folder / "ca.key"
    openssl("req", "-x509", *new, "-subj", "/CN=facility", "-keyout", ca[1], "-out", ca[0], "-days", "3")
    made = {}
    for name in ("known", "stranger"):
        key, request, certificate = (folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        openssl("req", *new, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", ca[0], "-CAkey", ca[1], "-CAcreateserial", "-out", certificate,
                "-days", "3", "-extfile", "/dev/stdin", input="extendedKeyUsage=clientAuth")  # fmt: skip
        made[name] = key, certificate
    return made


@pytest.mark.parametrize("by_ca", [False, True])
def test_client_certificates_have_roles(tmp_path, tls, tiny_settings, by_ca):
    token = pair(tls, "scope-2")
    made = client_certificates(tmp_path / "clients")
    fingerprint = openssl("x509", "-in", made["known"][1], "-noout", "-fingerprint", "-sha256").stdout.split("=")[1]
    with (tls / "tokens.toml").open("a") as keys:
        keys.write(f'\n[[certificate]]\nname = "scope-9"\nrole = "admin"\nsha256 = "{fingerprint.strip()}"\n')
    more = {
        "more_tls": f'client = "required"\nclient_ca = "{tmp_path}/clients/ca.pem"',
        "more_auth": 'certificates = "infer"' if by_ca else "",
    }
    with Secured(tmp_path / "daemon", tls, tiny_settings, **more) as daemon:
        with daemon.secure_channel(identity=made["known"]) as channel:
            assert rpc.AdminStub(channel).Reload(pb.ReloadRequest(), timeout=TIMEOUT_S)
        code, text = daemon.list_models(identity=made["stranger"])
        if by_ca:
            assert code == grpc.StatusCode.OK
        else:
            assert code == grpc.StatusCode.UNAUTHENTICATED and "has no role here" in text
        # The token counts before the certificate; without a certificate there is no connection at all.
        assert daemon.list_models(token, identity=made["stranger"])[0] == grpc.StatusCode.OK
        assert daemon.code_without_handshake(token) == "UNAVAILABLE"


def test_loopback_and_unix_sockets_have_the_roles_of_the_settings(tmp_path, tls, tiny_settings):
    token = pair(tls, "scope-2")
    closed = f'[auth]\ntokens = "{tls}/tokens.toml"\nloopback = "none"\n'
    with Daemon(tmp_path / "daemon", tiny_settings + closed, unix=True) as daemon:
        models = lambda channel, **more: outcome(  # noqa: E731
            lambda: rpc.SegmenterStub(channel).ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S, **more)
        )
        with daemon.channel() as channel:
            code, text = models(channel)
            assert code == grpc.StatusCode.UNAUTHENTICATED and "127.0.0.1 needs a token" in text
            # As through an ssh tunnel.
            assert models(channel, metadata=[("authorization", f"Bearer {token}")])[0] == grpc.StatusCode.OK
        with daemon.channel(f"unix:{daemon.socket}") as channel:
            # The daemon's own user is admin.
            assert rpc.AdminStub(channel).Reload(pb.ReloadRequest(), timeout=TIMEOUT_S)


def test_rubbish_and_silence_on_the_tls_port_harm_nobody(secured):
    silent = [socket.create_connection(("127.0.0.1", secured.tls_port)) for _ in range(20)]
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    for rubbish in (os.urandom(4096), b"GET / HTTP/1.1\r\n\r\n", hello + os.urandom(600), hello):
        with socket.create_connection(("127.0.0.1", secured.tls_port)) as wire:
            wire.sendall(rubbish)
    began = time.monotonic()
    assert secured.list_models(secured.token)[0] == grpc.StatusCode.OK
    assert time.monotonic() - began < 10, "handshakes wait for each other"
    for wire in silent:
        wire.close()


def test_settings_that_leave_a_door_open_end_the_start(tmp_path, tls, tiny_settings):
    pair(tls, "scope-2")
    settings = tls_settings(tls)
    tokens = tls / "tokens.toml"
    for listen, text, words in [
        ("tls://0.0.0.0:1", "", "tls://0.0.0.0:1: needs tls.certificate and tls.key"),
        ("tcp://0.0.0.0:1", settings, "other machines can reach it"),
        ("tcp://[::ffff:10.0.0.1]:1", settings, "other machines can reach it"),
        ("tls://0.0.0.0:1", settings.replace("server-key", "ca-key"), "server.pem: with "),
        ("tls://0.0.0.0:1", settings.replace("server.pem", "gone.pem"), "gone.pem: "),
        ("tls://0.0.0.0:1", settings.replace("/server.pem", "/server-key.pem"), "no certificate in PEM"),
        ("tls://0.0.0.0:1", settings.replace("[auth]", 'client = "required"\n[auth]'), "needs tls.client_ca"),
        ("tcp://127.0.0.1:1", '[auth]\nadmins = ["nobody-has-this-name"]', "no such user"),
        ("tcp://127.0.0.1:1", '[auth]\nloopback = "root"', "none, observe, infer or admin"),
    ]:
        config = tmp_path / "cellsegd.toml"
        config.write_text(tiny_settings + text)
        done = run("serve", "--check", "--config", config, "--listen", listen, expect=78)
        assert words in done.stderr, (words, done.stderr)
    config.write_text(tiny_settings + settings)
    run("serve", "--check", "--config", config)
    tokens.chmod(0o644)
    done = run("serve", "--check", "--config", config, expect=78)
    assert f"{tokens}: mode 644" in done.stderr and "chmod o=" in done.stderr


def test_pairing_is_kept_told_and_undone(tls):
    first = paired_text(tls, "scope-2")
    assert token_in(first) not in (tls / "tokens.toml").read_text(), "only its hash is kept"
    assert hashlib.sha256(token_in(first).encode()).hexdigest() in (tls / "tokens.toml").read_text()
    for name in ("ca-key.pem", "server-key.pem", "tokens.toml"):
        assert (tls / name).stat().st_mode & 0o777 == 0o600, name
    twice = run("pair", "scope-2", "--dir", tls, expect=2)
    assert "scope-2 has a token already" in twice.stderr and "--replace" in twice.stderr
    second = paired_text(tls, "scope-2", "--replace", "--role", "admin")
    assert token_in(second) != token_in(first)
    ca = (tls / "ca.pem").read_bytes()
    paired_text(tls, "scope-3", "--expires", "2031-05-06")
    assert (tls / "ca.pem").read_bytes() == ca
    listed = run("pair", "--list", "--dir", tls).stdout
    assert re.search(r"^scope-2 +admin +token$", listed, re.M)
    assert re.search(r"^scope-3 +infer +token +until 2031-05-06$", listed, re.M)
    run("pair", "scope-2", "--dir", tls, "--revoke")
    assert "scope-2" not in run("pair", "--list", "--dir", tls).stdout
    assert "has no token" in run("pair", "scope-2", "--dir", tls, "--revoke", expect=2).stderr
    for name in ("a b", "", "../x", "x" * 65):
        assert "a name is 1 to 64" in run("pair", name, "--dir", tls, expect=2).stderr
    assert "must be a host name" in run("pair", "scope-4", "--dir", tls, "--host", "a b", expect=None).stderr
