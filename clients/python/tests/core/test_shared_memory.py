"""Shared memory is used by itself where the daemon offers it, and given up without a word where it does not help."""

import itertools
import os
import queue
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_OPTIONS, Daemon, discs, skip

from cellsegd import Client, Frame, Options, shared_memory
from cellsegd import contract as pb
from cellsegd.address import Address, Credentials
from cellsegd.ledger import _out_of_sight
from cellsegd.link import Link

IMAGES = [discs(512, 400, seed=seed) for seed in range(4)]
SHM = Path("/dev/shm")


@pytest.fixture(scope="module", params=["memfd", "key"])
def sharing(request, tmp_path_factory):
    """A daemon that offers it one way or the other."""
    if not shared_memory.possible():
        skip("this system has no memfd")
    folder = tmp_path_factory.mktemp("sharing")
    offer = f'socket = "{folder}/memory"' if request.param == "memfd" else 'keys = ["/cellsegd-client-*"]'
    with Daemon(folder, f"[shared_memory]\n{offer}\n") as daemon:
        yield daemon


def left() -> set[str]:
    return {path.name for path in SHM.glob("cellsegd-client-*")}


@pytest.mark.parametrize("door", ["url", "unix"])
def test_frames_go_through_it_by_themselves(sharing, client, door):
    before = left()
    variants = [
        *IMAGES, IMAGES[0].astype(np.uint16) * 256, (IMAGES[1].astype(np.uint16) * 256).astype(">u2"), np.asfortranarray(IMAGES[2]),
        np.repeat(IMAGES[3], 2, axis=1)[:, ::2], np.stack([IMAGES[0]] * 3, axis=2), IMAGES[0][:-1], discs(96, 64),
    ]  # fmt: skip
    with Client(getattr(sharing, door)) as here, here.session(**TINY_OPTIONS) as session:
        answers = session.results()
        shared = []
        for image in variants * 2:
            session.submit(image)
            shared.append(next(answers))
        assert session.shares_memory
    assert left() <= before, "nothing is left behind"
    sent = list(client.stream(variants * 2, **TINY_OPTIONS))
    for mine, yours in zip(shared, sent, strict=True):
        assert mine.message.segmentation.instances == yours.message.segmentation.instances
    assert any(result.cells for result in shared)


def test_the_daemon_is_told_when_a_region_is_not_needed_any_more(sharing):
    def known():
        return list(client._ask("SharedMemory/ListRegions", pb.ListRegionsRequest(), pb.ListRegionsReply).regions)

    # Its connection stays: what is left is not forgotten with it.
    with Client(sharing.url) as client:
        for _ in range(3):
            with client.session(**TINY_OPTIONS) as session:
                session.submit(IMAGES[0])
                assert next(session.results()).outcome == "segmented" and session.shares_memory
                # What was passed over a socket goes with that.
                assert len(known()) == (0 if session._link.offer.socket else 1)
        until = time.monotonic() + 20
        while known():
            assert time.monotonic() < until, f"still there: {known()}"
            time.sleep(0.01)


def test_a_buffer_that_is_written_again_does_no_harm(sharing):
    buffer = IMAGES[0].copy()
    with Client(sharing.unix) as client, client.session(window=4, **TINY_OPTIONS) as session:
        for i in range(12):
            buffer[:] = IMAGES[i % 4]
            session.submit(buffer)
        buffer[:] = 0
        session.close()
        results = list(session.results())
    assert len({result.message.segmentation.SerializeToString() for result in results}) == 4
    for result in results:
        np.testing.assert_array_equal(result.labels, results[(result.id - 1) % 4].labels)


def test_it_can_be_turned_off(sharing):
    with Client(sharing.unix, shared_memory="off") as client, client.session(**TINY_OPTIONS) as session:
        session.submit(IMAGES[0])
        assert next(session.results()).outcome == "segmented"
        assert not session.shares_memory
    with pytest.raises(ValueError, match='must be "auto" or "off"'):
        Client(sharing.unix, shared_memory="on")


def test_a_daemon_without_it_gets_pixels(client):
    with client.session(**TINY_OPTIONS) as session:
        session.submit(IMAGES[0])
        assert next(session.results()).outcome == "segmented" and not session.shares_memory


def test_frames_in_memory_survive_the_daemon(sharing):
    """Killed with frames in slots: they are sent again, to a daemon that knows the memory anew."""
    with Client(sharing.url) as client, client.session(**TINY_OPTIONS) as session:
        answers = session.results()
        session.submit(IMAGES[0])
        results = [next(answers)]
        sharing.pause()
        for image in IMAGES[1:]:
            session.submit(image)
        sharing.kill()
        sharing.start()
        results += [next(answers) for _ in IMAGES[1:]]
        session.submit(IMAGES[0])
        results.append(next(answers))
        assert session.shares_memory
        assert session.closed.reconnections == 1
    assert [result.outcome for result in results] == ["segmented"] * 5
    np.testing.assert_array_equal(results[0].labels, results[4].labels)
    assert len({result.labels.tobytes() for result in results}) == 4


def test_a_daemon_that_takes_over_without_it_gets_pixels(tmp_path, sharing, daemon):
    with Client(sharing.url, urls=[daemon.url]) as client, client.session(**TINY_OPTIONS) as session:
        answers = session.results()
        session.submit(IMAGES[0])
        results = [next(answers)]
        assert session.shares_memory
        sharing.pause()
        session.submit(IMAGES[1])
        sharing.kill()
        results.append(next(answers))
        assert not session.shares_memory
        session.submit(IMAGES[0])
        results.append(next(answers))
    sharing.start()
    np.testing.assert_array_equal(results[0].labels, results[2].labels)


def test_memory_that_the_daemon_lost_sight_of_is_no_loss(sharing):
    """As after a truncation: the frame comes back as one that it cannot see."""
    with Client(sharing.url) as client, client.session(**TINY_OPTIONS) as session:
        answers = session.results()
        session.submit(IMAGES[0])
        results = [next(answers)]
        session._link._region = "not-a-region"
        for image in (IMAGES[1], IMAGES[0]):
            session.submit(image)
            results.append(next(answers))
        assert session.closed.reconnections == 1 and not session.shares_memory
    assert [result.outcome for result in results] == ["segmented"] * 3
    np.testing.assert_array_equal(results[0].labels, results[2].labels)


def test_the_daemons_words_for_lost_memory_are_known(sharing):
    """The ledger knows such an answer by what it says: other words of the daemon would make these frames fail for good."""
    with Client(sharing.unix) as client:
        offer = client._ask("SharedMemory/ListRegions", pb.ListRegionsRequest(), pb.ListRegionsReply)
    memory = shared_memory.memory_for(offer, IMAGES[0].nbytes, 2)
    regions, ids = queue.SimpleQueue(), itertools.count(1)

    def requests(_):
        region = regions.get(timeout=60)
        slot = pb.SharedSlot(region=region, layout=Frame(IMAGES[0]).layout(IMAGES[0]))
        return pb.StreamRequest(frame=pb.Frame(id=next(ids), shared=slot)) if region else None

    options = Options(**TINY_OPTIONS).message()
    link = Link(Address.parse(sharing.unix), Credentials(), options, requests, 30, shared_memory=True)
    try:
        lost = ["forgotten"]
        # What is passed over a socket is sealed: nobody cuts it off.
        if memory.key is not None:
            lost.append(link.region(memory))
            os.ftruncate(memory.fd, 0)
        for region in [*lost, None]:
            regions.put(region)
        answers = [reply.frame for reply in link.replies() if reply.HasField("frame")]
    finally:
        regions.put(None)
        link.close()
        memory.close()
    assert len(answers) == len(lost)
    for answer in answers:
        assert _out_of_sight(answer), answer


def test_what_a_killed_program_left_is_removed_by_the_next():
    fcntl = pytest.importorskip("fcntl", reason="this system has no locks on files")
    if not shared_memory.possible():
        skip("this system has no memfd")
    program = """
import os, signal
from cellsegd import contract as pb, shared_memory
memory = shared_memory.memory_for(pb.ListRegionsReply(keys=["/cellsegd-client-*"]), 1 << 20, 2)
print(memory.key[1:], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    name = killed.stdout.strip()
    assert name in left(), killed
    # One that only looks like it; and one as of another container, whose number means nothing here, whose lock does.
    alike, locked = SHM / f"{name}0", SHM / f"{name[:-16]}{'5' * 16}"
    for path in (alike, locked):
        path.touch()
    try:
        with locked.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            offer = pb.ListRegionsReply(keys=["/cellsegd-client-*"])
            mine = [shared_memory.memory_for(offer, 1 << 20, 2) for _ in range(2)]
            stay = {alike.name, locked.name, *(memory.key[1:] for memory in mine)}
            assert stay <= left() and name not in left()
            for memory in mine:
                memory.close()
    finally:
        for path in (alike, locked):
            path.unlink(missing_ok=True)


def test_a_file_is_locked_before_its_room_is_taken(monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="this system has no locks on files")
    if not shared_memory.possible():
        skip("this system has no memfd")
    take, locked = os.posix_fallocate, []

    def look(fd, *place):
        with open(f"/proc/self/fd/{fd}") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                locked.append(fd)
        take(fd, *place)

    monkeypatch.setattr(os, "posix_fallocate", look)
    memory = shared_memory.memory_for(pb.ListRegionsReply(keys=["/cellsegd-client-*"]), 1 << 20, 2)
    memory.close()
    assert locked == [memory.fd]


def test_without_room_pixels_are_sent(sharing, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    before = left()
    with Client(sharing.url) as client, client.session(**TINY_OPTIONS) as session:
        session.submit(IMAGES[0])
        assert next(session.results()).outcome == "segmented" and not session.shares_memory
    assert left() <= before


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_other_systems_do_not_look_for_it(monkeypatch, client, system):
    monkeypatch.setattr(sys, "platform", system)
    assert not shared_memory.possible()
    with client.session(**TINY_OPTIONS) as session:
        session.submit(IMAGES[0])
        assert next(session.results()).outcome == "segmented"
        assert session._link.offer is None
    if system == "win32":
        with pytest.raises(ValueError, match="no unix sockets on Windows"):
            Client("unix:///run/cellsegd/cellsegd.sock")


def test_slots_are_as_many_as_there_may_be(tmp_path):
    assert shared_memory.memory_for(None, 1 << 20, 4) is None
    offer = pb.ListRegionsReply(keys=["/cellsegd-client-*"])
    assert shared_memory.memory_for(offer, 1000, 4) is None, "not worth it"
    assert shared_memory.memory_for(offer, 1 << 40, 4) is None, "too much"
    if not shared_memory.possible():
        skip("this system has no memfd")
    memory = shared_memory.memory_for(offer, IMAGES[0].nbytes, 3)
    offsets = [memory.reserve() for _ in range(4)]
    assert sorted(offsets[:3]) == [0, memory.slot_bytes, 2 * memory.slot_bytes] and offsets[3] is None
    memory.write(offsets[0], IMAGES[0])
    layout = Frame(IMAGES[0]).layout(IMAGES[0])
    whole = memory.inline(pb.Frame(id=7, shared=pb.SharedSlot(offset=offsets[0], layout=layout)))
    assert whole.raw.data == IMAGES[0].tobytes() and whole.id == 7
    memory.release(offsets[1])
    assert memory.reserve() == offsets[1]
    memory.close()
    assert memory.key.removeprefix("/") not in left()
