"""Tokens, certificates, and daemons that are not who they should be."""

import asyncio
import re
import socket
import sys
import threading

import pytest
from conftest import TINY_OPTIONS, Daemon, discs
from real_daemon import run

from cellsegd import AsyncClient, Client, Refused, Unavailable
from cellsegd.address import Credentials

HOSTS = ("--host", "localhost", "--host", "127.0.0.1")


def token_in(text: str) -> str:
    return re.search(r"^ +([0-9a-f]{64})$", text, re.M)[1]


class Secured(Daemon):
    """Listens with TLS too, and wants a token there."""

    def __init__(self, folder):
        self.tls = folder / "tls"
        self.token = token_in(run("pair", "scope-2", "--dir", self.tls, *HOSTS).stdout)
        self.observer = token_in(run("pair", "page", "--dir", self.tls, *HOSTS, "--role", "observe").stdout)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        files = f'certificate = "{self.tls}/server.pem"\nkey = "{self.tls}/server-key.pem"'
        settings = f'[tls]\n{files}\n[auth]\ntokens = "{self.tls}/tokens.toml"\n'
        super().__init__(folder, settings, (f"tls://127.0.0.1:{self.port}",))

    @property
    def ca(self):
        return self.tls / "ca.pem"


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    with Secured(tmp_path_factory.mktemp("secured")) as daemon:
        yield daemon


@pytest.mark.parametrize("scheme", ["https", "tls"])
def test_a_token_over_tls_lets_in(secured, scheme):
    url = f"{scheme}://localhost:{secured.port}"
    with Client(url, token=secured.token, ca=secured.ca) as client:
        assert len(list(client.stream([discs()] * 3, **TINY_OPTIONS))) == 3
        assert not client.session(**TINY_OPTIONS).shares_memory

    async def same():
        async with AsyncClient(url, token=secured.token, ca=secured.ca.read_bytes()) as client:
            return (await client.segment(discs(), **TINY_OPTIONS)).outcome

    assert asyncio.run(asyncio.wait_for(same(), 60)) == "segmented"


def test_a_token_may_lie_in_a_file_of_its_own(secured, tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{secured.token}\n")
    path.chmod(0o640)
    url = f"https://127.0.0.1:{secured.port}"
    with Client(url, token_file=path, ca=secured.ca) as client:
        assert client.models()
    if sys.platform != "win32":
        path.chmod(0o644)
        with pytest.raises(Refused, match="every user of this machine") as error:
            Client(url, token_file=path, ca=secured.ca)
        assert secured.token not in str(error.value)


def test_who_is_not_let_in_is_told_why(secured):
    url = f"https://localhost:{secured.port}"
    for token, code in ((None, "UNAUTHENTICATED"), ("0" * 64, "UNAUTHENTICATED"), (secured.observer, "PERMISSION_DENIED")):
        with Client(url, token=token, ca=secured.ca) as client:
            with pytest.raises(Refused, match=code) as error:
                client.session(**TINY_OPTIONS)
            assert error.value.code == code
            with pytest.raises(Refused):
                client.segment(discs(), **TINY_OPTIONS)


def test_a_daemon_that_the_ca_does_not_vouch_for_gets_nothing(secured, tmp_path):
    run("pair", "other", "--dir", tmp_path / "tls", *HOSTS)
    for ca in (tmp_path / "tls/ca.pem", None):
        with Client(f"https://localhost:{secured.port}", token=secured.token, ca=ca, timeout_s=10) as client:
            with pytest.raises(Unavailable, match="vouch for its certificate"):
                client.models()
            with pytest.raises(Unavailable, match="vouch for its certificate"):
                client.session()


def test_mistakes_in_the_settings_are_named(secured, tmp_path):
    for settings, error, says in (
        ({"token": "a", "token_file": "b"}, ValueError, "give one of them"),
        ({"token": "zwei\nZeilen"}, ValueError, "one line of ASCII"),
        ({"token": ""}, ValueError, "one line of ASCII"),
        ({"certificate": b"x"}, ValueError, "belong together"),
        ({"ca": tmp_path / "nowhere.pem"}, FileNotFoundError, "nowhere.pem"),
    ):
        with pytest.raises(error, match=says):
            Client(f"https://localhost:{secured.port}", **settings)
    with Client(secured.url, ca=secured.ca) as client, pytest.raises(Refused, match="certificates are for https"):
        client.models()
    assert secured.token not in repr(Credentials(token=secured.token))


@pytest.mark.parametrize(
    "says", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"\x00" * 100], ids=["nothing", "web", "noise"]
)
def test_what_is_no_daemon_is_told_apart_in_time(says):
    """A port that accepts and says nothing, a web server, noise."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.1)
        over = threading.Event()

        def answer():
            kept = []
            while not over.is_set():
                try:
                    kept.append(listener.accept()[0])
                    kept[-1].sendall(says)
                except OSError:
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with Client(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.5) as client:
                for ask in (client.models, client.session, lambda: client.segment(discs())):
                    with pytest.raises(Unavailable):
                        ask()
        finally:
            over.set()
            thread.join()
