"""Daemons that are killed, drain or come back: every frame has one Result, and identities go on."""

import threading
import time

import numpy as np
import pytest
from conftest import TINY_OPTIONS, Daemon, demo_files, discs

from cellsegd import Client, Disconnected, Frame, Result

IMAGES = [discs(seed=seed) for seed in range(4)]
PATIENCE_S = 120


def followed(t: int) -> Frame:
    """A demo frame as its microscope would send it, one every 10 minutes."""
    metadata = {"t": t, "position": "A1", "channel": "Phase", "pixel_size_um": 0.8708, "elapsed_ms": t * 600_000}
    return Frame(demo_files()[t].read_bytes(), metadata=metadata)


def identities(results):
    return [[(cell.label, cell.track_id, cell.parent_id, cell.age_frames) for cell in result.cells] for result in results]


def moving(t: int) -> Frame:
    """Discs that move a little from frame to frame, for the tiny model."""
    return Frame(np.roll(IMAGES[0], 2 * t, axis=1), metadata={"t": t})


@pytest.fixture(scope="module")
def uninterrupted(client):
    results = list(client.stream((followed(t) for t in range(len(demo_files()))), track=True))
    assert len(results[-1].cells) > 20
    return results


def with_a_kill(daemon: Daemon, frames: list[Frame], **options) -> list[Result]:
    """Frame by frame; before the answer to the fourth the daemon is killed and started again."""
    results = []
    with Client(daemon.url) as client, client.session(track=True, window=1, **options) as session:
        answers = session.results()
        for i, frame in enumerate(frames):
            session.submit(frame)
            if i == 3:
                daemon.kill()
                daemon.start()
            results.append(next(answers))
        account = session.close()
    assert account.reconnections == 1 and account.segmented == len(frames)
    return results


def test_identities_go_on_after_the_daemon_was_killed(tmp_path, uninterrupted):
    with Daemon(tmp_path, bundled=True) as daemon:
        results = with_a_kill(daemon, [followed(t) for t in range(len(demo_files()))])
    assert identities(results) == identities(uninterrupted)
    assert [result.revision for result in results] == [1] * 3 + [2] * (len(results) - 3)
    assert (results[-1].labels == uninterrupted[-1].labels).all()
    assert (results[-1].labels_by_track() == uninterrupted[-1].labels_by_track()).all()


@pytest.mark.parametrize("outputs", ["cells", "labels", "rings", "bits"])
def test_identities_go_on_whatever_is_sent_of_a_mask(tmp_path, client, outputs):
    frames = [moving(t) for t in range(6)]
    expected = list(client.stream(frames, track=True, **TINY_OPTIONS))
    assert {cell.age_frames for cell in expected[-1].cells} >= {6}, "cells that were there from the first frame"
    with Daemon(tmp_path) as daemon:
        results = with_a_kill(daemon, frames, outputs=outputs, **TINY_OPTIONS)
    assert identities(results) == identities(expected)
    assert (results[-1].labels_by_track() == expected[-1].labels_by_track()).all()


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_no_frame_is_lost_under_load(tmp_path, how):
    """Three times, with frames in flight."""
    n = 400
    with Daemon(tmp_path) as daemon, Client(daemon.url) as client:
        with client.session(**TINY_OPTIONS) as session:
            results = []
            reader = threading.Thread(target=lambda: results.extend(session.results()))
            reader.start()

            def frames():
                for i in range(n):
                    session.submit(Frame(IMAGES[i % 4], metadata={"t": i}))

            sender = threading.Thread(target=frames)
            sender.start()
            for kill in range(1, 4):
                wait_until(lambda kill=kill: len(results) >= kill * n // 5)
                if how == "kill":
                    daemon.pause()
                    time.sleep(0.05)
                    assert session.unanswered
                    daemon.kill()
                else:
                    daemon.terminate()
                    assert daemon.process.wait(60) == 0, daemon.log.read_text()
                wait_until(lambda: not session.connected)
                daemon.start()
            sender.join(PATIENCE_S)
            account = session.close(PATIENCE_S)
            reader.join(PATIENCE_S)
    assert [result.id for result in results] == list(range(1, n + 1))
    assert {result.outcome for result in results} == {"segmented"}
    assert [result.metadata["index"]["t"] for result in results] == list(range(n))
    assert (account.frames, account.segmented, account.reconnections) == (n, n, 3)
    for result in results[4:]:
        assert (result.labels == results[(result.id - 1) % 4].labels).all()


def test_another_daemon_takes_over_with_the_same_identities(tmp_path, uninterrupted):
    one, two = (Daemon(tmp_path / name, bundled=True) for name in ("one", "two"))
    with one, two, Client(one.url, urls=[two.url]) as client:
        results = []
        for result in client.stream((followed(t) for t in range(len(demo_files()))), track=True):
            results.append(result)
            if len(results) == 2:
                one.kill()
    assert identities(results) == identities(uninterrupted)


def test_settings_that_were_changed_hold_after_a_lost_connection(tmp_path):
    with Daemon(tmp_path) as daemon, Client(daemon.url) as client, client.session(**TINY_OPTIONS) as session:
        answers = session.results()
        session.submit(IMAGES[0])
        assert session.update(confidence=0.99).result(PATIENCE_S) == 2
        session.submit(IMAGES[0])
        before, after = next(answers), next(answers)
        daemon.kill()
        daemon.start()
        session.submit(IMAGES[0])
        again = next(answers)
    assert len(before.cells) > len(after.cells) == len(again.cells)
    assert again.revision == 3


def test_what_was_to_be_measured_on_a_frame_before_the_loss_fails_alone(tmp_path):
    with Daemon(tmp_path) as daemon, Client(daemon.url) as client, client.session(measure="intensity", **TINY_OPTIONS) as session:
        answers = session.results()
        first = session.submit(IMAGES[0])
        assert next(answers).outcome == "segmented"
        daemon.kill()
        daemon.start()
        session.submit(Frame(IMAGES[1], measure_on=first))
        second = session.submit(IMAGES[0])
        session.submit(Frame(IMAGES[1], measure_on=second))
        lost, segmented, measured = (next(answers) for _ in range(3))
    assert lost.outcome == "failed" and f"measure_on {first}" in lost.reason
    assert (segmented.outcome, measured.outcome, measured.measured_on) == ("segmented", "measured", second)


def test_latest_drops_what_was_unanswered_and_says_so(tmp_path):
    with Daemon(tmp_path) as daemon, Client(daemon.url) as client:
        with client.session(delivery="latest", **TINY_OPTIONS) as session:
            session.submit(IMAGES[0])
            assert next(session.results()).outcome == "segmented"
            daemon.pause()
            for _ in range(3):
                session.submit(IMAGES[1])
            daemon.kill()
            wait_until(lambda: not session.connected)
            # Nobody is there: of each series the newest waits.
            for _ in range(3):
                session.submit(Frame(IMAGES[2], metadata={"channel": "DAPI"}))
            session.submit(IMAGES[3])
            daemon.start()
            wait_until(lambda: session.connected)
            account = session.close(PATIENCE_S)
            results = list(session.results())
    assert [result.id for result in results] == list(range(2, 9))
    assert [result.outcome for result in results] == ["dropped"] * 5 + ["segmented"] * 2
    assert {result.reason for result in results[:3]} <= {"disconnected", "newer_frame"} and results[2].reason == "disconnected"
    assert {result.reason for result in results[3:5]} == {"disconnected"}
    assert account.frames == 8 == account.segmented + account.dropped


def test_when_it_does_not_come_back_every_frame_is_accounted_for(tmp_path):
    with Daemon(tmp_path) as daemon, Client(daemon.url, max_reconnect_s=1) as client:
        session = client.session(window=3, **TINY_OPTIONS)
        daemon.pause()
        for image in IMAGES[:3]:
            session.submit(image)
        daemon.kill()
        results = []
        with pytest.raises(Disconnected, match="within 1 s") as lost:
            results.extend(iter_into(session.results(), results))
        assert lost.value.unanswered == (1, 2, 3)
        assert [(result.outcome, result.code, result.retryable) for result in results] == [("failed", "DISCONNECTED", True)] * 3
        with pytest.raises(Disconnected):
            session.submit(IMAGES[0])
        assert session.close().failed == 3


def iter_into(iterator, into):
    """Keeps what came before it raised."""
    for item in iterator:
        into.append(item)
    return ()


def test_a_session_that_is_closed_while_nobody_answers_ends(tmp_path):
    with Daemon(tmp_path) as daemon, Client(daemon.url, max_reconnect_s=None) as client:
        session = client.session(**TINY_OPTIONS)
        daemon.pause()
        session.submit(IMAGES[0])
        daemon.kill()
        with pytest.raises(TimeoutError, match="still unanswered"):
            session.close(timeout_s=1)
        result = session.poll()
        assert result is not None and result.outcome == "failed"


def wait_until(happened):
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.005)
