"""The folder of a run as it is recorded live, with the pixels of what was not segmented."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cellsegd import contract
from cellsegd.options import Options
from cellsegd.recorder import Recorder
from cellsegd.result import Result

from ._shot import Shot

log = logging.getLogger("cellsegd.mmcore")

# Where the acquisition itself saves a frame: the file, or the file and its page from 0; None: nowhere.
Files = Callable[[Any], "str | Path | tuple[str | Path, int] | None"]


class Store:
    """Writes what became of each frame. A disk that fails is said once, and never stops the frames."""

    def __init__(self, folder: Path, opened: contract.SessionOpened, options: Options, files: Files | None):
        self.folder = folder
        self._recorder = Recorder(folder, opened, flat_field=options.flat_field, dark=options.dark)
        self._files = files
        self._lock = threading.Lock()
        self._failed = False

    def answered(self, shot: Shot, metadata: contract.FrameMetadata, result: Result) -> None:
        """A frame that the daemon answered; the pixels of one that it did not segment are kept."""
        if result.outcome in ("dropped", "failed"):
            self.unsegmented(shot, metadata, result.reason or result.outcome, True, result.outcome == "failed")
            return
        with self._guarded():
            file, page = self._saved(shot)
            self._recorder.write(None, result, image_id=shot.image_id, file=file, page=page)

    def unsegmented(self, shot: Shot, metadata: contract.FrameMetadata, why: str, kept: bool, failed: bool = False) -> None:
        """A frame without cells; `kept`: its pixels are there to be written."""
        with self._guarded():
            file, page = self._saved(shot)
            # Frames that are measured need the cells of another: alone they cannot be filled in.
            frame = shot.pixels if kept and not file and shot.measure_on is None else None
            self._recorder.unsegmented(metadata, why, image_id=shot.image_id, file=file, page=page, failed=failed, frame=frame)

    def close(self) -> None:
        """The run has ended."""
        with self._guarded():
            self._recorder.close()

    def _saved(self, shot: Shot) -> tuple[str, int]:
        saved = self._files(shot.event) if self._files is not None else None
        if saved is None:
            return "", 0
        file, page = saved if isinstance(saved, tuple) else (saved, 0)
        return str(Path(file).absolute()), page

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One writer at a time. What goes wrong is said once, not raised: a full disk would be said with every frame."""
        with self._lock:
            try:
                yield
            except Exception as error:  # Whatever it is, answers must come through.
                if not self._failed:
                    self._failed = True
                    log.error("the run is no longer recorded in %s: %s", self.folder, error)
