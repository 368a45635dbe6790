"""Clients that misbehave: memory stays bounded, others go on, nothing hangs."""

import os
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from client import Session, cells, raw, tiny_options
from contract import pb
from daemon import Daemon
from frames import demo_frame, discs

MIB = 1 << 20
# `make soak` asks for 20,000.
SOAK_FRAMES = int(os.environ.get("CELLSEGD_SOAK_FRAMES", 0))
SMALL_LIMITS = """
[limits]
max_frame_bytes = 8388608
window = 4
frames_in_flight_bytes = 67108864
"""


@pytest.fixture
def bounded(tmp_path, settings):
    """A daemon with small bounds, so that growth past them shows."""
    with Daemon(tmp_path / "daemon", settings + SMALL_LIMITS) as daemon:
        yield daemon


class Peak:
    """The most memory that the daemon had while the block ran."""

    def __init__(self, daemon: Daemon):
        self._daemon, self._stop = daemon, threading.Event()
        self.before = self.bytes = daemon.rss()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self._stop.wait(0.02):
            self.bytes = max(self.bytes, self._daemon.rss())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    @property
    def growth_mib(self) -> float:
        return (self.bytes - self.before) / MIB


def check_normal_answers(daemon: Daemon, expected: list | None = None) -> list:
    """A second client is served as if it were alone, within a time that a person would not notice."""
    began = time.monotonic()
    with Session(daemon, tiny_options()) as session:
        answers = [cells(session.segment(raw(discs(64, 64, seed=seed), id=seed))) for seed in range(5)]
        closed = session.close()
    assert (closed.frames, closed.segmented) == (5, 5)
    assert all(answers) and expected in (None, answers)
    assert time.monotonic() - began < 20
    return answers


def test_clients_that_vanish_leave_nothing_behind(bounded):
    expected = check_normal_answers(bounded)
    large = np.zeros((2048, 2048), np.uint16)

    def come_and_go(times: int):
        for _ in range(times):
            session = Session(bounded, pb.SessionOptions())
            for id in range(3):
                session.send_frame(raw(large, id=id))
            time.sleep(0.05)
            session.vanish()

    come_and_go(5)
    with Peak(bounded) as peak:
        come_and_go(25)
        check_normal_answers(bounded, expected)
    assert peak.growth_mib < 100, "frames of the gone are kept"


def test_a_client_that_never_reads_holds_back_only_itself(bounded):
    expected = check_normal_answers(bounded)
    large = demo_frame()
    large = np.pad(large, ((0, 2048 - large.shape[0]), (0, 2048 - large.shape[1])), mode="reflect")
    with Peak(bounded) as peak, Session(bounded, tiny_options(window=4)) as stalled:
        # 480 MiB, if the server took them all.
        for id in range(60):
            stalled.send_frame(raw(large, id=id))
        for _ in range(3):
            time.sleep(1)
            check_normal_answers(bounded, expected)
    assert peak.growth_mib < 250
    check_normal_answers(bounded, expected)


def test_10000_frames_without_waiting_are_all_answered(bounded):
    expected = check_normal_answers(bounded)
    image = discs(128, 128, seed=3)
    n_frames = 10_000
    with Peak(bounded) as peak, Session(bounded, tiny_options()) as session:
        for id in range(n_frames):
            session.send_frame(raw(image, id=id))
        session.half_close()
        for id in range(n_frames):
            assert session.receive("frame").id == id
            if id == n_frames // 2:
                check_normal_answers(bounded, expected)
        closed = session.receive("closed")
    assert (closed.frames, closed.segmented) == (n_frames, n_frames)
    assert peak.growth_mib < 100


def test_latest_without_reading_keeps_a_bound_on_its_drop_notices(bounded):
    expected = check_normal_answers(bounded)
    image = discs(64, 64)
    with Peak(bounded) as peak, Session(bounded, tiny_options(delivery=pb.DELIVERY_LATEST)) as stalled:
        for id in range(20_000):
            stalled.send_frame(raw(image, id=id))
        for _ in range(2):
            time.sleep(1)
            check_normal_answers(bounded, expected)
    # Whatever is sent: 5 MB or 240 MB of pixels make the same step once.
    assert peak.growth_mib < 200


def test_rubbish_on_the_wire_ends_one_connection_only(bounded):
    expected = check_normal_answers(bounded)
    host, port = bounded.address.split(":")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for rubbish in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), preface + os.urandom(4096), preface):
        with socket.create_connection((host, int(port)), timeout=10) as wire:
            wire.sendall(rubbish)
    with bounded.channel() as channel:
        stream = channel.stream_stream("/cellseg.v1.Segmenter/Stream")
        with pytest.raises(grpc.RpcError) as error:
            list(stream(iter([b"\xff" * 100]), timeout=30))
        assert error.value.code() != grpc.StatusCode.DEADLINE_EXCEEDED
    check_normal_answers(bounded, expected)


@pytest.mark.parametrize("model", ["tiny", "bundled"])
def test_memory_does_not_grow_with_the_number_of_frames(bounded, model):
    small = model == "tiny"
    # The bundled model takes a hundred times as long.
    n_frames = (SOAK_FRAMES or 2_000) // (1 if small else 20)
    options = tiny_options() if small else pb.SessionOptions()
    image = discs(160, 120) if small else demo_frame()
    n_settled = n_frames // 4
    # A stream may outlast the tests' usual patience: one every 200 frames.
    settled = 0
    for start in range(0, n_frames, 200):
        with Session(bounded, options) as session:
            for id in range(start, min(start + 200, n_frames)):
                assert session.segment(raw(image, id=id)).segmentation.instances
                if id == n_settled:
                    settled = bounded.rss()
            session.close()
    growth = (bounded.rss() - settled) / MIB
    print(f"{n_frames} frames of the {model} model: {settled / MIB:.1f} MiB after {n_settled}, {growth:+.2f} MiB after all")
    assert growth < 4
