"""A frame as the daemon shows it to the network: for calibration, and to try a checkpoint without a daemon."""

from pathlib import Path

import cv2
import numpy as np

from cellnet.contract import FILL, MIN_SPAN_OF_FULL_RANGE, SHOWN


def network_input(frame: np.ndarray, side: int) -> np.ndarray:
    """float32 [1, 3, side, side] of a grey frame of 8 or 16 bits: percentiles, letterbox, three equal channels."""
    low, high = (float(value) for value in np.percentile(frame, SHOWN))
    most = float(np.iinfo(frame.dtype).max)
    if high - low < max(MIN_SPAN_OF_FULL_RANGE * most, 1e-9):
        # An empty field: mid-grey, not stretched.
        middle = (low + high) / 2
        low, high = middle - most / 2, middle + most / 2
    shown = np.clip((frame.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
    ratio = min(side / frame.shape[0], side / frame.shape[1])
    height, width = (max(round(length * ratio), 1) for length in frame.shape)
    top, left = round((side - height) / 2 - 0.1), round((side - width) / 2 - 0.1)
    square = np.full((side, side), FILL, np.float32)
    scaled = cv2.resize(shown, (width, height), interpolation=cv2.INTER_LINEAR)
    square[top : top + height, left : left + width] = scaled
    return np.repeat(square[None, None], 3, 1)


def frames_of(folder: Path) -> list[Path]:
    """The images of a folder, by name."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".tif", ".tiff"))
    if not found:
        raise FileNotFoundError(f"{folder}: no PNG or TIFF images")
    return found


def read(path: Path) -> np.ndarray:
    """A grey frame; of a colour image the mean of its channels."""
    frame = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if frame is None:
        raise ValueError(f"{path}: no image that can be read")
    return frame if frame.ndim == 2 else frame[..., :3].mean(2).round().astype(frame.dtype)
