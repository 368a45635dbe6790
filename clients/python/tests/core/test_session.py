"""Sessions with a real daemon: one Result a frame, in order, whatever the delivery."""

import asyncio
import itertools
import threading
import time

import numpy as np
import pytest
from conftest import TINY_OPTIONS, Daemon, discs

from cellsegd import AsyncClient, Client, Disconnected, Error, Frame, Options, Refused, Session, Unavailable
from cellsegd.address import Address, Credentials

IMAGES = [discs(seed=seed) for seed in range(8)]


def test_every_frame_has_one_result_in_order(client):
    results = list(client.stream(itertools.islice(itertools.cycle(IMAGES), 40), **TINY_OPTIONS))
    assert [result.id for result in results] == list(range(1, 41))
    assert {result.outcome for result in results} == {"segmented"}
    for result in results[8:]:
        np.testing.assert_array_equal(result.labels, results[(result.id - 1) % 8].labels)
    assert any(result.cells for result in results)


def test_a_unix_socket_is_as_good(daemon, client):
    with Client(daemon.unix) as other:
        ours, theirs = (list(each.stream(IMAGES, **TINY_OPTIONS)) for each in (client, other))
    for mine, yours in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine.labels, yours.labels)


def test_an_answer_does_not_wait_for_the_next_frame(client):
    heard = threading.Event()

    def frames():
        yield IMAGES[0]
        assert heard.wait(60), "the first answer came while this one was waited for"
        yield IMAGES[1]

    for result in client.stream(frames(), **TINY_OPTIONS):
        heard.set()
    assert result.id == 2


def test_what_the_frames_raise_is_raised(client):
    def frames():
        yield IMAGES[0]
        raise RuntimeError("the camera was unplugged")

    with pytest.raises(RuntimeError, match="unplugged"):
        list(client.stream(frames(), **TINY_OPTIONS))
    with pytest.raises(TypeError, match="must be uint8"):
        list(client.stream([IMAGES[0].astype(float)], **TINY_OPTIONS))


def test_a_stream_that_is_left_early_ends(client):
    for result in client.stream(itertools.cycle(IMAGES), **TINY_OPTIONS):
        if result.id == 5:
            break
    assert len(list(client.stream(IMAGES, **TINY_OPTIONS))) == 8


def test_submit_waits_at_the_window_and_another_thread_reads(client):
    with client.session(window=2, **TINY_OPTIONS) as session:
        assert session.opened.window == 2
        results = []
        reader = threading.Thread(target=lambda: results.extend(session.results()))
        reader.start()
        for image in IMAGES * 5:
            session.submit(image)
            assert len(session.unanswered) <= 2
        account = session.close()
        reader.join(60)
    assert (account.frames, account.segmented, account.reconnections) == (40, 40, 0)
    assert len(results) == 40


def test_a_full_window_can_be_given_up_on(daemon, client):
    with client.session(window=1, **TINY_OPTIONS) as session:
        daemon.pause()
        try:
            session.submit(IMAGES[0])
            with pytest.raises(TimeoutError, match="window of 1"):
                session.submit(IMAGES[1], timeout_s=0.2)
            assert session.try_submit(IMAGES[1]) is None
        finally:
            daemon.go_on()
        assert session.close().frames == 1


def test_latest_never_waits_and_says_what_it_dropped(daemon, client):
    large = discs(1500, 1500)
    with client.session(delivery="latest", **TINY_OPTIONS) as session:
        daemon.pause()
        try:
            # Far more than any buffer between.
            for _ in range(24):
                session.submit(large)
        finally:
            daemon.go_on()
        account = session.close()
        results = list(session.results())
    assert [result.id for result in results] == list(range(1, 25))
    assert {result.reason for result in results if result.outcome == "dropped"} == {"newer_frame"}
    assert results[-1].outcome == "segmented", "the newest is what LATEST is for"
    assert account.frames == 24 == account.segmented + account.dropped


def test_a_bad_frame_fails_alone(client):
    frames = [IMAGES[0], Frame(IMAGES[1], metadata={"pixel_size_um": -1}), b"no image", IMAGES[2]]
    results = list(client.stream(frames, **TINY_OPTIONS))
    assert [result.outcome for result in results] == ["segmented", "failed", "failed", "segmented"]
    assert "pixel_size_um" in results[1].reason and results[1].code == "INVALID_FRAME"
    assert results[1].metadata == {"pixel_size_um": -1}
    with pytest.raises(Error, match="frame 2 failed: .*pixel_size_um"):
        results[1].raise_for_outcome()
    with pytest.raises(ValueError, match="was failed, not segmented"):
        results[1].labels  # noqa: B018


def test_a_frame_over_the_limit_fails_without_ending_the_stream(client):
    with client.session(**TINY_OPTIONS) as session:
        side = int(session.opened.limits.max_frame_bytes**0.5) + 2000
        session.submit(np.zeros((side, side), np.uint8))
        session.submit(IMAGES[0])
        session.close()
        too_large, good = session.results()
    assert (too_large.code, good.outcome) == ("TOO_LARGE", "segmented")
    assert "limits.max_frame_bytes" in too_large.reason


def test_ids_are_the_callers_if_it_likes(client):
    with client.session(**TINY_OPTIONS) as session:
        assert session.submit(Frame(IMAGES[0], id=77)) == 77
        assert session.submit(IMAGES[1]) == 78
        session.close()
        assert [result.id for result in session.results()] == [77, 78]
        with pytest.raises(Error, match="closed"):
            session.submit(IMAGES[0])


def test_an_update_is_for_the_frames_after_it(client):
    with client.session(**TINY_OPTIONS) as session:
        session.submit(IMAGES[0])
        revision = session.update(confidence=0.99)
        session.submit(IMAGES[0])
        session.close()
        before, after = session.results()
    assert revision.result(60) == 2 == after.revision
    assert len(after.cells) < len(before.cells)


def test_an_update_that_is_refused_leaves_the_session_as_it_was(client):
    with client.session(track=True, **TINY_OPTIONS) as session:
        session.submit(IMAGES[0])
        bad = session.update(confidence=7.0)
        session.submit(IMAGES[0])
        good = session.update(confidence=0.99)
        session.submit(IMAGES[0])
        account = session.close()
        results = list(session.results())
    with pytest.raises(Refused, match="confidence"):
        bad.result(60)
    assert good.result(60)
    assert [result.outcome for result in results] == ["segmented"] * 3
    assert len(results[0].cells) == len(results[1].cells) > len(results[2].cells)
    assert account.reconnections == 1
    with pytest.raises(TypeError, match="cannot change in a session"):
        session.update(model="other")


def test_a_frame_can_be_taken_back(daemon, client):
    with client.session(window=4, **TINY_OPTIONS) as session:
        daemon.pause()
        try:
            for image in IMAGES[:4]:
                session.submit(image)
            session.cancel(4)
            session.cancel(99)
        finally:
            daemon.go_on()
        session.close()
        results = list(session.results())
    assert [result.id for result in results] == [1, 2, 3, 4]
    assert results[3].outcome == "segmented" or results[3].reason == "cancelled"


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"model": "nope"}, Refused, "nope"),
        ({"confidence": 3.0}, Refused, "confidence"),
        ({"confidence": "high"}, TypeError, "confidence"),
        ({"delivery": "soon"}, ValueError, "delivery 'soon': must be one of lossless, latest"),
        ({"outputs": "cells,rings"}, ValueError, "in one form"),
        ({"outputs": "masks"}, ValueError, "outputs 'masks': must be of"),
        ({"measure": "size"}, ValueError, "measure 'size': must be of"),
        ({"confidnce": 0.3}, TypeError, "option 'confidnce': must be one of"),
        ({"region_yx": [[1, 2, 3]]}, ValueError, "region_yx"),
    ],
)
def test_bad_options_say_what_would_be_right(client, options, error, says):
    with pytest.raises(error, match=says):
        client.session(**options)


def test_where_no_daemon_is_that_is_said_at_once(daemon):
    with Client("tcp://127.0.0.1:1", timeout_s=10) as nobody:
        with pytest.raises(Unavailable, match="no daemon answers at tcp://127.0.0.1:1"):
            nobody.models()
        with pytest.raises(Unavailable, match="no daemon answers"):
            nobody.session()
    with Client("tcp://127.0.0.1:1", urls=[daemon.url], timeout_s=10) as either:
        assert [model.name for model in either.models()] == ["cells_640", "tiny"]
        assert either.session(**TINY_OPTIONS).close().frames == 0


@pytest.mark.parametrize(
    "url",
    ["", "scope-pc:8443", "ftp://host:1", "http://host", "http://host:0", "http://a b:1", "http://u@h:1", "unix://x", "unix:///"],
)
def test_what_is_not_an_address_is_refused(url):
    with pytest.raises(ValueError, match="must be unix:///PATH"):
        Client(url)


def test_status_names_the_session(client):
    with client.session(name="scope-2 / incubator A", **TINY_OPTIONS):
        assert [session.name for session in client.status().sessions] == ["scope-2 / incubator A"]


def test_asyncio_is_the_same(daemon):
    async def frames():
        for image in IMAGES:
            await asyncio.sleep(0)
            yield Frame(image, metadata={"channel": "Phase"})

    async def all_of_it():
        async with AsyncClient(daemon.url) as client:
            assert (await client.models())[1].name == "tiny"
            one = await client.segment(IMAGES[0], **TINY_OPTIONS)
            many = [result async for result in client.stream(frames(), **TINY_OPTIONS)]
            again = [result async for result in client.stream(IMAGES, Options(**TINY_OPTIONS))]
            async with await client.session(window=2, **TINY_OPTIONS) as session:
                ids = [await session.submit(image) for image in IMAGES]
                revision = await session.update(confidence=0.9)
                account = await session.close()
                heard = [result.id async for result in session.results()]
            return one, many, again, ids, heard, revision, account

    one, many, again, ids, heard, revision, account = asyncio.run(asyncio.wait_for(all_of_it(), 120))
    np.testing.assert_array_equal(one.labels, many[0].labels)
    assert [result.id for result in many] == [result.id for result in again] == ids == heard
    assert (revision, account.segmented) == (2, 8)


@pytest.mark.parametrize("comes_back", [True, False])
def test_asyncio_may_stop_waiting_for_an_update(tmp_path, comes_back):
    async def impatient(daemon):
        async with AsyncClient(daemon.url, max_reconnect_s=0) as client:
            session = await client.session(**TINY_OPTIONS)
            daemon.pause()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(session.update(confidence=0.9), 0.2)
            if not comes_back:
                daemon.kill()
                return [result async for result in session.results()]
            daemon.go_on()
            await session.submit(IMAGES[0])
            await session.close(60)
            return [result async for result in session.results()]

    with Daemon(tmp_path) as daemon:
        if comes_back:
            (result,) = asyncio.run(asyncio.wait_for(impatient(daemon), 60))
            assert (result.outcome, result.revision) == ("segmented", 2)
        else:
            with pytest.raises(Disconnected):
                asyncio.run(asyncio.wait_for(impatient(daemon), 60))


def test_asyncio_raises_what_the_frames_raise(daemon):
    async def frames():
        yield IMAGES[0]
        raise RuntimeError("unplugged")

    async def broken():
        async with AsyncClient(daemon.url) as client:
            return [result async for result in client.stream(frames(), **TINY_OPTIONS)]

    with pytest.raises(RuntimeError, match="unplugged"):
        asyncio.run(asyncio.wait_for(broken(), 60))


def test_a_listener_that_fails_harms_nobody(client, caplog):
    with client.session(**TINY_OPTIONS) as session:
        session.on_change(lambda: 1 / 0)
        for image in IMAGES:
            session.submit(image)
        assert session.close(60).segmented == 8
        assert len(list(session.results())) == 8
    assert "a listener failed" in caplog.text and "ZeroDivisionError" in caplog.text


def test_a_session_outlives_the_event_loop_it_was_made_in(daemon, caplog, monkeypatch):
    loop = asyncio.new_event_loop()

    async def opened():
        return await AsyncClient(daemon.url).session(**TINY_OPTIONS)

    try:
        session = loop.run_until_complete(opened()).session
    finally:
        loop.close()
    # It may be closed just after somebody asked.
    monkeypatch.setattr(loop, "is_closed", lambda: False)
    session.submit(IMAGES[0])
    assert session.close(60).segmented == 1
    assert "a listener failed" not in caplog.text


def test_many_threads_may_submit(client):
    with client.session(**TINY_OPTIONS) as session:
        ids, results = [], []
        reader = threading.Thread(target=lambda: results.extend(session.results()))
        senders = [threading.Thread(target=lambda: ids.extend([session.submit(image) for image in IMAGES * 5])) for _ in range(4)]
        for thread in (reader, *senders):
            thread.start()
        for thread in senders:
            thread.join(60)
        account = session.close(60)
        reader.join(60)
    assert sorted(ids) == list(range(1, 161)) == [result.id for result in results]
    assert account.segmented == 160


@pytest.mark.parametrize("delivery", ["lossless", "latest"])
def test_who_does_not_read_does_not_fill_the_memory(daemon, delivery):
    options = Options(**TINY_OPTIONS, delivery=delivery, window=2).message()
    address = Address.parse(daemon.url)
    with Session([address], Credentials(), options, timeout_s=30, max_unread=5) as session:
        n = 0
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                session.submit(IMAGES[n % 8], timeout_s=5)
            except TimeoutError:
                break
            n += 1
            if n == 300:
                break
            time.sleep(0.001)
        kept = sum(result.outcome == "segmented" for result in session._unread)
        account = session.close(60)
        results = list(session.results())
    assert [result.id for result in results] == list(range(1, n + 1)) and account.frames == n
    assert kept == 5 if delivery == "lossless" else 0 < kept <= 5
    assert n == (5 + 2 if delivery == "lossless" else 300)
