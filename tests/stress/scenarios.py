"""What is done to a daemon while the good session goes on. Each returns a line about what happened."""

import asyncio
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import h2
import many
from daemon_under_test import Watched


@dataclass
class Scenario:
    name: str
    run: Callable[[Watched, float], str]
    settings: str = ""
    # The good session's latency is held against twice its quiet one: not where the daemon itself is stopped.
    bounded: bool = True
    # Seconds that the daemon gets to let go of what a client left behind: keepalive where only that can tell.
    recovery_s: float = 15
    environment: Callable[[Path], dict[str, str]] = lambda folder: {}
    # Its logs go to a device that is always full.
    full_disk: bool = False


def each_until(seconds: float, work: Callable[[int], None], most: int = 1 << 30) -> int:
    """Calls `work` with 0, 1, ... until the time is over."""
    until, n = time.monotonic() + seconds, 0
    while n < most and time.monotonic() < until:
        work(n)
        n += 1
    return n


def quietly(work: Callable[[], None]):
    """What the daemon does to a client that misbehaves is its own business, as long as it answers the others."""
    try:
        work()
    except OSError:
        pass


def hold(wires: list[socket.socket], seconds: float):
    time.sleep(seconds)
    for wire in wires:
        wire.close()


def sixty_four_sessions(daemon: Watched, seconds: float) -> str:
    report = asyncio.run(many.sessions(daemon.address, 64, seconds))
    return report


def connect_and_vanish(daemon: Watched, seconds: float) -> str:
    """A fifth each: nothing, a preface, half a request, an open session, an open session with frames in flight."""
    said = [
        b"",
        h2.hello(),
        h2.hello() + h2.opening()[:40],
        h2.hello() + h2.opening(),
        h2.hello() + h2.opening() + b"".join(h2.message(1, h2.small_frame(id)) for id in range(3)),
    ]

    def vanish(n: int):
        wire = h2.connect(daemon.address)
        quietly(lambda: wire.sendall(said[n % len(said)]))
        # Half with a reset, half as if the other side had closed.
        h2.reset(wire) if n % 2 else wire.close()
        time.sleep(max(0.0, seconds / 2000 - 0.001))

    n = each_until(seconds * 3, lambda n: quietly(lambda: vanish(n)), most=2000)
    return f"{n} clients"


def stall(daemon: Watched, seconds: float) -> str:
    """200 clients that open a session, send what fits, and read nothing."""
    wires = []
    frames = b"".join(h2.message(1, h2.small_frame(id, side=256)) for id in range(8))
    for _ in range(200):
        wire = h2.connect(daemon.address)
        wire.setblocking(False)
        quietly(lambda: wire.send(h2.hello() + h2.opening() + frames))
        wires.append(wire)
    hold(wires, seconds)
    return f"{len(wires)} sessions that read nothing"


def slow_loris(daemon: Watched, seconds: float) -> str:
    """Requests that never end: a byte at a time, headers that go on and on."""
    wires = [h2.connect(daemon.address) for _ in range(200)]
    whole = h2.hello() + h2.opening()
    for wire in wires[::2]:
        quietly(lambda wire=wire: wire.sendall(h2.hello() + h2.frame(h2.HEADERS, 0, 1, h2.headers())))
    filler = h2.frame(h2.CONTINUATION, 0, 1, b"\0\1x\1y")

    def drip(n: int):
        for i, wire in enumerate(wires):
            piece = filler if i % 2 == 0 else whole[n % len(whole) : n % len(whole) + 1]
            quietly(lambda: wire.send(piece))
        time.sleep(0.1)

    each_until(seconds, drip)
    hold(wires, 0)
    return f"{len(wires)} connections, a byte each 0.1 s"


def random_bytes(daemon: Watched, seconds: float) -> str:
    chance = random.Random(1)

    def rubbish(n: int):
        wire = h2.connect(daemon.address)
        start = [b"", h2.PREFACE, h2.hello(), h2.hello() + h2.opening()][n % 4]
        wire.sendall(start + chance.randbytes(chance.randrange(1, 1 << 16)))
        wire.close()
        time.sleep(0.005)

    n = each_until(seconds, lambda n: quietly(lambda: rubbish(n)))
    return f"{n} connections, up to 64 KiB each"


def tls_rubbish(daemon: Watched, seconds: float) -> str:
    """A TLS client that knocks at a door without TLS, whole and mutilated."""
    chance = random.Random(2)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = outgoing.read()

    def knock(n: int):
        wire = h2.connect(daemon.address)
        bytes_sent = bytearray(hello)
        for _ in range(n % 5):
            bytes_sent[chance.randrange(len(hello))] = chance.randrange(256)
        wire.sendall(bytes_sent[: chance.randrange(1, len(hello)) if n % 3 == 0 else len(hello)])
        wire.close()
        time.sleep(0.005)

    n = each_until(seconds, lambda n: quietly(lambda: knock(n)))
    return f"{n} handshakes"


def half_open(daemon: Watched, seconds: float) -> str:
    """Clients whose machine lost its power: open sessions that never say another word and answer no ping."""
    before = daemon.fds()
    wires = [h2.connect(daemon.address) for _ in range(100)]
    for n, wire in enumerate(wires):
        quietly(lambda wire=wire: wire.sendall(h2.hello() + h2.opening() if n % 2 else h2.hello()))
    began = time.monotonic()
    while daemon.fds() < before + len(wires) and time.monotonic() - began < 10:
        time.sleep(0.01)
    assert daemon.fds() == before + len(wires), "every one is accepted"
    # A ping after 1 s, 20 s for its answer; the sockets on this side stay open.
    while daemon.fds() > before and time.monotonic() - began < 60:
        time.sleep(0.5)
    assert daemon.fds() <= before, f"{daemon.fds() - before} of {len(wires)} are still open"
    waited = time.monotonic() - began
    hold(wires, 0)
    return f"{len(wires)} let go after {waited:.0f} s without an answer to a ping"


def killed_clients(daemon: Watched, seconds: float) -> str:
    program = Path(many.__file__)

    def kill(n: int):
        clients = [subprocess.Popen([sys.executable, program, daemon.address, "4", "60"], stdout=subprocess.DEVNULL)
                   for _ in range(2)]
        time.sleep(min(4.0, max(2.0, seconds / 3)))
        for client in clients:
            client.send_signal(signal.SIGKILL)
            client.wait()

    n = each_until(seconds, kill)
    return f"{2 * n} processes with 4 sessions each, killed"


def full_disk(daemon: Watched, seconds: float) -> str:
    """Each session that comes and goes is logged, to a disk without room."""

    def come_and_go(n: int):
        daemon.segment_one()
        time.sleep(0.02)

    n = each_until(seconds, come_and_go)
    return f"{n} sessions, none of their log lines could be written"


def stop_and_continue(daemon: Watched, seconds: float) -> str:
    def stop(n: int):
        daemon.pause()
        time.sleep(1)
        daemon.resume()
        time.sleep(1)

    n = each_until(seconds, stop)
    return f"stopped {n} times for 1 s"


def clock_jumps(daemon: Watched, seconds: float) -> str:
    offset = daemon.folder / "offset"
    jumps = [3600, -3600, 86_400 * 365, -86_400 * 365 * 40, 1, 0, -2_000_000_000, 0]

    def jump(n: int):
        # Replaced at once: the daemon never reads half a number.
        new = daemon.folder / "offset.new"
        new.write_text(str(jumps[n % len(jumps)]))
        os.replace(new, offset)
        time.sleep(seconds / len(jumps))

    each_until(seconds, jump, most=len(jumps))
    offset.unlink()
    return f"{len(jumps)} jumps of the wall clock, an hour to sixty years"


def no_more_files(daemon: Watched, seconds: float) -> str:
    limit = daemon.fds() + 20
    before = daemon.limit_files(limit)
    wires = []
    for _ in range(100):
        quietly(lambda: wires.append(h2.connect(daemon.address)))
    hold(wires, seconds)
    time.sleep(1)
    # With the limit still on, the next client is served.
    daemon.segment_one()
    daemon.limit_files(before[0])
    return f"{len(wires)} connections where {limit} files may be open"


def wall_clock(folder: Path) -> dict[str, str]:
    """A wall clock that jumps: a library of ours before libc."""
    library = folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(folder / "offset")}


# What one client may do is bounded more tightly than what this asks for.
MANY = "[auth.infer]\nsessions = 512\n"
ROOM = "[limits]\nsessions = 512\nconnections_per_peer = 400\n"
KEEPALIVE = "keepalive_s = 1\n"

SCENARIOS = [
    Scenario("64 sessions x mixed formats", sixty_four_sessions, settings=f"lanes = 8\n{ROOM}{MANY}", bounded=False),
    Scenario("2,000 clients connect and vanish", connect_and_vanish, settings=f"{ROOM}{MANY}"),
    Scenario("200 sessions stall", stall, settings=f"lanes = 8\n{ROOM}{MANY}"),
    Scenario("slow-loris on headers", slow_loris, settings=ROOM),
    Scenario("random bytes", random_bytes),
    Scenario("TLS rubbish", tls_rubbish),
    Scenario("half-open connections", half_open, settings=f"{ROOM}{KEEPALIVE}{MANY}"),
    Scenario("`kill -9` of clients", killed_clients, settings=f"lanes = 8\n{MANY}"),
    Scenario("disk full for logs", full_disk, full_disk=True),
    Scenario("SIGSTOP and SIGCONT", stop_and_continue, bounded=False),
    Scenario("clock jumps", clock_jumps, environment=wall_clock),
    Scenario("no more file descriptors", no_more_files),
]

__all__ = ["SCENARIOS", "Scenario"]
