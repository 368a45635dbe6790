"""A stream as the contract describes it, driven by a generated client: order, sums, settings, deliveries, transports."""

import concurrent.futures
import time

import grpc
import numpy as np
import pytest
from client import TIMEOUT_S, Session, cells, raw, tiny_options
from contract import pb
from daemon import Daemon
from frames import demo_frame, discs

LOSSLESS, LATEST = pb.DELIVERY_LOSSLESS, pb.DELIVERY_LATEST
SEGMENTED = "segmentation"


def test_500_frames_are_answered_once_each_and_in_order(daemon):
    sizes = [(64, 64), (160, 120), (97, 131)]
    images = [discs(*size, seed=seed) for seed, size in enumerate(sizes)]
    ids = [7 * n + 1 for n in range(500)]
    with Session(daemon, tiny_options()) as session:
        for n, id in enumerate(ids):
            session.send_frame(raw(images[n % 3], id=id))
        session.half_close()
        replies = [session.receive("frame") for _ in ids]
        closed = session.receive("closed")
        assert next(session.call, None) is None
    assert [reply.id for reply in replies] == ids
    assert {reply.WhichOneof("outcome") for reply in replies} == {SEGMENTED}
    assert (closed.frames, closed.segmented, closed.dropped, closed.failed) == (500, 500, 0, 0)
    # Same frames, same settings, same bytes.
    for n, reply in enumerate(replies):
        assert cells(reply) == cells(replies[n % 3])
        assert (reply.segmentation.height, reply.segmentation.width) == images[n % 3].shape
    assert all(cells(reply) for reply in replies)


def test_headers_come_before_the_first_message(daemon):
    with Session(daemon) as session, concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(session.call.initial_metadata).result(timeout=10)
        assert session.call.is_active()
        session.send(open=tiny_options())
        assert session.receive("opened").revision == 1
        session.close()


def test_opening_says_everything_that_was_settled(daemon):
    with Session(daemon, pb.SessionOptions()) as session:
        opened = session.opened
    assert len(opened.session) == 36
    assert opened.model.name == "cells_640"
    assert list(opened.model.classes) == ["cell", "nucleus"]
    assert (opened.model.input_width, opened.model.input_height) == (640, 640)
    assert opened.model.head == "yolo-seg" and len(opened.model.sha256) == 64
    assert "rten" in opened.backend and "cpu" in opened.device
    assert opened.window == 4 and opened.revision == 1 and not opened.resumed
    settled = opened.settled
    assert settled.model == "cells_640"
    assert settled.delivery == LOSSLESS and settled.window == 4
    assert settled.priority == pb.PRIORITY_NORMAL
    assert settled.outputs.masks == pb.MASK_ENCODING_COCO_RLE
    assert settled.outputs.HasField("label_image") and not settled.outputs.label_image
    assert settled.thresholds.confidence == pytest.approx(0.35)
    assert settled.thresholds.iou == pytest.approx(0.5) and settled.thresholds.class_agnostic
    assert settled.thresholds.max_cells == 5000
    percentiles = settled.normalization.percentiles
    assert (percentiles.low, percentiles.high) == (0.5, 99.5)
    assert opened.limits.max_frame_bytes == 64 << 20 and opened.limits.max_side == 8192
    assert opened.limits.frames_kept == 8
    assert opened.server_version.count(".") == 2


def test_the_window_that_is_granted_has_a_bound(daemon):
    for delivery, asked, granted in [(LOSSLESS, 0, 4), (LATEST, 0, 2), (LOSSLESS, 3, 3), (LOSSLESS, 100_000, 16)]:
        with Session(daemon, tiny_options(delivery=delivery, window=asked)) as session:
            assert (session.opened.window, session.opened.settled.window) == (granted, granted)


def test_an_update_takes_effect_in_order_and_names_a_revision(daemon):
    image = discs(64, 64)
    with Session(daemon, tiny_options()) as session:
        session.send_frame(raw(image, id=1))
        session.send(update=pb.SessionUpdate(thresholds=pb.Thresholds(confidence=0.9)))
        session.send_frame(raw(image, id=2))
        before = session.receive("frame")
        changed = session.receive("changed")
        after = session.receive("frame")
        session.close()
    assert (before.id, before.revision) == (1, 1)
    assert (changed.revision, changed.why) == (2, "update")
    assert (after.id, after.revision) == (2, 2)
    assert changed.settled.thresholds.confidence == pytest.approx(0.9)
    assert changed.settled.thresholds.iou == pytest.approx(0.5), "what is unset stays"
    scores = [i.score for i in after.segmentation.instances]
    assert scores == [i.score for i in before.segmentation.instances if i.score > np.float32(0.9)]
    assert 0 < len(scores) < len(before.segmentation.instances)


def test_a_frames_own_thresholds_are_for_it_alone(daemon):
    image = discs(64, 64)
    with Session(daemon, tiny_options()) as session:
        replies = [
            session.segment(raw(image, id=id, frame={"thresholds": thresholds}))
            for id, thresholds in enumerate([pb.Thresholds(), pb.Thresholds(confidence=0.9), pb.Thresholds()])
        ]
    assert cells(replies[0]) == cells(replies[2])
    assert 0 < len(cells(replies[1])) < len(cells(replies[0]))
    assert {reply.revision for reply in replies} == {1}


def test_classes_and_areas_hide_cells(daemon):
    image = discs(160, 120, seed=2)
    with Session(daemon, tiny_options()) as session:
        everything = session.segment(raw(image)).segmentation
        classes = {i.class_index for i in everything.instances}
        assert classes == {0, 1}
        for wanted in classes:
            session.send(update=pb.SessionUpdate(thresholds=pb.Thresholds(classes=[wanted])))
            session.receive("changed")
            some = session.segment(raw(image)).segmentation
            assert {i.class_index for i in some.instances} == {wanted}
            assert dict(some.summary.count_by_class) == {wanted: len(some.instances)}
    with Session(daemon, tiny_options()) as session:
        large = pb.Thresholds(min_area_px=1500)
        some = session.segment(raw(image, frame={"thresholds": large})).segmentation
        assert some.summary.removed_by_area + some.summary.count == everything.summary.count
        assert 0 < some.summary.count < everything.summary.count
        assert some.summary.confluence == everything.summary.confluence, "before the area filters"
        in_um = pb.Thresholds(min_area_um2=1500 * 0.25)
        scaled = {"thresholds": in_um, "metadata": pb.FrameMetadata(pixel_size_um=0.5)}
        reply = session.segment(raw(image, frame=scaled))
        assert reply.segmentation.summary.count == some.summary.count
        reply = session.segment(raw(image, frame={"thresholds": in_um}))
        assert [notice.code for notice in reply.notices] == [pb.Notice.CODE_NO_PIXEL_SIZE]
        assert reply.segmentation.summary.count == everything.summary.count


def test_metadata_is_echoed_and_times_add_up(daemon):
    metadata = pb.FrameMetadata(
        index={"t": 3, "p": 1}, channel="Phase", position="B03-2", camera="ORCA", exposure_ms=12.5, pixel_size_um=0.87,
        pixel_to_stage=[0.87, 0, 10, 0, 0.87, 20], properties={"Objective": "10x Ph1"},
    )  # fmt: skip
    before = time.time()
    with Session(daemon, pb.SessionOptions()) as session:
        reply = session.segment(raw(demo_frame(), frame={"metadata": metadata}))
    assert reply.metadata == metadata
    assert before - 1 <= reply.received_at.ToMicroseconds() / 1e6 <= time.time() + 1
    timing = reply.timing
    stages = [timing.queued, timing.preprocess, timing.infer, timing.decode, timing.measure, timing.encode]
    assert timing.infer > 0 and timing.tiles == 1
    assert sum(stages) <= timing.total
    assert reply.segmentation.summary.density_per_mm2 > 0


def test_latest_keeps_the_newest_and_answers_every_drop(daemon):
    image = demo_frame()[:640, :640]
    n_frames = 60
    with Session(daemon, delivery=LATEST) as session:
        for id in range(n_frames):
            session.send_frame(raw(image, id=id))
        session.half_close()
        replies = [session.receive("frame") for _ in range(n_frames)]
        closed = session.receive("closed")
    assert [reply.id for reply in replies] == list(range(n_frames))
    outcomes = [reply.WhichOneof("outcome") for reply in replies]
    assert outcomes[-1] == SEGMENTED, "nothing newer than the last"
    dropped = [reply for reply in replies if reply.WhichOneof("outcome") == "dropped"]
    assert dropped and {reply.dropped.reason for reply in dropped} == {pb.Dropped.REASON_NEWER_FRAME}
    assert not any(reply.HasField("metadata") for reply in dropped)
    assert (closed.frames, closed.dropped) == (n_frames, len(dropped))
    assert closed.segmented == n_frames - len(dropped) and closed.failed == 0


def test_latest_replaces_within_a_series_only(daemon):
    image = demo_frame()[:640, :640]
    series = ["A1", "A2"]
    with Session(daemon, delivery=LATEST, window=4) as session:
        for id in range(40):
            session.send_frame(raw(image, id=id, frame={"metadata": pb.FrameMetadata(position=series[id % 2])}))
        session.half_close()
        replies = [session.receive("frame") for _ in range(40)]
    assert [reply.WhichOneof("outcome") for reply in replies[-2:]] == [SEGMENTED] * 2, "the last of each series"


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_frame_that_has_not_started_can_be_given_up(daemon, how):
    image = demo_frame()
    with Session(daemon, pb.SessionOptions()) as session:
        for id in range(3):
            frame = raw(image, id=id)
            if how == "deadline" and id == 2:
                frame.deadline.FromMilliseconds(1)
            session.send_frame(frame)
        if how == "cancel":
            session.send(cancel=pb.Cancel(frame_id=2))
            # Nobody's frame: nothing happens.
            session.send(cancel=pb.Cancel(frame_id=99))
        replies = [session.receive("frame") for _ in range(3)]
        closed = session.close()
    assert [reply.WhichOneof("outcome") for reply in replies] == [SEGMENTED, SEGMENTED, "dropped"]
    reason = {"cancel": pb.Dropped.REASON_CANCELLED, "deadline": pb.Dropped.REASON_DEADLINE}[how]
    assert replies[2].dropped.reason == reason
    assert (closed.frames, closed.segmented, closed.dropped) == (3, 2, 1)


def test_an_empty_stream_closes_with_zeros(daemon):
    with Session(daemon, pb.SessionOptions()) as session:
        assert session.close() == pb.SessionClosed()


def test_one_frame_without_a_session_is_the_same(daemon):
    image = discs(160, 120)
    with Session(daemon, tiny_options()) as session:
        streamed = session.segment(raw(image))
    with daemon.channel() as channel:
        stub = daemon.stub(channel)
        reply = stub.Segment(pb.SegmentRequest(options=tiny_options(), frame=raw(image)), timeout=TIMEOUT_S)
        assert cells(reply.frame) == cells(streamed)
        assert reply.opened.model.name == "tiny"
        bad = stub.Segment(pb.SegmentRequest(options=tiny_options(), frame=raw(image, width=9999)), timeout=TIMEOUT_S)
        assert bad.frame.failed.code == pb.Failed.CODE_TOO_LARGE and "9999" in bad.frame.failed.message
        models = stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S).models
    assert [model.name for model in models] == ["cells_640", "tiny"]


def test_a_unix_socket_is_the_same_door(daemon):
    image = discs(160, 120)
    replies = []
    for target in (None, f"unix://{daemon.socket}"):
        with Session(daemon, tiny_options(), target) as session:
            replies.append(session.segment(raw(image)))
    assert cells(replies[0]) == cells(replies[1]) != []


def test_many_lanes_give_the_same_bytes(daemon, tmp_path, settings):
    images = [discs(160, 120, seed=seed) for seed in range(12)]
    answers = []
    with Daemon(tmp_path / "lanes", f"lanes = 3\n{settings}") as many:
        for each in (daemon, many):
            with Session(each, tiny_options()) as session:
                for id, image in enumerate(images):
                    session.send_frame(raw(image, id=id))
                answers.append([cells(session.receive("frame")) for _ in images])
    assert answers[0] == answers[1]


def test_sigterm_answers_what_is_in_flight_and_ends_the_stream(tmp_path, settings):
    with Daemon(tmp_path / "daemon", settings) as daemon:
        with Session(daemon, pb.SessionOptions()) as session:
            for id in range(3):
                session.send_frame(raw(demo_frame(), id=id))
            first = session.receive("frame")
            daemon.terminate()
            rest = [session.receive("frame") for _ in range(2)]
            code, _ = session.error()
    assert [reply.id for reply in [first, *rest]] == [0, 1, 2]
    for reply in rest:
        draining = reply.WhichOneof("outcome") == "dropped" and reply.dropped.reason == pb.Dropped.REASON_DRAINING
        assert draining or reply.WhichOneof("outcome") == SEGMENTED
    assert code == grpc.StatusCode.UNAVAILABLE
