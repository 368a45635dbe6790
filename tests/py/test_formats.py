"""Pixel formats and image files: the same pixels give the same cells, whatever they come in."""

import io
import zlib

import imagecodecs
import lz4.frame
import numpy as np
import pytest
import tifffile
from client import Session, cells, encoded, iou, notices, pixels, png, raw, tiny_options
from contract import pb
from frames import bit_stream, demo_frame, discs, gige_packed, noise8, noise16

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


def packed(image: np.ndarray, name: str, **fields) -> pb.Frame:
    bits, pack = int(name[4:6]), gige_packed if name.endswith("PACKED") else bit_stream
    return raw(image, format=pb.PixelFormat.Value(f"PIXEL_FORMAT_{name}"), data=pack(image, bits), **fields)


def compressed(image: np.ndarray, kind: str, data: bytes, **fields) -> pb.Frame:
    return raw(image, compression=pb.Compression.Value(f"COMPRESSION_{kind}"), data=data, **fields)


def flipped(frame: pb.Frame, horizontal: bool, vertical: bool) -> pb.Frame:
    frame.flip_horizontal, frame.flip_vertical = horizontal, vertical
    return frame


def turned(image: np.ndarray) -> np.ndarray:
    """What the flips undo."""
    return np.ascontiguousarray(image[::-1, ::-1])


# An odd width: packed rows end within a byte.
ODD_10, ODD_12 = TEN_BITS[:, :157], TWELVE_BITS[:, :157]
RGB16 = RGB.astype(np.uint16) * 257
HIGH_FIRST = MONO16.astype(">u2").tobytes()
LZ4_LINKED = lz4.frame.compress(MONO16.tobytes(), block_linked=True, content_checksum=True, block_size=lz4.frame.BLOCKSIZE_MAX64KB)

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
    "Mono10p": (raw(ODD_10, format=pb.PIXEL_FORMAT_MONO10), packed(ODD_10, "MONO10P")),
    "Mono12p": (raw(ODD_12, format=pb.PIXEL_FORMAT_MONO12), packed(ODD_12, "MONO12P")),
    "Mono10Packed": (raw(ODD_10, format=pb.PIXEL_FORMAT_MONO10), packed(ODD_10, "MONO10PACKED")),
    "Mono12Packed": (raw(ODD_12, format=pb.PIXEL_FORMAT_MONO12), packed(ODD_12, "MONO12PACKED")),
    "RGB16 of 8 bits": (raw(RGB), raw(RGB.astype(np.uint16), significant_bits=8)),
    "RGB16 of grey": (raw(MONO16), raw(np.dstack([MONO16] * 3))),
    "Mono16, high byte first": (raw(MONO16), raw(MONO16, big_endian=True, data=HIGH_FIRST)),
    "RGB16, high byte first": (raw(RGB16), raw(RGB16, big_endian=True, data=RGB16.astype(">u2").tobytes())),
    "zlib": (raw(MONO16), compressed(MONO16, "ZLIB", zlib.compress(MONO16.tobytes()))),
    "LZ4": (raw(MONO16), compressed(MONO16, "LZ4", lz4.frame.compress(MONO16.tobytes()))),
    "LZ4, linked blocks": (raw(MONO16), compressed(MONO16, "LZ4", LZ4_LINKED)),
    "LZ4, high byte first": (raw(MONO16), compressed(MONO16, "LZ4", lz4.frame.compress(HIGH_FIRST), big_endian=True)),
    "LZ4 with a stride": (raw(MONO8), compressed(MONO8, "LZ4", lz4.frame.compress(padded(MONO8, 197, False)["data"]), row_stride=197)),
    "Mono12p, zlib": (
        raw(ODD_12, format=pb.PIXEL_FORMAT_MONO12),
        raw(ODD_12, format=pb.PIXEL_FORMAT_MONO12P, compression=pb.COMPRESSION_ZLIB, data=zlib.compress(bit_stream(ODD_12, 12))),
    ),
    "bottom-up": (raw(MONO16), flipped(raw(np.ascontiguousarray(MONO16[::-1])), False, True)),
    "mirrored": (raw(RGB), flipped(raw(np.ascontiguousarray(RGB[:, ::-1])), True, False)),
    "turned, packed": (raw(ODD_10, format=pb.PIXEL_FORMAT_MONO10), flipped(packed(turned(ODD_10), "MONO10PACKED"), True, True)),
    "turned, PNG": (raw(MONO16), flipped(encoded(png(turned(MONO16))), True, True)),
    "TIFF, 16-bit RGB": (raw(RGB16), encoded(tiff(RGB16, photometric="rgb"))),
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


def test_uneven_light_is_divided_out_as_numpy_does(daemon):
    random = np.random.default_rng(3)
    y, x = np.mgrid[:120, :160]
    vignette = 1 - ((x - 80) ** 2 + (y - 60) ** 2) / 20_000
    dark = random.integers(90, 110, TEN_BITS.shape).astype(np.uint16)
    flat = (dark + 3000 * vignette).astype(np.uint16)
    frame = np.clip(dark + TEN_BITS * 3 * vignette, 0, 4095).astype(np.uint16)
    light = flat.astype(float) - dark
    corrected = np.clip(np.round((frame.astype(float) - dark) * light.mean() / light), 0, 4095).astype(np.uint16)
    field = pb.FlatField(flat_raw=packed(flat, "MONO12P").raw, dark_encoded=pb.EncodedImage(data=png(dark)))
    with Session(daemon, tiny_options()) as session:
        expected = session.segment(raw(corrected, format=pb.PIXEL_FORMAT_MONO12))
        uneven = session.segment(raw(frame, format=pb.PIXEL_FORMAT_MONO12))
    with Session(daemon, tiny_options(flat_field=field)) as session:
        got = session.segment(packed(frame, "MONO12PACKED"))
        session.send_frame(raw(frame[:, :150], id=2))
        failed = session.receive("frame").failed
    assert cells(got) and cells(got) == cells(expected) != cells(uneven)
    assert failed.code == pb.Failed.CODE_INVALID_FRAME
    assert "150x120" in failed.message and "160x120" in failed.message


def test_the_full_range_follows_the_significant_bits(daemon):
    formats = {"MONO10": 1023, "MONO12": 4095, "MONO14": 16383, "MONO16": 65535}
    formats |= {"MONO10P": 1023, "MONO10PACKED": 1023, "MONO12P": 4095, "MONO12PACKED": 4095}
    with Session(daemon, tiny_options()) as session:
        for name, top in formats.items():
            as_it_is = raw(TEN_BITS, format=pb.PixelFormat.Value(f"PIXEL_FORMAT_{name}"))
            frame = packed(TEN_BITS, name) if "P" in name else as_it_is
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
