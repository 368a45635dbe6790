"""Pixels as numpy holds them become what the contract takes."""

import datetime

import numpy as np
import pytest

from cellsegd import Frame
from cellsegd import contract as pb
from cellsegd.frame import as_frame

IMAGE = np.arange(6 * 8, dtype=np.uint16).reshape(6, 8) * 1000


def sent(pixels, **fields) -> np.ndarray:
    raw = Frame(pixels, **fields).message().raw
    dtype = np.uint8 if raw.format in (pb.PIXEL_FORMAT_MONO8, pb.PIXEL_FORMAT_RGB8) else np.dtype("<u2")
    assert not raw.big_endian and not raw.row_stride
    return np.frombuffer(raw.data, dtype).reshape(raw.height, raw.width, -1).squeeze()


@pytest.mark.parametrize(
    "pixels",
    [
        IMAGE,
        IMAGE.astype(">u2"),
        np.asfortranarray(IMAGE),
        np.repeat(IMAGE, 2, axis=1)[:, ::2],
        np.flipud(np.flipud(IMAGE).copy()),
        IMAGE.copy().view(np.ma.MaskedArray),
    ],
    ids=["plain", "big-endian", "Fortran", "strided", "flipped", "subclass"],
)
def test_any_memory_order_and_byte_order_is_taken(pixels):
    np.testing.assert_array_equal(sent(pixels), IMAGE)


def test_formats_follow_from_the_array():
    for pixels, name in [
        (np.zeros((4, 5), np.uint8), "MONO8"),
        (np.zeros((4, 5), np.uint16), "MONO16"),
        (np.zeros((4, 5, 3), np.uint8), "RGB8"),
        (np.zeros((4, 5, 3), np.uint16), "RGB16"),
    ]:
        assert pb.PixelFormat.Name(Frame(pixels).message().raw.format) == f"PIXEL_FORMAT_{name}"
    assert Frame(IMAGE, format="Mono12").message().raw.format == pb.PIXEL_FORMAT_MONO12
    assert Frame(np.zeros((4, 5, 4), np.uint8), format="BGRA8").message().raw.format == pb.PIXEL_FORMAT_BGRA8


@pytest.mark.parametrize(
    ("pixels", "fields", "says"),
    [
        (IMAGE.astype(np.int32), {}, "int32: must be uint8 or uint16"),
        (IMAGE.astype(float), {}, "float64: must be uint8 or uint16"),
        (IMAGE > 3, {}, "bool: must be"),
        (IMAGE.astype(np.uint32), {}, "uint32: must be"),
        (IMAGE[0], {}, r"shape \(8,\): must be \(height, width\)"),
        (np.zeros((2, 3, 4, 3), np.uint8), {}, "one frame at a time"),
        (np.zeros((2, 3, 4), np.uint16), {}, r"shape \(2, 3, 4\): must be \(height, width\) or \(height, width, 3\)"),
        (np.zeros((2, 3, 4), np.uint8), {}, r"shape \(2, 3, 4\): must be \(height, width\) or \(height, width, 3\); .*RGBA8"),
        (np.zeros((2, 3, 4), np.uint16), {"format": "RGBA8"}, "RGBA8 is uint8 with 4 samples"),
        (IMAGE.tolist(), {}, "list: must be a numpy array"),
        (IMAGE, {"format": "BGR8"}, "BGR8 is uint8 with 3 samples"),
        (IMAGE, {"metadata": {"chanel": "GFP"}}, "'chanel': must be one of"),
        (IMAGE, {"metadata": {"x_um": "left"}}, "'x_um'"),
        (IMAGE, {"metadata": {"captured_at": datetime.datetime(2026, 1, 1)}}, "with a time zone"),
        (IMAGE, {"metadata": pb.Frame()}, "must be a cellseg.v1.FrameMetadata"),
    ],
)
def test_what_cannot_be_a_frame_is_a_type_error_that_says_what_can(pixels, fields, says):
    with pytest.raises(TypeError, match=says):
        Frame(pixels, **fields).message()


@pytest.mark.parametrize(
    ("pixels", "fields", "says"),
    [
        (IMAGE[:0], {}, "there are none"),
        (IMAGE, {"format": "Mono9"}, "must be one of Mono8"),
        (IMAGE, {"deadline_s": -1}, "deadline_s -1"),
        (IMAGE, {"deadline_s": float("nan")}, "deadline_s nan"),
    ],
)
def test_values_out_of_range_are_named(pixels, fields, says):
    with pytest.raises(ValueError, match=says):
        Frame(pixels, **fields).message()


def test_metadata_has_the_contracts_names():
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, 600, datetime.timezone(datetime.timedelta(hours=2)))
    metadata = {
        "t": 3, "index": {"g": 1}, "p": np.int64(2), "channel": "GFP", "x_um": 1.5, "captured_at": when, "properties": {"gain": 2},
        "pixel_to_stage": np.eye(2, 3).ravel(), "z_um": None,
    }  # fmt: skip
    message = Frame(IMAGE, metadata=metadata, deadline_s=0.25, measure_on=7, id=9).message()
    assert dict(message.metadata.index) == {"t": 3, "g": 1, "p": 2}
    assert message.metadata.captured_at.ToMicroseconds() == round(when.timestamp() * 1e6)
    assert dict(message.metadata.properties) == {"gain": "2"} and not message.metadata.HasField("z_um")
    assert list(message.metadata.pixel_to_stage) == [1, 0, 0, 0, 1, 0]
    assert (message.deadline.ToMilliseconds(), message.measure_on, message.id) == (250, 7, 9)
    # 0 is a value.
    assert Frame(IMAGE, measure_on=0).message().HasField("measure_on")


def test_an_image_file_is_sent_as_it_is():
    message = as_frame(b"\x89PNG...").message()
    assert message.encoded.data == b"\x89PNG..." and message.WhichOneof("pixels") == "encoded"
