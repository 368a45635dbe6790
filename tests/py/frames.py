"""Images to test with: the bundled time-lapse, bright discs on a dark field, noise."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from contract import ROOT


def demo_files() -> list[Path]:
    files = sorted(path for path in (ROOT / "demo").rglob("*") if path.suffix in {".png", ".tif", ".tiff"})
    assert files, "demo/ holds the bundled frames"
    return files


@cache
def demo_frame(index: int = 0) -> np.ndarray:
    image = cv2.imread(str(demo_files()[index]), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint16 and image.ndim == 2
    return image


def discs(width: int, height: int, seed: int = 0, peak: int = 230, dtype=np.uint8) -> np.ndarray:
    """Bright discs, soft at their edges, on a dark field: what the tiny model of models.py finds."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.zeros((height, width))
    side = min(width, height)
    for _ in range(5):
        cx, cy = random.uniform(0, width), random.uniform(0, height)
        radius = random.uniform(0.1, 0.25) * side
        distance = np.hypot(x - cx, y - cy)
        image = np.maximum(image, np.clip((radius - distance) / (0.05 * side) + 0.5, 0, 1))
    floor = random.uniform(0, 0.02, image.shape)
    return np.round(peak * np.clip(image * 0.95 + floor, 0, 1)).astype(dtype)


def bit_stream(image: np.ndarray, bits: int) -> bytes:
    """PFNC's Mono10p and Mono12p: no gaps, the least significant bit first, rows end at a whole byte."""
    of_each = (image[..., None] >> np.arange(bits)) & 1
    return np.packbits(of_each.reshape(len(image), -1).astype(np.uint8), axis=1, bitorder="little").tobytes()


def gige_packed(image: np.ndarray, bits: int) -> bytes:
    """GigE Vision's Mono10Packed and Mono12Packed: two pixels in three bytes, the lowest bits of both in the middle one."""
    low = bits - 8
    width = image.shape[1]
    first, second = (np.pad(image, ((0, 0), (0, width % 2)))[:, start::2] for start in (0, 1))
    mask = (1 << low) - 1
    rows = np.stack([first >> low, first & mask | (second & mask) << 4, second >> low], axis=2).reshape(len(image), -1)
    return rows[:, : (12 * width + 7) // 8].astype(np.uint8).tobytes()


def noise16(width: int = 640, height: int = 640, seed: int = 0) -> np.ndarray:
    """An empty field as a 16-bit camera sees it: offset and read noise."""
    return np.random.default_rng(seed).normal(1000, 10, (height, width)).round().astype(np.uint16)


def noise8(width: int = 640, height: int = 640, seed: int = 0) -> np.ndarray:
    """An empty field of an 8-bit camera: constant but for its lowest bit."""
    return (100 + np.random.default_rng(seed).integers(0, 2, (height, width))).astype(np.uint8)


def demo_file_copies(folder: Path, n: int) -> list[Path]:
    """The first `n` demo frames, to do with what one likes."""
    copies = [folder / file.name for file in demo_files()[:n]]
    for file, copy in zip(demo_files(), copies):
        copy.write_bytes(file.read_bytes())
    return copies
