"""One acquisition: each frame to its session, other channels behind the frame that they are measured on."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cellsegd import contract
from cellsegd.client import Client
from cellsegd.result import Result

from ._lane import Lane
from ._metadata import Camera, frame_metadata
from ._plan import Plan
from ._room import Pixels, Room
from ._shot import Moment, Shot, moment
from ._store import Store

log = logging.getLogger("cellsegd.mmcore")

# Frames that wait for the one that they are measured on, and such frames that are remembered, at most.
HELD = 64
REMEMBERED = 256
# What is kept of a channel's name in the name of a file.
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9-]+")


class Run:
    """From sequenceStarted to sequenceFinished. `take` is all that the acquisition waits for."""

    def __init__(
        self,
        client: Client,
        plan: Plan,
        camera: Camera,
        room: Room,
        stores: list[Store | None],
        report: Callable[[Shot, Result], None],
        patience_s: float,
    ):
        self.counts: Counter[str] = Counter()
        self._plan = plan
        self._camera = camera
        self._room = room
        self._report = report
        self._only: str | None = None
        self._started_at = 0.0
        self._next_id = 0
        self._names: set[str] = set()
        # Both by channel and moment.
        self._segmented: OrderedDict[tuple[str, Moment], int] = OrderedDict()
        self._held: deque[tuple[tuple[str, Moment], Shot]] = deque()
        self._counting = threading.Lock()
        self._stores = stores
        room.prepare(camera.shape, camera.dtype)
        self._lanes = [
            Lane(client, options, room, store, self._describe, self._answered, patience_s)
            for options, store in zip(plan.sessions, stores, strict=True)
        ]

    def take(self, image: Pixels, event: Any, meta: Mapping[str, Any], clock_s: float) -> None:
        """A frame, `clock_s` seconds after the run began. Copies and enqueues, never waits."""
        if not self._started_at:
            self._started_at = time.time() - clock_s
        channel = str(event.channel.config) if event.channel else ""
        on = self._plan.measured_on(channel)
        session = self._plan.session(on if on is not None else channel)
        if session is None:
            return
        self.counts["frames"] += 1
        lane = self._lanes[session]
        pixels = self._room.copy_of(image) if self._is_mapped(channel) else None
        shot = self._shot(pixels, image.dtype, event, meta, channel)
        if not self._is_mapped(channel):
            lane.refuse(shot, f"a run of several channels without a mapping: only {self._only!r} is segmented")
        elif pixels is None:
            lane.refuse(shot, "no memory left to wait in")
        elif on is not None:
            self._measure(lane, shot, (on, shot.moment))
        else:
            self._segment(lane, shot, (channel, shot.moment))

    def _shot(self, pixels: Pixels | None, dtype: np.dtype[Any], event: Any, meta: Mapping[str, Any], channel: str) -> Shot:
        self._next_id += 1
        return Shot(
            id=self._next_id,
            pixels=np.empty((0, 0), dtype) if pixels is None else pixels,
            event=event,
            meta=meta,
            channel=channel,
            image_id=self._name(channel, moment(event)),
            significant_bits=self._camera.significant_bits,
        )

    def _is_mapped(self, channel: str) -> bool:
        """Where nothing was said of channels, the first is segmented: a second cannot be known before it comes."""
        if self._plan.is_open and self._only is None:
            self._only = channel
        return not self._plan.is_open or channel == self._only

    def _segment(self, lane: Lane, shot: Shot, key: tuple[str, Moment]) -> None:
        lane.offer(shot)
        self._segmented[key] = shot.id
        if len(self._segmented) > REMEMBERED:
            self._segmented.popitem(last=False)
        for held_key, held in list(self._held):
            if held_key == key:
                self._held.remove((held_key, held))
                held.measure_on = shot.id
                lane.offer(held)

    def _measure(self, lane: Lane, shot: Shot, key: tuple[str, Moment]) -> None:
        shot.measure_on = self._segmented.get(key)
        if shot.measure_on is not None:
            lane.offer(shot)
            return
        self._held.append((key, shot))
        if len(self._held) > HELD:
            self._let_go()

    def _let_go(self) -> None:
        (on, _), shot = self._held.popleft()
        session = self._plan.session(on)
        assert session is not None, "a plan measures on segmented channels only"
        self._room.give_back(shot.pixels)
        self._lanes[session].refuse(shot.without_pixels(), f"the frame of {on!r} that it was to be measured on did not come")

    def is_in_its_threads(self) -> bool:
        """Whether it is one of this run's own threads that asks."""
        return any(lane.is_in_its_threads() for lane in self._lanes)

    def finish(self, timeout_s: float, grace_s: float) -> None:
        """Waits for the answers, at most `timeout_s` seconds, and closes the sessions: listeners of all of them have `grace_s` to
        return."""
        until = time.monotonic() + timeout_s
        while self._held:
            self._let_go()
        for lane in self._lanes:
            lane.finish(until)
        until = time.monotonic() + grace_s
        for lane in self._lanes:
            lane.leave(until)
        for store in self._stores:
            if store is not None:
                store.close()
        self._room.empty()
        log.info("%s", dict(self.counts))

    def _answered(self, shot: Shot, result: Result) -> None:
        with self._counting:
            self.counts[result.outcome] += 1
        self._report(shot, result)

    def _describe(self, shot: Shot) -> contract.FrameMetadata:
        return frame_metadata(shot.event, shot.meta, self._camera, self._started_at)

    def _name(self, channel: str, when: Moment) -> str:
        """Unique in the run: of its files."""
        parts = [NOT_IN_NAMES.sub("-", channel).strip("-")] + [f"{axis}{at:04}" for axis, at in when]
        name = "_".join(part for part in parts if part) or "frame"
        if name in self._names:
            name = f"{name}_{self._next_id:06}"
        self._names.add(name)
        return name
