"""Pixel formats and image files: the same pixels give the same cells, whatever they come in."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from client import Session, cells, encoded, iou, notices, pixels, png, raw, tiny_options
from contract import pb
from frames import demo_frame, discs, noise8, noise16

WINDOW = pb.Normalization(window=pb.Normalization.Window(low=0, high=1000))
MONO8 = discs(160, 120, seed=1)
MONO16 = discs(160, 120, seed=1, peak=60_000, dtype=np.uint16)
TEN_BITS = discs(160, 120, seed=1, peak=1000, dtype=np.uint16)
TWELVE_BITS, FOURTEEN_BITS = TEN_BITS * 4, TEN_BITS * 16
RGB = np.dstack([MONO8, np.roll(MONO8, 9, axis=1), MONO8 // 2])


def padded(image: np.ndarray, stride: int, last_row_whole: bool) -> dict:
    """Rows with rubbish between them."""
    rows = image.reshape(len(image), -1).view(np.uint8)
    data = np.full((len(rows), stride), 0xAB, np.uint8)
    data[:, : rows.shape[1]] = rows
    flat = data.tobytes()
    return {"row_stride": stride, "data": flat if last_row_whole else flat[: len(flat) - stride + rows.shape[1]]}


def tiff(image: np.ndarray, **options) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, image, **options)
    return out.getvalue()


RGBA, BGRA = np.dstack([RGB, noise8(160, 120)]), np.dstack([RGB[..., ::-1], noise8(160, 120)])

# What it is compared with, and the same pixels in another form.
SAME = {
    "RGB8 of grey": (raw(MONO8), raw(np.dstack([MONO8] * 3))),
    "BGR8": (raw(RGB), raw(np.ascontiguousarray(RGB[..., ::-1]), format=pb.PIXEL_FORMAT_BGR8)),
    "RGBA8": (raw(RGB), raw(RGB, format=pb.PIXEL_FORMAT_RGBA8, data=RGBA.tobytes())),
    "BGRA8": (raw(RGB), raw(RGB, format=pb.PIXEL_FORMAT_BGRA8, data=BGRA.tobytes())),
    "Mono8 with a stride": (raw(MONO8), raw(MONO8, **padded(MONO8, 197, True))),
    "Mono8, last row short": (raw(MONO8), raw(MONO8, **padded(MONO8, 197, False))),
    "Mono16 with an odd stride": (raw(MONO16), raw(MONO16, **padded(MONO16, 333, False))),
    "RGB8 with a stride": (raw(RGB), raw(RGB, **padded(RGB, 512, True))),
    "Mono12 as Mono16 of 12 bits": (raw(TWELVE_BITS, format=pb.PIXEL_FORMAT_MONO12), raw(TWELVE_BITS, significant_bits=12)),
    "Mono10 as Mono16 of 10 bits": (raw(TEN_BITS, format=pb.PIXEL_FORMAT_MONO10), raw(TEN_BITS, significant_bits=10)),
    "Mono14 as Mono16 of 14 bits": (raw(FOURTEEN_BITS, format=pb.PIXEL_FORMAT_MONO14), raw(FOURTEEN_BITS, significant_bits=14)),
    "PNG, 8 bit": (raw(MONO8), encoded(png(MONO8))),
    "PNG, 16 bit": (raw(MONO16), encoded(png(MONO16))),
    "PNG, RGB": (raw(RGB), encoded(png(RGB))),
    "TIFF, one strip": (raw(MONO16), encoded(tiff(MONO16))),
    "TIFF, strips": (raw(MONO16), encoded(tiff(MONO16, rowsperstrip=7))),
    "TIFF, tiles": (raw(MONO16), encoded(tiff(MONO16, tile=(32, 48)))),
    "TIFF, big-endian": (raw(MONO16), encoded(tiff(MONO16, byteorder=">"))),
    "TIFF, LZW": (raw(MONO16), encoded(tiff(MONO16, compression="lzw"))),
    "TIFF, LZW and predictor": (raw(MONO16), encoded(tiff(MONO16, compression="lzw", predictor=True))),
    "TIFF, deflate": (raw(MONO16), encoded(tiff(MONO16, compression="zlib"))),
    "TIFF, deflate in tiles": (raw(MONO16), encoded(tiff(MONO16, compression="zlib", tile=(64, 64)))),
    "TIFF, 8 bit": (raw(MONO8), encoded(tiff(MONO8))),
    "TIFF, RGB": (raw(RGB), encoded(tiff(RGB, photometric="rgb"))),
    "TIFF, ImageJ": (raw(MONO16), encoded(tiff(MONO16, imagej=True))),
    "TIFF, OME": (raw(MONO16), encoded(tiff(MONO16, ome=True))),
    "TIFF, second page": (raw(MONO16), encoded(tiff(np.stack([MONO16[::-1], MONO16]), photometric="minisblack"), page=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_the_same_pixels_give_the_same_cells(daemon, name):
    expected, other = SAME[name]
    with Session(daemon, tiny_options()) as session:
        replies = [session.segment(frame) for frame in (expected, other)]
    assert cells(replies[0]) and cells(replies[0]) == cells(replies[1])
    assert replies[0].segmentation.normalization == replies[1].segmentation.normalization


def test_the_full_range_follows_the_significant_bits(daemon):
    formats = {"MONO10": 1023, "MONO12": 4095, "MONO14": 16383, "MONO16": 65535}
    with Session(daemon, tiny_options()) as session:
        for name, top in formats.items():
            frame = raw(TEN_BITS, format=pb.PixelFormat.Value(f"PIXEL_FORMAT_{name}"))
            applied = session.segment(frame).segmentation.normalization
            assert (applied.low, applied.high, applied.policy) == (0, top, "full_range")


def test_a_fixed_window_means_the_same_counts_in_every_format(daemon):
    with Session(daemon, tiny_options(normalization=WINDOW)) as session:
        answers = [
            cells(session.segment(raw(TEN_BITS, format=pb.PixelFormat.Value(f"PIXEL_FORMAT_{name}"))))
            for name in ("MONO10", "MONO12", "MONO14", "MONO16")
        ]
    assert answers[0] and all(answer == answers[0] for answer in answers)


def test_brighter_pixels_than_the_camera_has_are_clipped_and_noted(daemon):
    bright = TEN_BITS.copy()
    bright[5, 5] = 5000
    clipped = np.minimum(bright, 1023)
    with Session(daemon, tiny_options()) as session:
        reply = session.segment(raw(bright, format=pb.PIXEL_FORMAT_MONO10))
        expected = session.segment(raw(clipped, format=pb.PIXEL_FORMAT_MONO10))
    assert "BITS_CLIPPED" in notices(reply) and "BITS_CLIPPED" not in notices(expected)
    assert cells(reply) == cells(expected)


def test_a_saturated_frame_is_noted(daemon):
    image = MONO8.copy()
    image[:20] = 255
    with Session(daemon, tiny_options()) as session:
        assert "SATURATED" in notices(session.segment(raw(image)))
        assert "SATURATED" not in notices(session.segment(raw(MONO8)))


@pytest.mark.parametrize("image", [MONO8, RGB], ids=["grey", "colour"])
def test_a_jpeg_gives_nearly_the_same_cells(daemon, image):
    file = imagecodecs.jpeg_encode(image, level=98)
    decoded = imagecodecs.jpeg_decode(file)
    height, width = image.shape[:2]
    with Session(daemon, tiny_options()) as session:
        ours, theirs = (session.segment(f).segmentation for f in (encoded(file), raw(decoded)))
    assert len(ours.instances) == len(theirs.instances) > 0
    for a, b in zip(ours.instances, theirs.instances):
        # Decoders of JPEG may differ by a count or two.
        assert iou(pixels(a, width, height), pixels(b, width, height)) > 0.97


def test_sixteen_bits_are_not_squeezed_through_eight(daemon):
    """Contrast within 1/256 of the range: invisible in 8 bits."""
    faint = (30_000 + demo_frame() // 512).astype(np.uint16)
    with Session(daemon, normalization=_percentiles(min_span=0)) as session:
        instances = session.segment(raw(faint)).segmentation.instances
        expected = session.segment(raw(demo_frame(), id=2)).segmentation.instances
    assert np.ptp(faint) < 256
    assert len(instances) > 0.8 * len(expected) > 10


@pytest.mark.parametrize("image", [noise16(), noise8(), noise16(1024, 1022, seed=1)], ids=["16 bit", "8 bit", "large"])
def test_noise_alone_gives_no_cells(daemon, image):
    with Session(daemon, pb.SessionOptions()) as session:
        reply = session.segment(raw(image))
    assert not reply.segmentation.instances
    assert "LOW_CONTRAST" in notices(reply)
    assert reply.segmentation.normalization.policy == "low_contrast"
    assert reply.segmentation.summary.count == 0 and reply.segmentation.summary.confluence == 0


@pytest.mark.parametrize("deviation", [0.7, 1, 2, 5])
def test_coarse_noise_of_eight_bits_gives_no_cells(daemon, deviation):
    """Wider than the least span or not."""
    image = np.random.default_rng(0).normal(100, deviation, (640, 640)).round().astype(np.uint8)
    with Session(daemon, pb.SessionOptions()) as session:
        assert not session.segment(raw(image)).segmentation.instances


def _percentiles(**fields) -> pb.Normalization:
    return pb.Normalization(percentiles=pb.Normalization.Percentiles(low=0.5, high=99.5, **fields))
