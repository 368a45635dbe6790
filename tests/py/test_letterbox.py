"""The network's input against OpenCV, and percentiles against numpy."""

import json
import subprocess

import cv2
import numpy as np
import pytest
from daemon import STAGES
from frames import discs, noise16
from reference import Letterbox

SIZES = [(1024, 1022), (333, 500), (2048, 2048), (31, 700), (200, 160), (2, 1), (640, 640)]
FORMATS = ["mono8", "mono16", "rgb8"]
SIDE = 640


def image_of(kind: str, width: int, height: int) -> np.ndarray:
    random = np.random.default_rng(width * height)
    shape = (height, width, 3) if kind == "rgb8" else (height, width)
    top = 65536 if kind == "mono16" else 256
    return random.integers(0, top, shape).astype(np.uint16 if kind == "mono16" else np.uint8)


def stage(folder, image: np.ndarray, side: int, normalization: str) -> tuple[dict, np.ndarray]:
    path, out = folder / "frame.png", folder / "input.f32"
    cv2.imwrite(str(path), image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    command = [STAGES, "letterbox", path, str(side), out, normalization]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), np.fromfile(out, "<f4").reshape(3, side, side)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("normalization", ["full", "window:40,200.5", "percentile:0.5,99.5"])
def test_the_input_is_opencvs(tmp_path, kind, size, normalization):
    image = image_of(kind, *size)
    applied, ours = stage(tmp_path, image, SIDE, normalization)
    theirs = Letterbox(image.shape[:2], SIDE).apply(image, applied["low"], applied["high"])
    # The issue allows 1/255; what is left is the order of float operations.
    assert np.abs(ours - theirs).max() <= 1e-4


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("percentiles", [(0.5, 99.5), (0, 100), (2, 98), (33.3, 66.6)], ids=str)
def test_percentiles_are_numpys_to_the_bit(tmp_path, kind, percentiles):
    for image in (image_of(kind, 333, 500), image_of(kind, 7, 3)):
        applied, _ = stage(tmp_path, image, 64, "percentile:{},{}".format(*percentiles))
        expected = np.percentile(image.astype(np.float64), percentiles)
        assert [applied["low"], applied["high"]] == list(expected)
        assert applied["policy"] == "percentiles"


@pytest.mark.parametrize(
    "normalization, image, low, high, policy",
    [
        ("full", discs(64, 64), 0, 255, "full_range"),
        ("full", noise16(64, 64), 0, 65535, "full_range"),
        ("window:900,1100", noise16(64, 64), 900, 1100, "window"),
    ],
)
def test_what_was_applied_is_said(tmp_path, normalization, image, low, high, policy):
    applied, _ = stage(tmp_path, image, 64, normalization)
    assert (applied["low"], applied["high"], applied["policy"]) == (low, high, policy)


def test_a_flat_frame_is_not_stretched(tmp_path):
    applied, values = stage(tmp_path, np.full((64, 64), 77, np.uint8), 64, "percentile:0.5,99.5")
    assert np.isfinite(values).all()
    assert 0 <= values.min() and values.max() <= 1
    assert applied["high"] > applied["low"]
