"""The memory that frames wait in."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]

# Buffers that are ready for the frames that come next.
READY = 8


class Room:
    """Bytes of pixels that may wait, all sessions together.

    Frames are copied into buffers that are used again and again: memory that is new to a process is given page by page, which
    costs the camera's thread several times what a copy does.
    """

    def __init__(self, limit: int):
        if limit <= 0:
            raise ValueError(f"buffer_bytes is {limit}, must be above 0")
        self._limit = limit
        self._used = 0
        self._free: list[Pixels] = []
        self._like: tuple[tuple[int, ...], np.dtype[Any]] = ((0, 0), np.dtype(np.uint8))
        self._lock = threading.Lock()

    def prepare(self, shape: Sequence[int], dtype: npt.DTypeLike) -> None:
        """Makes buffers for frames like these ready, in place of what was there."""
        with self._lock:
            self._free.clear()
            self._like = (tuple(shape), np.dtype(dtype))
        self.refill()

    def refill(self) -> None:
        """As many as were ready at first, for the frames that come next; called in the background."""
        shape, dtype = self._like
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        while n_bytes:
            with self._lock:
                if len(self._free) >= READY or self._used + (len(self._free) + 1) * n_bytes > self._limit:
                    return
            # Written, so that the memory is there.
            buffer = np.full(shape, 1, dtype)
            with self._lock:
                self._free.append(buffer)

    def copy_of(self, image: Pixels) -> Pixels | None:
        """A copy, until `give_back`; None if there is no room for it. A single frame always fits."""
        with self._lock:
            if self._used and self._used + image.nbytes > self._limit:
                return None
            self._used += image.nbytes
            buffer = self._free.pop() if self._free else None
        if buffer is None or buffer.shape != image.shape or buffer.dtype != image.dtype:
            buffer = np.empty(image.shape, image.dtype)
        np.copyto(buffer, image)
        return buffer

    def give_back(self, pixels: Pixels) -> None:
        """What `copy_of` gave."""
        with self._lock:
            self._used -= pixels.nbytes
            self._free.append(pixels)

    def empty(self) -> None:
        """Between runs nothing is kept."""
        with self._lock:
            self._free.clear()
            self._like = ((0, 0), np.dtype(np.uint8))

    @property
    def is_scarce(self) -> bool:
        """Over three quarters are used."""
        with self._lock:
            return 4 * self._used > 3 * self._limit
