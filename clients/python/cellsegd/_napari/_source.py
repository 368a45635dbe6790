"""Frames of an image layer: the one that is shown, or all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Where a frame lies in its layer: an index a leading axis.
Place = tuple[int, ...]


@dataclass(frozen=True)
class Stack:
    """An image layer as frames."""

    data: Any
    rgb: bool

    @classmethod
    def of(cls, layer: Any) -> Stack:
        """The full resolution, where there are several."""
        return cls(layer.data[0] if layer.multiscale else layer.data, bool(layer.rgb))

    @property
    def leading(self) -> tuple[int, ...]:
        """Sizes of the axes before the rows: none of a single frame."""
        return tuple(self.data.shape[: -3 if self.rgb else -2])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a label image of the whole stack."""
        return tuple(self.data.shape[:-1] if self.rgb else self.data.shape)

    def shown(self, step: tuple[int, ...]) -> Place:
        """The place that a viewer shows at `step`: its axes may be more than the layer's, which are the last of them."""
        n_spatial = 2
        of_layer = step[len(step) - len(self.leading) - n_spatial :]
        return tuple(min(at, size - 1) for at, size in zip(of_layer, self.leading, strict=False))

    def places(self) -> Iterator[Place]:
        """All, the last axis fastest."""
        return iter(np.ndindex(*self.leading))

    def frame(self, place: Place) -> npt.NDArray[Any]:
        """Its pixels, as counts; lazy layers are read here."""
        pixels = np.asarray(self.data[place])
        # The viewer's word that it is a colour; how far one sees through it is for viewers.
        return counts(pixels[..., :3] if self.rgb else pixels)


def counts(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """8 and 16 bits as they are; other numbers only if they are counts that fit."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype == bool or not (0 <= low and 1 < high <= np.iinfo(np.uint16).max):
        raise ValueError(f"the layer is {pixels.dtype} from {low:g} to {high:g}: camera counts from 0 to 65535 are right")
    return np.rint(pixels).astype(np.uint16)
