"""Writes letterbox/: one channel of the network's input as OpenCV makes it, as plain little-endian f32. The frame is a formula,
the same as in src/preprocess/tests.rs. Needs numpy, opencv-python.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

OUT = Path(__file__).with_name("letterbox")
LOW, HIGH = 1500.25, 61000.5
CASES = [(37, 23, 64, 64), (150, 90, 64, 64), (64, 201, 96, 64), (33, 32, 32, 32)]


def frame(width: int, height: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width, dtype=np.uint64), np.arange(height, dtype=np.uint64))
    return ((x * x * 31 + y * y * 17 + x * y * 7) % 65536).astype(np.uint16)


def letterbox(pixels: np.ndarray, width_in: int, height_in: int) -> np.ndarray:
    height, width = pixels.shape
    normalised = np.clip((pixels.astype(np.float64) - LOW) / (HIGH - LOW), 0, 1).astype(np.float32)
    ratio = min(height_in / height, width_in / width)
    width_new, height_new = max(round(width * ratio), 1), max(round(height * ratio), 1)
    left, top = round((width_in - width_new) / 2 - 0.1), round((height_in - height_new) / 2 - 0.1)
    out = np.full((height_in, width_in), 114 / 255, np.float32)
    scaled = cv2.resize(normalised, (width_new, height_new), interpolation=cv2.INTER_LINEAR)
    out[top : top + height_new, left : left + width_new] = scaled
    return out


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    cases = [tuple(map(int, case.split(","))) for case in sys.argv[1:]] or CASES
    for width, height, width_in, height_in in cases:
        name = f"{width}x{height}_{width_in}x{height_in}.f32"
        (OUT / name).write_bytes(letterbox(frame(width, height), width_in, height_in).astype("<f4").tobytes())
