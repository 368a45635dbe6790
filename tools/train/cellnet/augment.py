"""How a crop is made and what other microscopes would have done to it. Inverted contrast is left out on purpose."""

from dataclasses import dataclass

import cv2
import numpy as np

from cellnet.contract import SHOWN
from cellnet.mix import Mix
from cellnet.pack import MOST, Sample


@dataclass(frozen=True)
class View:
    """Where a crop lies in an image: `matrix` takes pixels of the image to those of the crop (centres at whole numbers)."""

    matrix: np.ndarray
    side: int

    def image(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bilinear, as the daemon scales; and which pixels of the crop are the image's."""
        size, linear = (self.side, self.side), cv2.INTER_LINEAR
        crop = cv2.warpAffine(image, self.matrix, size, flags=linear, borderMode=cv2.BORDER_REPLICATE)
        ones = np.ones(image.shape, np.uint8)
        inside = cv2.warpAffine(ones, self.matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        return crop.astype(np.float32) / MOST, inside.astype(bool)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        size = (self.side, self.side)
        return cv2.warpAffine(labels, self.matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)


def scale_of(sample: Sample, mix: Mix, rng: np.random.Generator) -> float:
    """Crop pixels an image pixel: near the letterbox's own scale, or as other pixel sizes give."""
    letterbox = mix.input / max(sample.image.shape)
    if rng.random() < mix.near:
        return letterbox * 2 ** rng.uniform(-0.2, 0.2)
    return letterbox * 2 ** rng.uniform(-1.2, 0.9)


def view(shape: tuple[int, int], scale: float, side: int, rng: np.random.Generator) -> View:
    """Somewhere in the image, at times over its edge, turned and mirrored."""
    height, width = shape
    window = side / scale
    centre = [_centre(length, window, rng) for length in (width, height)]
    angle = rng.integers(4) * np.pi / 2
    if rng.random() < 0.5:
        angle += rng.uniform(-np.pi / 4, np.pi / 4)
    stretch = 2 ** rng.uniform(-0.1, 0.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.diag([scale * stretch * rng.choice([-1, 1]), scale / stretch])
    # Pixel centres lie at halves: p' = turn (p + 1/2 - centre) + side / 2 - 1/2.
    shift = turn @ (0.5 - np.array(centre)) + (side - 1) / 2
    return View(np.column_stack([turn, shift]), side)


def light(crop: np.ndarray, inside: np.ndarray, low: float, high: float, rng: np.random.Generator, changed: float) -> np.ndarray:
    """The crop as another camera, lamp and focus would have shown it, stretched to 0..1; `changed`: see [`Mix`]."""
    span = high - low
    if rng.random() < 0.2 * changed and inside.any():
        low, high = np.percentile(crop[inside], SHOWN)
        low, high = float(low), max(float(high), float(low) + 0.3 * span)
    elif rng.random() < 0.7 * changed:
        low, high = low + span * rng.uniform(-0.1, 0.08), high + span * rng.uniform(-0.3, 0.3)
    crop = np.clip((crop - low) / (high - low), 0, 1)
    if rng.random() < 0.5 * changed:
        crop = crop ** float(np.exp(rng.uniform(-0.6, 0.6)))
    if rng.random() < 0.3 * changed:
        crop = uneven(crop, rng)
    if rng.random() < 0.25 * changed:
        crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.4, 1.6))
    elif rng.random() < 0.15 * changed:
        crop = crop + rng.uniform(0.2, 1.0) * (crop - cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.8, 2.0)))
    if rng.random() < 0.25 * changed:
        # Less contrast, at any level.
        span = rng.uniform(0.5, 1.0)
        crop = crop * span + rng.uniform(0, 1 - span)
    if rng.random() < 0.4 * changed:
        crop = crop + grain(crop.shape, rng) * rng.uniform(0.0, 0.08)
    return np.clip(crop, 0, 1)


def uneven(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light that falls unevenly on the field."""
    coarse = rng.uniform(-1, 1, (3, 3)).astype(np.float32)
    field = cv2.resize(coarse, crop.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return crop * (1 + rng.uniform(0, 0.4) * field) + rng.uniform(0, 0.1) * field


def grain(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise of variance 1, at times spread over a few pixels."""
    noise = rng.standard_normal(shape, np.float32)
    if rng.random() < 0.5:
        noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.5, 1.5))
        noise /= max(float(noise.std()), 1e-6)
    return noise


def nothing(sample: Sample, mix: Mix, rng: np.random.Generator) -> np.ndarray:
    """A field without cells, stretched to its own percentiles as the daemon would: noise, an empty part of an image, or an
    image so far out of focus that nobody could tell its cells."""
    side = mix.side
    kind = rng.choice(["noise", "empty", "defocused"], p=[0.35, 0.4, 0.25])
    field = None
    if kind == "empty":
        field = empty_part(sample, mix, rng)
    elif kind == "defocused":
        place = view(sample.image.shape, scale_of(sample, mix, rng), side, rng)
        scale = float(np.sqrt(abs(np.linalg.det(place.matrix[:, :2]))))
        areas = sample.areas[1:][sample.areas[1:] > 0]
        across = scale * 2 * float(np.sqrt(np.median(areas) / np.pi)) if len(areas) else 40.0
        field = cv2.GaussianBlur(place.image(sample.image)[0], (0, 0), across * rng.uniform(0.8, 2.0))
    if field is None:
        field = grain((side, side), rng)
        if rng.random() < 0.5:
            field = uneven(field * rng.uniform(0.05, 0.2) + 0.5, rng)
    low, high = np.percentile(field, SHOWN)
    field = np.clip((field - low) / max(float(high - low), 1e-4), 0, 1)
    if rng.random() < 0.3:
        # Less than `min_span`: mid-grey with little in it.
        field = 0.5 + (field - 0.5) * rng.uniform(0, 0.3)
    return np.clip(field + grain(field.shape, rng) * rng.uniform(0, 0.05), 0, 1)


def empty_part(sample: Sample, mix: Mix, rng: np.random.Generator) -> np.ndarray | None:
    """A part of the image that holds no label, at the scale of a crop, as large as one; none if a few tries find none."""
    scale = scale_of(sample, mix, rng)
    for _ in range(6):
        window = int(rng.integers(48, 129))
        if min(sample.labels.shape) <= window:
            continue
        y, x = (int(rng.integers(0, length - window)) for length in sample.labels.shape)
        if not sample.labels[y : y + window, x : x + window].any():
            part = sample.image[y : y + window, x : x + window]
            # Grain is as fine as in a crop with cells; what is missing is mirrored.
            length = max(round(window * scale), 8)
            part = cv2.resize(part, (length, length), interpolation=cv2.INTER_LINEAR)[: mix.side, : mix.side]
            pad = max(mix.side - length, 0)
            return np.pad(part, ((0, pad), (0, pad)), "reflect").astype(np.float32) / MOST
    return None


def _centre(length: int, window: float, rng: np.random.Generator) -> float:
    if window >= length:
        # The whole image fits: anywhere in the crop.
        slack = (window - length) / 2
        return length / 2 + rng.uniform(-slack, slack)
    over = 0.12 * window
    return rng.uniform(window / 2 - over, length - window / 2 + over)
