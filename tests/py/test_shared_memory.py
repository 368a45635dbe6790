"""Frames in shared memory: numpy arrays that the daemon reads where they are."""

import array
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path

import grpc
import numpy as np
import pytest
from client import TIMEOUT_S, Session, cells, failure_of, raw, tiny_options
from conftest import skip
from contract import ROOT, STUBS, pb, rpc
from daemon import Daemon, environment
from frames import demo_frame, discs

SHM = Path("/dev/shm")
NEXT = count()
NOBODY = 65534


class Memory:
    """A file in /dev/shm that is gone with the test, as numpy sees it."""

    def __init__(self, n_bytes: int, mode: int = 0o644):
        self.key = f"/cellsegd-test-{os.getpid()}-{next(NEXT)}"
        self.path = SHM / self.key[1:]
        self.n_bytes = n_bytes
        self.path.touch(mode)
        self.path.chmod(mode)
        os.truncate(self.path, n_bytes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.path.unlink()

    def array(self) -> np.ndarray:
        return np.memmap(self.path, np.uint8, "r+", shape=(self.n_bytes,))

    def registration(self, name: str = "camera", **fields) -> pb.RegisterRegion:
        return pb.RegisterRegion(**({"name": name, "key": self.key, "byte_size": self.n_bytes} | fields))


def in_slot(image: np.ndarray, region: str, offset: int, id: int = 1, **frame) -> pb.Frame:
    """The frame of pixels that lie in a region."""
    layout = raw(image, data=b"").raw
    return pb.Frame(id=id, shared=pb.SharedSlot(region=region, offset=offset, layout=layout), **frame)


def put(memory: np.ndarray, offset: int, image: np.ndarray):
    memory[offset : offset + image.nbytes] = np.frombuffer(image.tobytes(), np.uint8)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, settings):
    """A daemon that reads what is called /cellsegd-test-*, or is passed to it."""
    if not SHM.is_dir():
        skip("this machine has no /dev/shm")
    folder = tmp_path_factory.mktemp("shared")
    keys = f'[shared_memory]\nkeys = ["/cellsegd-test-*"]\nsocket = "{folder}/memory"\n'
    with Daemon(folder, settings + keys, unix=True) as daemon:
        yield daemon


def test_the_programs_of_the_manual_run(shared, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/shared-memory.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    program = "\n".join([*blocks, "print(told)"])
    name = f"cellsegd-test-{os.getpid()}-{next(NEXT)}"
    for theirs, ours in [
        ("127.0.0.1:50051", shared.address),
        ("cellsegd-scope1", name),
        ("/run/cellsegd/memory.sock", memory_socket(shared)),
    ]:
        assert theirs in program
        program = program.replace(theirs, ours)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment(PYTHONPATH=STUBS),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, done.stderr
        cells, told = done.stdout.splitlines()
        assert cells.endswith("cells") and "'writable': True" in told
        assert not (SHM / name).exists(), "it leaves nothing behind"
    finally:
        (SHM / name).unlink(missing_ok=True)


def memory_socket(daemon: Daemon) -> str:
    return controller(daemon).ListRegions(pb.ListRegionsRequest(), timeout=TIMEOUT_S).socket


def controller(daemon: Daemon, target: str | None = None) -> rpc.SharedMemoryStub:
    return rpc.SharedMemoryStub(daemon.channel(target))


@pytest.mark.parametrize("door", ["tcp", "unix"])
def test_pixels_in_shared_memory_give_the_cells_that_sent_ones_give(shared, door):
    target = f"unix:{shared.socket}" if door == "unix" else None
    images = [
        discs(256, 192),
        discs(255, 191, seed=1, peak=60_000, dtype=np.uint16),
        np.stack([discs(200, 160, seed=2)] * 3, axis=2),
    ]
    n_bytes = sum(image.nbytes + 1 for image in images)
    with Memory(n_bytes) as memory, Session(shared, tiny_options(), target=target) as session:
        region = controller(shared, target).Register(memory.registration(), timeout=TIMEOUT_S)
        assert (region.name, region.byte_size) == ("camera", n_bytes)
        pixels, offset, found = memory.array(), 0, 0
        for id, image in enumerate(images):
            put(pixels, offset, image)
            here = session.segment(in_slot(image, "camera", offset, id))
            sent = session.segment(raw(image, 100 + id))
            assert cells(here) == cells(sent)
            found += len(cells(here))
            offset += image.nbytes + 1
        assert found > 0
        closed = session.close()
        assert (closed.segmented, closed.failed) == (6, 0)


def test_a_camera_frame_of_the_bundled_model(shared):
    image = demo_frame()
    options = pb.SessionOptions(measurements=pb.Measurements(intensity=True, background=True))
    with Memory(2 * image.nbytes) as memory, Session(shared, options) as session:
        controller(shared).Register(memory.registration(), timeout=TIMEOUT_S)
        put(memory.array(), image.nbytes, image)
        here, sent = session.segment(in_slot(image, "camera", image.nbytes)), session.segment(raw(image, 2))
        assert len(cells(here)) > 10
        assert here.segmentation == sent.segmentation


def test_one_frame_without_a_session(shared):
    image = discs(256, 256)
    with Memory(image.nbytes) as memory:
        channel = shared.channel()
        rpc.SharedMemoryStub(channel).Register(memory.registration("alone"), timeout=TIMEOUT_S)
        put(memory.array(), 0, image)
        request = pb.SegmentRequest(options=tiny_options(), frame=in_slot(image, "alone", 0))
        reply = shared.stub(channel).Segment(request, timeout=TIMEOUT_S)
        request.frame.raw.CopyFrom(raw(image).raw)
        assert cells(reply.frame) == cells(shared.stub(channel).Segment(request, timeout=TIMEOUT_S).frame)


def pass_memory(daemon: Daemon, line: bytes, *descriptors: int) -> tuple[socket.socket, dict]:
    """What a client does with the memory socket, and what it is told."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_S)
    connection.connect(memory_socket(daemon))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection.sendmsg([line], rights)
    with connection.makefile() as lines:
        return connection, json.loads(lines.readline())


def test_memory_without_a_name_lives_as_long_as_its_connection(shared):
    image = discs(256, 192, seed=3)
    memory = os.memfd_create("frames", os.MFD_ALLOW_SEALING)
    os.write(memory, bytes(10) + image.tobytes())
    connection, told = pass_memory(shared, b"scope 1\n", memory)
    os.close(memory)
    assert told["byte_size"] == image.nbytes + 10
    with Session(shared, tiny_options()) as session:
        here = session.segment(in_slot(image, told["region"], 10))
        assert cells(here) == cells(session.segment(raw(image, 2)))
        connection.close()
        for id in count(3):
            session.send_frame(in_slot(image, told["region"], 10, id))
            reply = session.receive("frame")
            if reply.WhichOneof("outcome") == "failed":
                break
            assert id < 5000, "the region outlived its connection"
        assert "no region" in failure_of(reply)


def test_what_is_passed_must_be_memory(shared):
    with open("/dev/null") as null, open(__file__) as text:
        for descriptors, why in [((null.fileno(),), "not shared memory"), ((text.fileno(),), "not shared memory"), ((), "no descriptor")]:
            connection, told = pass_memory(shared, b"scope 1\n", *descriptors)
            assert why in told["error"]
            assert connection.recv(1) == b"", "it is closed"


@pytest.mark.parametrize(
    "change, code, words",
    [
        ({"key": "/../etc/passwd"}, "INVALID_ARGUMENT", "slash"),
        ({"key": "/cellsegd-test-/../x"}, "INVALID_ARGUMENT", "slash"),
        ({"key": ""}, "INVALID_ARGUMENT", "empty"),
        ({"key": "/cellsegd-test-" + "a" * 300}, "INVALID_ARGUMENT", "255"),
        ({"key": "/psm_1"}, "PERMISSION_DENIED", "/cellsegd-test-*"),
        ({"key": "/cellsegd-test-not-there"}, "NOT_FOUND", "create it first"),
        ({"name": ""}, "INVALID_ARGUMENT", "1 to 256 bytes"),
        ({"byte_size": 0}, "INVALID_ARGUMENT", "at least 1"),
        ({"byte_size": 2**64 - 1}, "INVALID_ARGUMENT", "has 64 bytes"),
        ({"offset": 2**64 - 1}, "INVALID_ARGUMENT", "has 64 bytes"),
    ],
)
def test_a_region_that_cannot_be_is_refused_with_words(shared, change, code, words):
    with Memory(64) as memory, pytest.raises(grpc.RpcError) as refused:
        controller(shared).Register(memory.registration(**change), timeout=TIMEOUT_S)
    assert refused.value.code().name == code
    assert words in refused.value.details()


def test_a_caller_gets_no_more_than_its_own_rights(shared):
    """The daemon may read more than who asks it: it asks on behalf of the caller."""
    if os.geteuid() != 0:
        skip("only root can call as another user")
    with Memory(64, mode=0o600) as private, Memory(64, mode=0o644) as public:
        tcp = controller(shared)
        with pytest.raises(grpc.RpcError) as refused:
            tcp.Register(private.registration(), timeout=TIMEOUT_S)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert "0644" in refused.value.details()
        tcp.Register(public.registration(), timeout=TIMEOUT_S)
        # The kernel tells the user of whoever connects: its own may.
        unix = f"unix:{shared.socket}"
        assert controller(shared, unix).Register(private.registration(), timeout=TIMEOUT_S).writable
        folders = [folder for folder in shared.socket.parents if folder.stat().st_uid == 0 and not folder.stat().st_mode & 1]
        before = {path: path.stat().st_mode for path in [*folders, shared.socket]}
        for path in before:
            path.chmod(0o777)
        os.seteuid(NOBODY)
        try:
            other = controller(shared, unix)
            assert not other.Register(public.registration(), timeout=TIMEOUT_S).writable
            with pytest.raises(grpc.RpcError) as refused:
                other.Register(private.registration(), timeout=TIMEOUT_S)
        finally:
            os.seteuid(0)
            for path, mode in before.items():
                path.chmod(mode)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert f"uid {NOBODY}" in refused.value.details()


def test_memory_that_goes_away_under_a_stream_fails_frames_and_nothing_else(shared):
    image = discs(256, 256, seed=4)
    slots, rounds, frames = 4, 60, 8
    options = tiny_options(measurements=pb.Measurements(intensity=True))
    outcomes = {"segmentation": 0, "failed": 0}
    with Memory(slots * image.nbytes) as memory, Session(shared, options) as session:
        stub, took_s = controller(shared), 0.0
        for round in range(rounds):
            began = time.monotonic()
            os.truncate(memory.path, memory.n_bytes)
            put(memory.array(), 0, np.tile(image, (slots, 1)))
            stub.Register(memory.registration(), timeout=TIMEOUT_S)
            # At some time between the first frame's arrival and the last one's answer; the first time after it.
            delay_s = round % 20 / 20 * took_s
            gone = threading.Timer(delay_s, os.truncate, (memory.path, round % 3 * 4096))
            if round > 0:
                gone.start()
            for id in range(frames):
                session.send_frame(in_slot(image, "camera", id % slots * image.nbytes, id))
            for id in range(frames):
                reply = session.receive("frame")
                outcomes[reply.WhichOneof("outcome")] += 1
                assert reply.id == id
                if reply.WhichOneof("outcome") == "failed":
                    assert reply.failed.code == pb.Failed.CODE_INVALID_FRAME
                    assert "register it again" in failure_of(reply)
            if round == 0:
                took_s = time.monotonic() - began
                gone.start()
            gone.join()
        assert outcomes["failed"] > rounds and outcomes["segmentation"] >= frames, outcomes
        os.truncate(memory.path, memory.n_bytes)
        put(memory.array(), 0, image)
        stub.Register(memory.registration(), timeout=TIMEOUT_S)
        after = session.segment(in_slot(image, "camera", 0))
        assert cells(after) == cells(session.segment(raw(image, 2)))
        assert session.close().frames == rounds * frames + 2


def test_pixels_that_change_while_they_are_read_give_some_cells_and_harm_nobody(shared):
    image = discs(512, 512, seed=5, peak=60_000, dtype=np.uint16)
    percentiles = pb.Normalization(percentiles=pb.Normalization.Percentiles(low=1, high=99))
    options = tiny_options(normalization=percentiles, measurements=pb.Measurements(intensity=True, background=True))
    with Memory(image.nbytes) as memory, Session(shared, options) as session:
        controller(shared).Register(memory.registration(), timeout=TIMEOUT_S)
        pixels, over = memory.array(), threading.Event()
        put(pixels, 0, image)

        def scribble():
            random = np.random.default_rng(6)
            while not over.is_set():
                pixels[:] = random.integers(0, 256, pixels.size, dtype=np.uint8)
                pixels[:] = 0
                put(pixels, 0, image)

        scribbler = threading.Thread(target=scribble)
        scribbler.start()
        try:
            for id in range(60):
                session.segment(in_slot(image, "camera", 0, id))
        finally:
            over.set()
            scribbler.join()
