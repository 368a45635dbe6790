"""What other microscopes would have shown of the same fields, and fields with nothing in them: copies of labelled images that tell
how far a model holds. Nothing of it is trained on; training makes changes of its own (`cellnet.augment`)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cellnet.frames import frames_of, read

SPAN = (0.1, 99.9)
"""Percentiles of an image between which it is changed."""
MOST = 65535


@dataclass(frozen=True)
class Trial:
    """One change of a set of images."""

    name: str
    """Of its folder."""
    title: str
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray] = lambda image, rng: image
    """Of an image that goes from 0 to 1."""
    scale: float = 1.0
    """Pixels of the copy a pixel of the image."""
    empty: bool = False
    """Nothing is to be found in it."""


def _noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image + rng.normal(0, 0.05, image.shape)


def _blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 2.0)


def _uneven(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A lamp that is off centre: half the light in one corner."""
    across = np.linspace(0, 1, image.shape[1])
    down = np.linspace(0, 1, image.shape[0])[:, None]
    return image * (1 - 0.25 * (across + down))


def _defocused(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """So far that no cell can be told, with the camera's noise."""
    side = max(image.shape)
    return cv2.GaussianBlur(image, (0, 0), side / 25) + rng.normal(0, 0.02, image.shape)


def _noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 0.2 + rng.normal(0, 0.02, image.shape)


TRIALS = (
    Trial("plain", "as recorded"),
    Trial("half", "half as many pixels a side", scale=0.5),
    Trial("large", "1.5 times as many pixels a side", scale=1.5),
    Trial("flat", "a tenth of the contrast", lambda image, rng: 0.45 + 0.1 * image),
    Trial("dark", "gamma 2", lambda image, rng: image**2),
    Trial("bright", "gamma 0.5", lambda image, rng: image**0.5),
    Trial("noisy", "noise of 5 % of the range", _noisy),
    Trial("blurred", "blurred by 2 pixels", _blurred),
    Trial("uneven", "half the light in one corner", _uneven),
    Trial("defocused", "out of focus beyond recognition", _defocused, empty=True),
    Trial("noise", "noise and nothing else", _noise, empty=True),
)


def write(trial: Trial, images: Path, masks: Path, out: Path, seed: int = 0) -> Path:
    """Copies of `images` and of their label images as `trial` shows them: out/NAME/images and out/NAME/masks, 16 bit."""
    rng = np.random.default_rng(seed)
    folder = out / trial.name
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for path in frames_of(images):
        image, labels = read(path), cv2.imread(str(masks / path.name), cv2.IMREAD_UNCHANGED)
        if labels is None:
            raise FileNotFoundError(f"{masks / path.name}: no labels of {path}")
        low, high = np.percentile(image, SPAN)
        shown = np.clip((image.astype(np.float64) - low) / max(high - low, 1e-9), 0, 1)
        shown = np.clip(trial.change(shown, rng), 0, 1)
        if trial.empty:
            labels = np.zeros_like(labels)
        if trial.scale != 1:
            size = tuple(round(side * trial.scale) for side in reversed(image.shape))
            shown = cv2.resize(shown, size, interpolation=cv2.INTER_AREA if trial.scale < 1 else cv2.INTER_CUBIC)
            labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
        # Camera counts as a camera of 16 bits gives them, with an offset.
        counts = np.clip(0.02 + 0.9 * shown, 0, 1) * MOST
        cv2.imwrite(str(folder / "images" / path.name), counts.round().astype(np.uint16))
        cv2.imwrite(str(folder / "masks" / path.name), labels)
    return folder
