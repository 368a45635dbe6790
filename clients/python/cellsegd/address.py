"""Where a daemon is, and how a channel to it is opened."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from cellsegd.errors import Refused

RIGHT = "must be unix:///PATH, http://HOST:PORT (or tcp://), or https://HOST:PORT (or tls://)"

# A label image of a large frame comes in one message; frames go out in one.
_UNBOUNDED = -1
# Milliseconds. A host that vanished without a word is noticed by these.
_PING_EVERY_MS, _PING_WAIT_MS = 20_000, 10_000


@dataclass(frozen=True)
class Address:
    """One daemon."""

    text: str
    """As it was written."""
    target: str
    """As grpc names it."""
    tls: bool
    """The daemon proves who it is, with a certificate."""
    unix: bool
    """A socket of this machine's file system."""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Reads `url`; ValueError says what would be right."""
        scheme, _, rest = url.partition("://")
        if scheme == "unix" and rest.startswith("/") and len(rest) > 1:
            if sys.platform == "win32":
                raise ValueError(f"{url!r}: there are no unix sockets on Windows; let the daemon listen on tcp:// or tls://")
            return cls(url, f"unix:{rest}", tls=False, unix=True)
        host, colon, port = rest.rpartition(":")
        if scheme in ("http", "tcp", "https", "tls") and colon and host and port.isdigit() and 0 < int(port) < 65536:
            if not any(letter in host for letter in "/ @"):
                return cls(url, rest, tls=scheme in ("https", "tls"), unix=False)
        raise ValueError(f"{url!r} {RIGHT}")

    @property
    def local(self) -> bool:
        """Whether the daemon is on this machine, as far as the address tells."""
        host = self.target.rpartition(":")[0].strip("[]")
        return self.unix or host in ("localhost", "::1") or host.startswith("127.")


@dataclass(frozen=True)
class Credentials:
    """What a daemon is shown, and what it has to show. PEM bytes."""

    # Nothing here belongs in a log.
    token: str | None = field(default=None, repr=False)
    ca: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)

    @classmethod
    def read(
        cls,
        token: str | None,
        token_file: str | os.PathLike[str] | None,
        ca: str | os.PathLike[str] | bytes | None,
        certificate: str | os.PathLike[str] | bytes | None,
        key: str | os.PathLike[str] | bytes | None,
    ) -> Credentials:
        """Reads the files that are named; PEM bytes are taken as they are."""
        if token is not None and token_file is not None:
            raise ValueError("token and token_file: give one of them")
        if token_file is not None:
            token = _read_token(Path(token_file))
        if token is not None and (not token.isascii() or not token.isprintable() or not token):
            raise ValueError("the token holds characters that cannot be sent: it is one line of ASCII")
        if (certificate is None) != (key is None):
            raise ValueError("certificate and key belong together: give both or none")
        pem = [value if value is None or isinstance(value, bytes) else Path(value).read_bytes() for value in (ca, certificate, key)]
        return cls(token, *pem)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


def open_channel(address: Address, credentials: Credentials) -> grpc.Channel:
    """A connection of its own. Nothing is sent yet."""
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", _UNBOUNDED),
        ("grpc.max_send_message_length", _UNBOUNDED),
        # Else channels to one address would share a connection, and a broken one its back-off.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.keepalive_time_ms", _PING_EVERY_MS),
        ("grpc.keepalive_timeout_ms", _PING_WAIT_MS),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    if address.unix:
        # grpcio names the socket's path as authority, which is no authority, and HTTP/2 servers refuse it.
        options.append(("grpc.default_authority", "localhost"))
    if not address.tls:
        if credentials.ca or credentials.certificate:
            raise Refused(f"{address.text}: certificates are for https:// (or tls://)")
        return grpc.insecure_channel(address.target, options=options)
    shown = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
    return grpc.secure_channel(address.target, shown, options=options)


def _read_token(path: Path) -> str:
    if sys.platform != "win32" and path.stat().st_mode & stat.S_IRWXO:
        raise Refused(f"{path}: every user of this machine can get at this token; run: chmod o= {path}")
    return path.read_text(encoding="utf-8").strip()
