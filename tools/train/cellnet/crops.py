"""Crops for training. Crop number i is the same on every machine and in every process: all chance comes from (seed, i)."""

from dataclasses import dataclass

import cv2
import numpy as np

from cellnet.augment import light, nothing, scale_of, view
from cellnet.contract import FILL, PROTOTYPE_STRIDE
from cellnet.mix import Mix
from cellnet.pack import Sample, pieces

MIN_AREA = 36
"""Pixels of the crop; what is smaller is neither cell nor background."""
MIN_VISIBLE = 0.12
"""Of a cell's area; so is what an edge of the crop cuts to less."""


@dataclass(frozen=True)
class Crop:
    """One crop and what is to be found in it."""

    image: np.ndarray
    """float32 [S, S], 0..1."""
    boxes: np.ndarray
    """float32 [G, 4]: tight, x0, y0, x1, y1 in pixels of the crop."""
    classes: np.ndarray
    """int64 [G]."""
    coverage: np.ndarray
    """uint8 [G, S/4, S/4]: how many of the 16 pixels under a prototype cell are the instance's."""
    edges: np.ndarray
    """uint8 [S/4, S/4]: 1 where instances end."""
    ignored: np.ndarray
    """uint8 [S/4, S/4]: 1 where pieces lie that nobody is asked to find."""


class Crops:
    """Crop i, for any i: training asks for those from the step on that it goes on at."""

    def __init__(self, samples: list[Sample], mix: Mix):
        self.mix = mix
        self.samples = samples
        self.of_class = [[s for s in samples if s.entry.class_index == index] for index in (0, 1)]
        if not samples:
            raise ValueError("no images to train on")

    def __getitem__(self, index: int) -> Crop:
        # Beside PyTorch's own threads more of them only get in each other's way.
        cv2.setNumThreads(1)
        mix = self.mix
        rng = np.random.default_rng([mix.seed, index])
        chance = rng.random()
        class_index = 0 if index % 8 < mix.cells_of_8 else 1
        samples = self.of_class[class_index] or self.samples
        sample = samples[rng.integers(len(samples))]
        if chance < mix.nothing:
            empty = np.zeros((mix.side, mix.side), np.uint16)
            return crop_of(nothing(sample, mix, rng).astype(np.float32), empty, sample)
        place = view(sample.image.shape, scale_of(sample, mix, rng), mix.side, rng)
        image, inside = place.image(sample.image)
        image = light(image, inside, sample.entry.low, sample.entry.high, rng, mix.changed)
        image[~inside] = FILL
        scale = float(np.sqrt(abs(np.linalg.det(place.matrix[:, :2]))))
        return crop_of(image.astype(np.float32), place.labels(sample.labels), sample, scale)


def crop_of(image: np.ndarray, labels: np.ndarray, sample: Sample, scale: float = 1.0) -> Crop:
    """What is to be found, from the label image of the crop; `scale` is crop pixels an image pixel."""
    cell = PROTOTYPE_STRIDE
    small = labels.shape[0] // cell
    ignored = np.zeros((small, small), np.uint8)
    boxes, coverages = [], []
    for label, (x0, y0, x1, y1), area in pieces(labels):
        ys, xs = slice(y0 // cell, -(-y1 // cell)), slice(x0 // cell, -(-x1 // cell))
        window = labels[ys.start * cell : ys.stop * cell, xs.start * cell : xs.stop * cell] == label
        covered = window.reshape(ys.stop - ys.start, cell, xs.stop - xs.start, cell).sum((1, 3), dtype=np.uint8)
        if area < MIN_AREA or area < MIN_VISIBLE * sample.areas[label] * scale * scale:
            ignored[ys, xs] |= covered > 0
            continue
        coverage = np.zeros((small, small), np.uint8)
        coverage[ys, xs] = covered
        boxes.append((x0, y0, x1, y1))
        coverages.append(coverage)
    return Crop(
        image,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), sample.entry.class_index, np.int64),
        np.array(coverages, np.uint8).reshape(-1, small, small),
        _edges(labels),
        ignored,
    )


def _edges(labels: np.ndarray) -> np.ndarray:
    differs = np.zeros(labels.shape, np.uint8)
    differs[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    differs[1:] |= labels[1:] != labels[:-1]
    cell = PROTOTYPE_STRIDE
    return differs.reshape(labels.shape[0] // cell, cell, -1, cell).max((1, 3))
