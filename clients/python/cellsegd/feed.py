"""Frames from an iterable into a session, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

from cellsegd.errors import Error
from cellsegd.frame import Frame
from cellsegd.session import Session


class Feed:
    """Submits every frame, then closes the session."""

    def __init__(self, session: Session, frames: Iterable[Frame | npt.NDArray[Any] | bytes]) -> None:
        self._session = session
        self._frames = frames
        self._stopped = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="cellsegd-frames", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No frame after the one at hand. The iterable cannot be woken: it is left when it gives its next frame."""
        self._stopped = True

    def raise_failure(self) -> None:
        """What the iterable raised."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            for frame in self._frames:
                if self._stopped:
                    return
                self._session.submit(frame)
        except Error as error:
            # What ended the session is raised where its results are read.
            if self._session.error is None and not self._stopped:
                self._failure = error
        except BaseException as failure:
            self._failure = failure
        finally:
            if not self._stopped:
                self._session.half_close()
