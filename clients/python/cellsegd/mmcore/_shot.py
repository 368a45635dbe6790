"""A frame on its way, and those that wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

# What tells two moments apart: the indices of an event without its channel.
Moment = tuple[tuple[str, int], ...]


@dataclass(eq=False)
class Shot:
    """One frame as the core delivered it."""

    id: int
    pixels: npt.NDArray[Any]
    event: Any
    meta: Mapping[str, Any]
    channel: str
    image_id: str
    # Bits that the camera uses; 0: all.
    significant_bits: int = 0
    # The id of the frame in whose cells it is measured; None: it is segmented.
    measure_on: int | None = None

    @property
    def moment(self) -> Moment:
        """Time, position, plane and whatever else the run counts, without the channel."""
        return moment(self.event)

    def without_pixels(self) -> Shot:
        """For one that is only to be written down."""
        return replace(self, pixels=np.empty((0, 0), self.pixels.dtype))


def moment(event: Any) -> Moment:
    """Of a useq.MDAEvent."""
    return tuple(sorted((str(axis), int(at)) for axis, at in event.index.items() if axis != "c"))


class Queue:
    """Frames that wait for their session: the oldest goes first, the newest is given up first."""

    def __init__(self) -> None:
        self._shots: deque[Shot] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, shot: Shot) -> None:
        """Never waits."""
        with self._changed:
            self._shots.append(shot)
            self._changed.notify_all()

    def oldest(self, timeout_s: float) -> Shot | None:
        """None: nothing came in that time, or nothing will."""
        with self._changed:
            self._changed.wait_for(lambda: self._shots or self._closed, timeout_s)
            return self._shots.popleft() if self._shots else None

    def newest(self) -> Shot | None:
        """The one that came last."""
        with self._changed:
            return self._shots.pop() if self._shots else None

    def close(self) -> None:
        """Nothing comes any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def closes_within(self, timeout_s: float) -> bool:
        """Waits so long for `close`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, timeout_s)

    @property
    def is_over(self) -> bool:
        """Closed, and everything was taken."""
        with self._changed:
            return self._closed and not self._shots
