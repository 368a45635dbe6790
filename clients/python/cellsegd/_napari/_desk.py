"""The plugin's other half, away from the window: one thread that talks to the daemon, one that hears its answers."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QObject, Signal

from cellsegd import contract
from cellsegd.client import Client
from cellsegd.errors import Error
from cellsegd.frame import Frame
from cellsegd.options import Options
from cellsegd.session import Session

from ._source import Place, Stack

log = logging.getLogger("cellsegd.napari")


class Desk(QObject):  # type: ignore[misc]
    """Whatever takes time. Nothing here touches the window: what happened comes as signals, in the window's own thread."""

    connected = Signal(list)
    """(models)"""
    opened = Signal(object)
    """(SessionOpened)"""
    answered = Signal(object, object)
    """(Result, place of the frame in its layer)"""
    done = Signal(str)
    """(what): something was finished."""
    failed = Signal(str)
    """(why)"""

    def __init__(self) -> None:
        super().__init__()
        self._thread = ThreadPoolExecutor(1, "cellsegd-napari")
        self._stopped = threading.Event()
        self._client: Client | None = None
        self._session: Session | None = None
        self._wanted: contract.SessionOptions | None = None
        self._last_id = 0
        self._listener: threading.Thread | None = None
        self._places: dict[int, Place] = {}
        self._source: Any = None

    def connect_to(self, url: str, token: str) -> None:
        """Another daemon, or the same with another token."""
        self._do(lambda: self._connect(url, token))

    def segment(self, stack: Stack, places: Iterable[Place], options: Options, metadata: dict[str, Any]) -> None:
        """Frames of a layer, one after the other; `stop` ends it."""
        self._stopped.clear()
        self._do(lambda: self._segment(stack, list(places), options, metadata))

    def watch(self, begin: Callable[[Client], Any]) -> None:
        """Frames that come by themselves: `begin` gives something with `segmented`, `failed` and `close()` or `detach()`."""
        self._do(lambda: self._watch(begin))

    def update(self, confidence: float) -> None:
        """The session's threshold, from the next frame on."""
        self._do(lambda: self._update(confidence))

    def stop(self) -> None:
        """What goes on, ends after its frame."""
        self._stopped.set()
        self._do(self._leave_source)

    def close(self) -> None:
        """For good: what is on its way is given up."""
        self._stopped.set()
        session = self._session
        if session is not None:
            session.abort("the window was closed")
        self._do(self._disconnect)
        self._thread.shutdown(wait=True)

    def _do(self, what: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                what()
            except (Error, ValueError, TypeError, OSError, RuntimeError) as error:
                log.debug("failed", exc_info=True)
                self.failed.emit(str(error))

        self._thread.submit(guarded)

    def _connect(self, url: str, token: str) -> None:
        self._disconnect()
        client = Client(url, token=token or None, name="napari")
        models = client.models()
        self._client = client
        self.connected.emit(list(models))

    def _disconnect(self) -> None:
        self._leave_source()
        self._close_session()
        if self._client is not None:
            self._client.close()
        self._client = None

    def _client_or_raise(self) -> Client:
        if self._client is None:
            raise RuntimeError("not connected: press Connect first")
        return self._client

    def _open(self, options: Options) -> Session:
        # Another confidence is no other session: Apply tells it.
        wanted = replace(options, confidence=None).message()
        if self._session is not None and self._wanted == wanted and not self._session.over:
            return self._session
        self._close_session()
        session = self._client_or_raise().session(options)
        self._session, self._wanted = session, wanted
        self._listener = threading.Thread(target=self._listen, args=(session,), name="cellsegd-napari-listen", daemon=True)
        self._listener.start()
        self.opened.emit(session.opened)
        return session

    def _close_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Error):
                session.close()
            if self._listener is not None:
                self._listener.join()
        self._places.clear()

    def _listen(self, session: Session) -> None:
        try:
            for result in session.results():
                self.answered.emit(result, self._places.pop(result.id, ()))
        except Error as error:
            self.failed.emit(str(error))

    def _segment(self, stack: Stack, places: list[Place], options: Options, metadata: dict[str, Any]) -> None:
        try:
            session = self._open(options)
            for number, place in enumerate(places):
                if self._stopped.is_set():
                    break
                self._submit(session, stack, place, number if len(places) > 1 else None, metadata)
        except Error:
            self._close_session()
            raise

    def _submit(self, session: Session, stack: Stack, place: Place, t: int | None, metadata: dict[str, Any]) -> None:
        frame_id = self._next_id()
        self._places[frame_id] = place
        told = metadata if t is None else metadata | {"t": t}
        session.submit(Frame(stack.frame(place), id=frame_id, metadata=told))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _update(self, confidence: float) -> None:
        if self._session is None:
            raise RuntimeError("there is no session: segment something first")
        self._session.update(confidence=confidence).add_done_callback(lambda update: self._updated(confidence, update))

    def _updated(self, confidence: float, update: Future[int]) -> None:
        """The daemon has answered; told in a thread of the session."""
        error = update.exception()
        if error is None:
            self.done.emit(f"confidence is {confidence:.2f} from the next frame on")
        else:
            self.failed.emit(f"confidence stays as it was: {error}")

    def _watch(self, begin: Callable[[Client], Any]) -> None:
        self._leave_source()
        source = begin(self._client_or_raise())
        source.segmented.connect(lambda result, *_: self.answered.emit(result, ()))
        source.failed.connect(lambda what, *_: self.failed.emit(getattr(what, "reason", None) or str(what)))
        if hasattr(source, "refused"):
            source.refused.connect(self.failed.emit)
        self._source = source
        self.done.emit("listening to Micro-Manager")

    def _leave_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            (source.detach if hasattr(source, "detach") else source.close)()
            self.done.emit("no longer listening to Micro-Manager")
