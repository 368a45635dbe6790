"""Live view: the newest frame, whenever there is one and the daemon is free. Nothing is kept, nothing is recorded."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import numpy.typing as npt
from psygnal import EmitLoopError, Signal

from cellsegd.client import Client
from cellsegd.errors import Error
from cellsegd.frame import Frame
from cellsegd.options import Options
from cellsegd.result import Result

from ._metadata import Camera
from ._signals import connect

log = logging.getLogger("cellsegd.mmcore")


def live(core: Any, client: Client, options: Options | None = None, *, most_per_s: float = 20.0) -> Live:
    """Segments what the live view shows (`core.startContinuousSequenceAcquisition`) and what is snapped, outside of runs.

    Frames that the daemon has no time for are left out: `options.delivery` is LATEST whatever was asked for. At most
    `most_per_s` frames a second are looked at.
    """
    return Live(core, client, options if options is not None else Options(), most_per_s)


class Live:
    """What `live` gives. Its events come from another thread, as those of Attachment: connect with `thread="main"` where that
    matters."""

    segmented = Signal(Result)
    """(result): the cells of the newest frame."""
    failed = Signal(str)
    """(why): a frame, or the whole session."""

    def __init__(self, core: Any, client: Client, options: Options, most_per_s: float):
        self._core = core
        self._pause_s = 1 / most_per_s
        self._session = client.session(options, delivery="latest")
        self._snapped = threading.Event()
        self._over = threading.Event()
        self._last_number: str | None = None
        self._began = time.monotonic()
        connect(core.events.imageSnapped, self._note_snap)
        self._threads = [
            threading.Thread(target=self._look, name="cellsegd-live", daemon=True),
            threading.Thread(target=self._receive, name="cellsegd-live-receive", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Looks no more, and waits for what is on its way."""
        self._core.events.imageSnapped.disconnect(self._note_snap)
        self._over.set()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note_snap(self, *_: object) -> None:
        self._snapped.set()

    def _look(self) -> None:
        try:
            while not self._over.wait(self._pause_s):
                image = self._newest()
                if image is not None:
                    self._session.submit(Frame(image, metadata=self._metadata()))
        except Error as error:
            self._say(str(error))
        finally:
            try:
                self._session.close()
            except Error as error:
                self._say(str(error))

    def _newest(self) -> npt.NDArray[Any] | None:
        """The core's newest frame, if it has not been looked at. A core that is busy is asked again."""
        if self._core.mda.is_running():
            self._snapped.clear()
            return None
        try:
            if self._core.isSequenceRunning():
                image, tags = self._core.getLastImageAndMD()
                number = str(tags.get("ImageNumber"))
                if number == self._last_number:
                    return None
                self._last_number = number
                return image  # type: ignore[no-any-return]
            if self._snapped.is_set():
                self._snapped.clear()
                return self._core.getImage()  # type: ignore[no-any-return]
        except (RuntimeError, IndexError) as error:
            # The first frame has not come, or the camera was stopped since.
            log.debug("no frame: %s", error)
        return None

    def _metadata(self) -> dict[str, Any]:
        core = self._core
        group = core.getChannelGroup()
        camera = Camera.of(core, {})
        told: dict[str, Any] = {
            "channel": core.getCurrentConfig(group) if group else "",
            "camera": camera.label,
            "exposure_ms": core.getExposure(),
            "pixel_size_um": camera.pixel_size_um,
            "binning": camera.binning,
            "elapsed_ms": (time.monotonic() - self._began) * 1000,
        }
        if camera.pixel_to_stage and core.getXYStageDevice():
            told["pixel_to_stage"] = camera.pixel_to_stage
            told["x_um"], told["y_um"] = core.getXYPosition()
        return told

    def _receive(self) -> None:
        try:
            for result in self._session.results():
                try:
                    if result.outcome == "segmented":
                        self.segmented.emit(result)
                    elif result.outcome == "failed":
                        self.failed.emit(result.reason or "")
                except EmitLoopError:
                    log.exception("a listener failed")
        except Error as error:
            self._say(str(error))

    def _say(self, why: str) -> None:
        log.error("%s", why)
        self.failed.emit(why)
