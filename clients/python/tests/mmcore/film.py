"""A culture that was never alive: bright round nuclei, one of which divides."""

from functools import cache

import numpy as np
from pymmcore_plus.mda import MDAEngine

SIDE = 512
MOTHER = 3
DIVIDES_AT = 4


@cache
def places(n=14, apart=70, seed=0):
    """Middles of the nuclei: row, column."""
    random = np.random.default_rng(seed)
    kept = []
    for place in random.uniform(60, SIDE - 60, (400, 2)):
        if all(np.hypot(*(place - other)) > apart for other in kept):
            kept.append(place)
    return np.array(kept[:n])


@cache
def frame(t):
    """16 bits, SIDE x SIDE."""
    y, x = np.mgrid[:SIDE, :SIDE]
    light = np.zeros((SIDE, SIDE))

    def nucleus(row, column, radius):
        distance = np.hypot(y - row, x - column)
        np.maximum(light, 1 / (1 + np.exp((distance - radius) / 1.2)), out=light)

    for number, (row, column) in enumerate(places()):
        if number == MOTHER and t >= DIVIDES_AT:
            apart = 14 + 2 * (t - DIVIDES_AT)
            nucleus(row, column - apart, 10)
            nucleus(row, column + apart, 10)
        else:
            nucleus(row, column, 14)
    counts = 300 + 3000 * light + np.random.default_rng(t).normal(0, 20, light.shape)
    return counts.round().astype(np.uint16)


class FilmEngine(MDAEngine):
    """The core does all that it does; only what the demo camera shows is exchanged."""

    def exec_event(self, event):
        for payload in super().exec_event(event):
            # None: the core lost a frame.
            if payload is not None:
                image, inner, meta = payload
                payload = self.exposed(image, inner), inner, meta
            yield payload

    def exposed(self, image, event):
        return frame(event.index.get("t", 0)).copy() if image.shape == (SIDE, SIDE) else image
