"""Which frame goes where, what waits for what, and what becomes of frames that there is no room for."""

import threading
import time

import numpy as np
import pytest
import useq
from fakes import FakeClient

from cellsegd import Options
from cellsegd.errors import Refused, Unavailable
from cellsegd.mmcore import measure
from cellsegd.mmcore._lane import Lane
from cellsegd.mmcore._metadata import Camera
from cellsegd.mmcore._plan import Plan
from cellsegd.mmcore._room import Room
from cellsegd.mmcore._run import Run

PHASE_AND_GFP = {"Phase": "cells", "GFP": measure("Phase")}
FRAME_BYTES = 64


def ends(what):
    """Does it; it fails if it waits for what never comes."""
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it waits for an answer"


class Bench:
    """A run without a core: frames are handed over, what is reported is kept."""

    def __init__(self, channels, client=None, buffer_bytes=1 << 20, patience_s=30.0, store=None):
        self.client = client or FakeClient()
        self.plan = Plan(channels, Options())
        self.room = Room(buffer_bytes)
        self.reported = []
        stores = [store] * len(self.plan.sessions)
        self.run = Run(self.client, self.plan, Camera(), self.room, stores, self.report, patience_s)

    def report(self, shot, result):
        self.reported.append((shot.channel, dict(shot.event.index), result.outcome, result.reason))

    def take(self, channel, t, **index):
        index = {"t": t, "c": 0 if channel == "Phase" else 1} | index
        event = useq.MDAEvent(index=index, channel=channel)
        self.run.take(np.zeros((8, 8), np.uint8), event, {"runner_time_ms": 10.0 * t}, 0.01 * t)

    def finish(self, timeout_s=10):
        self.run.finish(timeout_s, 10)
        assert self.room._used == 0, "every byte is given back"
        return self.reported

    def outcomes(self):
        return {(channel, index["t"]): (outcome, reason) for channel, index, outcome, reason in self.finish()}


@pytest.mark.parametrize("order", [("Phase", "GFP"), ("GFP", "Phase")])
def test_the_other_channel_is_measured_on_the_frame_of_its_moment_whichever_comes_first(order):
    bench = Bench(PHASE_AND_GFP)
    for t in range(3):
        for channel in order:
            bench.take(channel, t, p=0, z=t % 2)
    reported = bench.finish()
    assert sorted(reported, key=str) == sorted(
        [(c, {"t": t, "c": int(c == "GFP"), "p": 0, "z": t % 2}, o, None) for t in range(3)
         for c, o in (("Phase", "segmented"), ("GFP", "measured"))], key=str)  # fmt: skip
    (session,) = bench.client.sessions
    sent = {frame.id: frame for frame in session.submitted}
    for frame in session.submitted:
        if frame.metadata.channel == "GFP":
            assert sent[frame.measure_on].metadata.index["t"] == frame.metadata.index["t"]
            assert list(sent).index(frame.measure_on) < list(sent).index(frame.id), "never before it"
    assert dict(bench.run.counts) == {"frames": 6, "segmented": 3, "measured": 3}


def test_each_model_has_a_session_and_what_is_left_alone_goes_nowhere():
    bench = Bench({"Phase": "cells", "DAPI": "nuclei", "BF": None})
    for channel in ("Phase", "DAPI", "BF", "Phase"):
        bench.take(channel, len(bench.reported))
    bench.finish()
    assert [(s.options.model, [f.metadata.channel for f in s.submitted]) for s in bench.client.sessions] == [
        ("cells", ["Phase", "Phase"]),
        ("nuclei", ["DAPI"]),
    ]
    assert bench.run.counts["frames"] == 3


def test_frames_whose_own_frame_never_comes_are_let_go_one_by_one():
    bench = Bench(PHASE_AND_GFP)
    for t in range(70):
        bench.take("GFP", t)
    bench.take("Phase", 69)
    outcomes = bench.outcomes()
    assert outcomes["GFP", 69] == ("measured", None)
    for t in range(69):
        assert outcomes["GFP", t] == ("dropped", "the frame of 'Phase' that it was to be measured on did not come")


def test_a_daemon_that_does_not_keep_up_costs_frames_but_no_time():
    def slow(session):
        session.automatic = False

    bench = Bench({"Phase": "cells"}, FakeClient(slow), buffer_bytes=10 * FRAME_BYTES)
    # Nothing is answered meanwhile.
    ends(lambda: [bench.take("Phase", t) for t in range(30)])
    began = time.monotonic()
    while len(bench.reported) < 20:
        time.sleep(0.01)
        assert time.monotonic() - began < 20
    (session,) = bench.client.sessions
    session.automatic = True
    session.wait_for(4)
    session.answer(4)
    outcomes = bench.outcomes()
    assert [outcomes["Phase", t][0] for t in range(30)] == ["segmented"] * 10 + ["dropped"] * 20
    assert outcomes["Phase", 29][1] == "no memory left to wait in"


def test_what_has_no_answer_when_the_run_ends_is_given_up_in_time():
    def silent(session):
        session.automatic = False

    bench = Bench(PHASE_AND_GFP, FakeClient(silent))
    for t in range(6):
        bench.take("Phase", t)
    bench.take("GFP", 5)
    ends(lambda: bench.run.finish(0.3, 10))
    outcomes = {(channel, index["t"]): outcome for channel, index, outcome, _ in bench.finish()}
    assert len(outcomes) == 7 and set(outcomes.values()) <= {"failed", "dropped"}


def test_listeners_that_do_not_return_are_waited_for_once_however_many_sessions_there_are(monkeypatch):
    bench = Bench({"Phase": "cells", "DAPI": "nuclei"})
    let_go, heard, returned, deadlines = threading.Event(), threading.Semaphore(0), threading.Semaphore(0), []
    leave = Lane.leave

    def listen(*_):
        heard.release()
        let_go.wait(90)
        returned.release()

    def leave_by(lane, until):
        deadlines.append(until)
        leave(lane, until)

    monkeypatch.setattr(Lane, "leave", leave_by)
    bench.run._report = listen
    for channel in ("Phase", "DAPI"):
        bench.take(channel, 0)
    try:
        assert heard.acquire(timeout=60) and heard.acquire(timeout=60)
        # Longer than this allows it waits for listeners that return: these do not until it has.
        ends(lambda: bench.run.finish(0.1, 0.1))
        assert not returned.acquire(blocking=False)
        assert len(deadlines) == 2 and len(set(deadlines)) == 1
    finally:
        let_go.set()
    assert returned.acquire(timeout=60) and returned.acquire(timeout=60)


def test_without_a_connection_frames_wait_a_while_and_are_then_given_up():
    def away(session):
        session.automatic = False
        session.connected = False

    bench = Bench({"Phase": "cells"}, FakeClient(away), patience_s=0.2)
    bench.client.ready = away
    for t in range(8):
        bench.take("Phase", t)
    began = time.monotonic()
    # The window holds four, and the sender waits with the fifth in its hand.
    while len(bench.reported) < 3:
        time.sleep(0.01)
        assert time.monotonic() - began < 20
    (session,) = bench.client.sessions
    session.connected = session.automatic = True
    session.answer(4)
    outcomes = bench.outcomes()
    assert [outcomes["Phase", t][0] for t in range(8)] == ["segmented"] * 5 + ["dropped"] * 3
    assert outcomes["Phase", 7][1] == "no connection to the daemon"


def test_a_daemon_that_comes_late_gets_the_frames_that_waited():
    bench = Bench({"Phase": "cells"}, FakeClient(refuse=[Unavailable("not yet")]))
    bench.take("Phase", 0)
    assert bench.outcomes() == {("Phase", 0): ("segmented", None)}


@pytest.mark.parametrize("refuse", [Refused("no such model"), Unavailable("nobody there")])
def test_a_session_that_cannot_be_had_is_said_with_every_frame(refuse):
    bench = Bench(PHASE_AND_GFP, FakeClient(refuse=[refuse] * 1000))
    for t in range(3):
        bench.take("Phase", t)
        bench.take("GFP", t)
    outcomes = bench.outcomes()
    assert len(outcomes) == 6
    assert {outcome for outcome, _ in outcomes.values()} == {"dropped"}
    assert any(str(refuse) in reason for _, reason in outcomes.values())


def test_without_a_mapping_the_first_channel_that_comes_is_segmented():
    bench = Bench(None)
    for t in range(2):
        bench.take("DAPI", t)
        bench.take("FITC", t)
    outcomes = bench.outcomes()
    assert [outcomes[key][0] for key in sorted(outcomes)] == ["segmented", "segmented", "dropped", "dropped"]
    assert "without a mapping" in outcomes["FITC", 0][1]


def test_a_defect_loses_count_of_no_frame():
    class Late(Bench):
        """Whose daemon answers a frame just when another is given up."""

        def report(self, shot, result):
            super().report(shot, result)
            (session,) = self.client.sessions
            if result.outcome == "dropped" and session._in_flight:
                known = len(self.reported)
                session.answer(len(session._in_flight))
                until = time.monotonic() + 1
                while len(self.reported) == known and time.monotonic() < until:
                    time.sleep(0.01)

    def breaks(session):
        session.automatic = False
        submit = session.submit

        def submit_or_break(frame):
            if len(session.submitted) == 3:
                raise RuntimeError("a defect")
            return submit(frame)

        session.submit = submit_or_break

    bench = Late({"Phase": "cells"}, FakeClient(breaks))
    for t in range(6):
        bench.take("Phase", t)
    outcomes = bench.outcomes()
    assert len(bench.reported) == 6 == len(outcomes)
    assert [outcomes["Phase", t][0] for t in range(6)] == ["failed"] * 3 + ["dropped"] * 3
    assert "a defect" in outcomes["Phase", 3][1]


def test_files_of_a_run_have_names_of_their_own():
    bench = Bench({"Ph 1/2": "cells"})
    names = [bench.run._name("Ph 1/2", (("p", 1), ("t", 3))) for _ in range(2)] + [bench.run._name("", ())]
    assert names[0] == "Ph-1-2_p0001_t0003" and len(set(names)) == 3
    bench.finish()


def test_frames_are_copied_into_memory_that_is_used_again():
    room = Room(100 * 64)
    room.prepare((8, 8), np.uint8)
    ready = {buffer.ctypes.data for buffer in room._free}
    strange = np.asfortranarray(np.arange(48, dtype=np.uint16).reshape(8, 6))[::2]
    for image in (np.ones((8, 8), np.uint8), strange):
        copy = room.copy_of(image)
        assert np.array_equal(copy, image) and copy.flags.c_contiguous and not np.shares_memory(copy, image)
        room.give_back(copy)
        assert (copy.ctypes.data in ready) == (image is not strange)
    assert room._used == 0 and len(ready) == 8
    taken = [room.copy_of(np.ones((8, 8), np.uint8)) for _ in range(20)]
    room._free.clear()
    room.refill()
    assert len(room._free) == 8 and room.copy_of(taken[0]) is not None
    room.empty()
    room.refill()
    assert not room._free


def test_a_single_frame_always_fits():
    room = Room(10)
    room.prepare((8, 8), np.uint8)
    first = room.copy_of(np.ones((8, 8), np.uint8))
    assert first is not None and room.copy_of(first) is None and room.is_scarce
    room.give_back(first)
    assert room.copy_of(np.ones((8, 8), np.uint8)) is not None
