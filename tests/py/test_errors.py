"""What ends a stream, and what fails one frame of it; each with its message."""

import struct
import zlib

import grpc
import lz4.frame
import numpy as np
import pytest
from client import Session, encoded, png, raw, tiny_options
from contract import pb
from daemon import Daemon
from frames import discs

CODE = grpc.StatusCode
NAN = float("nan")
IMAGE = np.arange(16, dtype=np.uint8).reshape(4, 4)
THRESHOLDS, NORMALIZATION = pb.Thresholds, pb.Normalization


def open_with(**fields) -> list[dict]:
    return [{"open": pb.SessionOptions(**fields)}]


def update_with(**fields) -> list[dict]:
    return [{"open": tiny_options()}, {"update": pb.SessionUpdate(**fields)}]


def percentiles(**fields) -> pb.Normalization:
    return pb.Normalization(percentiles=pb.Normalization.Percentiles(**({"low": 1, "high": 99} | fields)))


ZLIB, LZ4 = pb.COMPRESSION_ZLIB, pb.COMPRESSION_LZ4

# name: what is sent, how the stream ends, words that the message has.
ENDINGS = {
    "a frame first": ([{"frame": raw(IMAGE)}], CODE.INVALID_ARGUMENT, ["open"]),
    "a cancel first": ([{"cancel": pb.Cancel(frame_id=1)}], CODE.INVALID_ARGUMENT, ["open"]),
    "an empty message first": ([{}], CODE.INVALID_ARGUMENT, ["open"]),
    "a second open": ([{"open": tiny_options()}] * 2, CODE.INVALID_ARGUMENT, ["open"]),
    "NaN confidence": (
        open_with(thresholds=THRESHOLDS(confidence=NAN)), CODE.INVALID_ARGUMENT, ["thresholds.confidence NaN: must be 0 to 1"],
    ),
    "NaN iou": (open_with(thresholds=THRESHOLDS(iou=NAN)), CODE.INVALID_ARGUMENT, ["thresholds.iou NaN: must be 0 to 1"]),
    "NaN class confidence": (
        open_with(thresholds=THRESHOLDS(class_confidence={0: NAN})), CODE.INVALID_ARGUMENT, ["thresholds.class_confidence NaN"],
    ),
    "confidence 1.5": (open_with(thresholds=THRESHOLDS(confidence=1.5)), CODE.INVALID_ARGUMENT, ["confidence 1.5"]),
    "no such class": (open_with(thresholds=THRESHOLDS(classes=[2])), CODE.INVALID_ARGUMENT, ["thresholds.classes 2", "0 to 1"]),
    "no cells": (open_with(thresholds=THRESHOLDS(max_cells=0)), CODE.INVALID_ARGUMENT, ["max_cells 0", "1 to 20000"]),
    "too many cells": (open_with(thresholds=THRESHOLDS(max_cells=20001)), CODE.INVALID_ARGUMENT, ["max_cells 20001"]),
    "NaN area": (open_with(thresholds=THRESHOLDS(min_area_um2=NAN)), CODE.INVALID_ARGUMENT, ["min_area_um2 NaN"]),
    "an empty window": (
        open_with(normalization=NORMALIZATION(window=NORMALIZATION.Window(low=5, high=5))), CODE.INVALID_ARGUMENT, ["window", "5..5"],
    ),
    "percentile 101": (open_with(normalization=percentiles(high=101)), CODE.INVALID_ARGUMENT, ["percentiles", "101"]),
    "NaN span": (open_with(normalization=percentiles(min_span=NAN)), CODE.INVALID_ARGUMENT, ["min_span NaN"]),
    "a long name": (open_with(name="x" * 257), CODE.INVALID_ARGUMENT, ["name", "256"]),
    "an unknown mask encoding": (open_with(outputs=pb.Outputs(masks=77)), CODE.INVALID_ARGUMENT, ["77"]),
    "an unknown delivery": (open_with(delivery=77), CODE.INVALID_ARGUMENT, ["77"]),
    "a bad update": (update_with(thresholds=THRESHOLDS(iou=NAN)), CODE.INVALID_ARGUMENT, ["thresholds.iou NaN"]),
    "no such model": (open_with(model="no-such-model"), CODE.NOT_FOUND, ["no-such-model", "tiny"]),
    "tiling overlap": (open_with(tiling=pb.Tiling(overlap=0.6)), CODE.INVALID_ARGUMENT, ["tiling.overlap 0.6", "0 to 0.5"]),
    "NaN overlap": (open_with(tiling=pb.Tiling(overlap=NAN)), CODE.INVALID_ARGUMENT, ["tiling.overlap NaN"]),
    "tiling scale": (open_with(tiling=pb.Tiling(target_um_per_px=0)), CODE.INVALID_ARGUMENT, ["tiling.target_um_per_px 0"]),
    "a region of two corners": (open_with(region=pb.Region(rings=[pb.Ring(xy_delta=[0, 0, 4, 0])])), CODE.INVALID_ARGUMENT, ["2 corners"]),
    "half a corner": (open_with(region=pb.Region(rings=[pb.Ring(xy_delta=[0, 0, 4])])), CODE.INVALID_ARGUMENT, ["xy_delta", "3"]),
    "two radii": (
        open_with(measurements=pb.Measurements(neighbours=True, neighbour_radius_px=1, neighbour_radius_um=2)),
        CODE.INVALID_ARGUMENT, ["neighbour_radius_px 1", "neighbour_radius_um 2", "one of them"],
    ),
    "NaN radius": (
        open_with(measurements=pb.Measurements(neighbours=True, neighbour_radius_px=NAN)), CODE.INVALID_ARGUMENT, ["neighbour_radius_px NaN"],
    ),
    "a long gap": (open_with(tracking=pb.Tracking(max_gap=51)), CODE.INVALID_ARGUMENT, ["tracking.max_gap 51", "0 to 50"]),
    "no distance": (open_with(tracking=pb.Tracking(max_distance_um=0)), CODE.INVALID_ARGUMENT, ["tracking.max_distance_um 0"]),
    "a short window": (open_with(growth=pb.GrowthOptions(window_hours=1)), CODE.INVALID_ARGUMENT, ["growth.window_hours 1", "2 to 8760"]),
    "two points": (open_with(growth=pb.GrowthOptions(min_points=2)), CODE.INVALID_ARGUMENT, ["growth.min_points 2", "at least 5"]),
    "smoothing": (open_with(normalization=percentiles(smoothing=1)), CODE.INVALID_ARGUMENT, ["smoothing 1", "below 1"]),
    "NaN smoothing": (open_with(normalization=percentiles(smoothing=NAN)), CODE.INVALID_ARGUMENT, ["smoothing NaN"]),
    "labels by track": (
        open_with(outputs=pb.Outputs(label_by=pb.LABEL_BY_TRACK)), CODE.INVALID_ARGUMENT, ["label_by", "needs tracking"],
    ),
    "labels by track in an update": (
        update_with(outputs=pb.Outputs(label_by=pb.LABEL_BY_TRACK)), CODE.INVALID_ARGUMENT, ["label_by", "needs tracking"],
    ),
    "a flat field without an image": (open_with(flat_field=pb.FlatField()), CODE.INVALID_ARGUMENT, ["flat_field", "flat_raw"]),
    "a damaged flat field": (
        open_with(flat_field=pb.FlatField(flat_encoded=pb.EncodedImage(data=b"no image"))), CODE.INVALID_ARGUMENT, ["flat_field.flat"],
    ),
    "a reference without an image": (
        open_with(normalization=NORMALIZATION(reference=NORMALIZATION.Reference(low=1, high=99))),
        CODE.INVALID_ARGUMENT, ["normalization.reference", "raw or encoded"],
    ),
    "an unknown border rule": (open_with(thresholds=THRESHOLDS(border=77)), CODE.INVALID_ARGUMENT, ["border 77"]),
    "forgetting too much": (
        [{"open": tiny_options()}, {"update": pb.SessionUpdate(forget_positions=["x"] * 1025)}],
        CODE.INVALID_ARGUMENT, ["forget_positions", "1025", "1024"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDINGS)
def test_a_stream_ends_with_a_reason(daemon, name):
    requests, code, words = ENDINGS[name]
    with Session(daemon) as session:
        for request in requests:
            session.send(**request)
        ended, message = session.error()
    assert ended == code, message
    for word in words:
        assert word.lower() in message.lower(), message


def test_what_is_said_as_it_is_anyway_is_no_wish(daemon):
    """Defaults that are spelled out ask for nothing that is not there."""
    options = tiny_options(
        tiling=pb.Tiling(mode=pb.Tiling.MODE_OFF),
        normalization=percentiles(smoothing=0),
        outputs=pb.Outputs(label_by=pb.LABEL_BY_INSTANCE),
        thresholds=THRESHOLDS(border=pb.BORDER_RULE_KEEP),
    )
    with Session(daemon, options) as session:
        session.segment(raw(discs(64, 64)))
        session.close()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(width: int, height: int, channels: int = 1) -> bytes:
    """A small file that says it is large: every checksum is right."""
    colour = {1: 0, 3: 2}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    data = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


GOOD_PNG = png(discs(64, 64))
INVALID, TOO_LARGE, UNSUPPORTED = pb.Failed.CODE_INVALID_FRAME, pb.Failed.CODE_TOO_LARGE, pb.Failed.CODE_UNSUPPORTED
SHARED = pb.SharedSlot(region="camera", layout=raw(IMAGE, data=b"").raw)

# name: the frame, the kinds of failure it may be, words that the message has.
BAD_FRAMES = {
    "short buffer": (raw(IMAGE, data=bytes(15)), {INVALID}, ["4x4 Mono8", "needs 16 bytes, got 15"]),
    "long buffer": (raw(IMAGE, data=bytes(17)), {INVALID}, ["needs 16 bytes, got 17"]),
    "no bytes": (raw(IMAGE, data=b""), {INVALID}, ["needs 16 bytes, got 0"]),
    "stride below a row": (raw(IMAGE, row_stride=3), {INVALID}, ["row_stride 3", "4 bytes"]),
    "stride that does not fit": (raw(IMAGE, row_stride=8), {INVALID}, ["row_stride 8", "needs 28 bytes, got 16"]),
    "stride without end": (raw(IMAGE, row_stride=2**32 - 1), {INVALID}, ["row_stride 4294967295"]),
    "0x0": (raw(IMAGE, width=0, height=0, data=b""), {INVALID}, ["0x0 pixels: both sides must be at least 1"]),
    "4x0": (raw(IMAGE, height=0), {INVALID}, ["4x0"]),
    "65536x65536": (raw(IMAGE, width=65536, height=65536), {TOO_LARGE}, ["65536x65536", "at most 8192"]),
    "largest numbers": (raw(IMAGE, width=2**32 - 1, height=2**32 - 1, row_stride=2**32 - 1), {TOO_LARGE}, ["4294967295x4294967295"]),
    "no format": (raw(IMAGE, format=0), {INVALID, UNSUPPORTED}, ["format"]),
    "unknown format": (raw(IMAGE, format=99), {INVALID, UNSUPPORTED}, ["format", "99"]),
    "Mono10p of an odd length": (raw(IMAGE, format=pb.PIXEL_FORMAT_MONO10P, data=bytes(19)), {INVALID}, ["4x4 Mono10p", "needs 20 bytes, got 19"]),
    "Mono12p of an odd length": (raw(IMAGE, format=pb.PIXEL_FORMAT_MONO12P, data=bytes(23)), {INVALID}, ["needs 24 bytes, got 23"]),
    "Mono10Packed, too many": (raw(IMAGE, format=pb.PIXEL_FORMAT_MONO10PACKED, data=bytes(25)), {INVALID}, ["needs 24 bytes, got 25"]),
    "Mono12Packed, three pixels wide": (
        raw(IMAGE, width=3, format=pb.PIXEL_FORMAT_MONO12PACKED, data=bytes(18)), {INVALID}, ["row_stride 5", "needs 20 bytes, got 18"],
    ),
    "RGB16": (raw(IMAGE, format=pb.PIXEL_FORMAT_RGB16), {INVALID}, ["4x4 RGB16", "needs 96 bytes, got 16"]),
    "big endian bytes": (raw(IMAGE, big_endian=True), {INVALID}, ["big_endian", "Mono8"]),
    "big endian bits": (raw(IMAGE, format=pb.PIXEL_FORMAT_MONO12P, data=bytes(24), big_endian=True), {INVALID}, ["big_endian", "Mono12p"]),
    "an unknown compression": (raw(IMAGE, compression=9), {INVALID}, ["compression 9"]),
    "not zlib": (raw(IMAGE, compression=ZLIB), {INVALID}, ["zlib: damaged"]),
    "not LZ4": (raw(IMAGE, compression=LZ4), {INVALID}, ["LZ4: damaged"]),
    "zlib, cut off": (raw(IMAGE, compression=ZLIB, data=zlib.compress(IMAGE.tobytes())[:-6]), {INVALID}, ["zlib: cut off"]),
    "LZ4, cut off": (raw(IMAGE, compression=LZ4, data=lz4.frame.compress(IMAGE.tobytes())[:-4]), {INVALID}, ["LZ4: cut off"]),
    "zlib bomb": (raw(IMAGE, compression=ZLIB, data=zlib.compress(bytes(1 << 28))), {INVALID}, ["more than 16 bytes"]),
    "LZ4 bomb": (raw(IMAGE, compression=LZ4, data=lz4.frame.compress(bytes(1 << 26))), {INVALID}, ["more than 16 bytes"]),
    "LZ4 of too little": (raw(IMAGE, compression=LZ4, data=lz4.frame.compress(bytes(15))), {INVALID}, ["needs 16 bytes, got 15"]),
    "zlib and more": (raw(IMAGE, compression=ZLIB, data=zlib.compress(IMAGE.tobytes()) + b"more"), {INVALID}, ["4 bytes after its end"]),
    "zlib of 65536x65536": (raw(IMAGE, width=65536, height=65536, compression=ZLIB), {TOO_LARGE}, ["at most 8192"]),
    "12 bits of Mono8": (raw(IMAGE, significant_bits=12), {INVALID}, ["significant_bits 12", "Mono8 has 8"]),
    "shared slot": (pb.Frame(id=1, shared=SHARED), {INVALID}, ["no region", "camera"]),
    "measure_on": (raw(IMAGE, frame={"measure_on": 7}), {INVALID}, ["measure_on 7", "no such frame"]),
    "no pixels": (pb.Frame(id=1), {INVALID}, ["pixels"]),
    "truncated PNG": (encoded(GOOD_PNG[: len(GOOD_PNG) // 2]), {INVALID}, ["png"]),
    "PNG with a wrong checksum": (encoded(GOOD_PNG[:60] + b"\xff\xff" + GOOD_PNG[62:]), {INVALID}, ["png"]),
    "PNG of 60000x60000": (encoded(png_of_size(60000, 60000)), {TOO_LARGE}, ["60000x60000"]),
    "PNG over the bytes": (encoded(png_of_size(8192, 8192, channels=3)), {TOO_LARGE}, ["8192x8192", "201326592"]),
    "not an image": (encoded(b"hello, this is no image at all"), {INVALID, UNSUPPORTED}, ["png", "tiff", "jpeg"]),
    "empty file": (encoded(b""), {INVALID, UNSUPPORTED}, []),
    "page 1 of a PNG": (encoded(GOOD_PNG, page=1), {INVALID}, ["page 1"]),
    "truncated TIFF": (encoded(b"II*\x00\x08\x00\x00\x00\xff\xff"), {INVALID}, ["tiff"]),
    "truncated JPEG": (encoded(b"\xff\xd8\xff\xe0\x00\x10JFIF"), {INVALID}, ["jpeg"]),
    "NaN threshold": (raw(IMAGE, frame={"thresholds": THRESHOLDS(confidence=NAN)}), {INVALID}, ["thresholds.confidence NaN"]),
    "border of one frame": (
        raw(IMAGE, frame={"thresholds": THRESHOLDS(border=77)}), {INVALID}, ["border 77"],
    ),
    "no time": (raw(IMAGE, frame={"metadata": pb.FrameMetadata(elapsed_ms=NAN)}), {INVALID}, ["metadata.elapsed_ms NaN"]),
    "nowhere": (raw(IMAGE, frame={"metadata": pb.FrameMetadata(x_um=float("inf"))}), {INVALID}, ["metadata.x_um inf"]),
    "an affine to nowhere": (
        raw(IMAGE, frame={"metadata": pb.FrameMetadata(pixel_to_stage=[1, 0, 0, 0, NAN, 0])}), {INVALID}, ["metadata.pixel_to_stage NaN"],
    ),
    "metadata over 64 KiB": (
        raw(IMAGE, frame={"metadata": pb.FrameMetadata(channel="x" * 70_000)}), {INVALID, TOO_LARGE}, ["metadata", "65536"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_fails_alone(daemon, name):
    frame, codes, words = BAD_FRAMES[name]
    good = raw(discs(64, 64), id=2)
    with Session(daemon, tiny_options()) as session:
        session.send_frame(frame)
        reply = session.receive("frame")
        after = session.segment(good)
        closed = session.close()
    assert reply.id == 1 and reply.WhichOneof("outcome") == "failed", reply
    assert reply.failed.code in codes, reply
    assert not reply.failed.retryable, "the same bytes will not do better"
    for word in words:
        assert word.lower() in reply.failed.message.lower(), reply.failed.message
    assert after.segmentation.instances
    assert (closed.frames, closed.segmented, closed.failed) == (2, 1, 1)


def test_bad_frames_keep_their_place_in_the_order(daemon):
    frames = []
    for n, (bad, _, _) in enumerate(BAD_FRAMES.values()):
        renamed = pb.Frame()
        renamed.CopyFrom(bad)
        renamed.id = 2 * n + 1
        frames += [raw(discs(64, 64, seed=n), id=2 * n), renamed]
    with Session(daemon, tiny_options()) as session:
        for frame in frames:
            session.send_frame(frame)
        replies = [session.receive("frame") for _ in frames]
        session.close()
    assert [reply.id for reply in replies] == [frame.id for frame in frames]
    assert [reply.WhichOneof("outcome") for reply in replies] == ["segmentation", "failed"] * len(BAD_FRAMES)


def test_bounds_of_sizes_and_sessions(tmp_path, settings):
    limits = "[limits]\nmax_frame_bytes = 1048576\nsessions = 1\n"
    with Daemon(tmp_path / "daemon", settings + limits) as daemon:
        with Session(daemon, tiny_options()) as session:
            assert session.opened.limits.max_frame_bytes == 1 << 20
            # Over a frame's bytes, under a message's: the frame fails. Over a message's: the stream ends.
            session.send_frame(raw(np.zeros((1200, 1200), np.uint8), id=1))
            failed = session.receive("frame").failed
            assert failed.code == TOO_LARGE and "1048576" in failed.message
            with Session(daemon) as second:
                second.send(open=tiny_options())
                code, message = second.error()
                assert code == CODE.RESOURCE_EXHAUSTED and "1" in message and "session" in message
            session.send_frame(raw(np.zeros((2000, 2000), np.uint8), id=2))
            code, message = session.error()
            assert code in {CODE.OUT_OF_RANGE, CODE.INTERNAL}, message
        # The slot is free again, sooner or later.
        for _ in range(50):
            try:
                with Session(daemon, tiny_options()) as session:
                    session.segment(raw(discs(64, 64)))
                    session.close()
                break
            except grpc.RpcError as error:
                assert error.code() == CODE.RESOURCE_EXHAUSTED
        else:
            raise AssertionError("the ended session still holds its slot")
