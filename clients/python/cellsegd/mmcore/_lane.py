"""One session of a run: takes frames, never makes their source wait, and knows what became of each."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from cellsegd import contract
from cellsegd.client import Client
from cellsegd.errors import Error, Unavailable
from cellsegd.frame import Frame
from cellsegd.options import Options
from cellsegd.result import Result
from cellsegd.session import Session

from ._room import Room
from ._shot import Queue, Shot
from ._store import Store

log = logging.getLogger("cellsegd.mmcore")

# Seconds between two looks at memory and connection, and between two attempts to open a session.
LOOK_S = 0.05
RETRY_S = 1.0
# Ids that are remembered because their frames never got to the daemon: others may be measured on them.
LOST_KEPT = 1024


class Lane:
    """Three threads: one sends, one receives, one gives up frames that there is no room or no connection for."""

    def __init__(
        self,
        client: Client,
        options: Options,
        room: Room,
        store: Store | None,
        describe: Callable[[Shot], contract.FrameMetadata],
        report: Callable[[Shot, Result], None],
        patience_s: float,
    ):
        self._client = client
        self._options = options
        self._room = room
        self._store = store
        self._describe = describe
        self._report = report
        self._patience_s = patience_s
        self._queue = Queue()
        self._refused: deque[tuple[Shot, str]] = deque()
        self._sent: dict[int, Shot] = {}
        self._lost: deque[int] = deque(maxlen=LOST_KEPT)
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._away_since: float | None = None
        self._given_up = ""
        self._over = threading.Event()
        self._sender = threading.Thread(target=self._send, name="cellsegd-send", daemon=True)
        self._receiver = threading.Thread(target=self._receive, name="cellsegd-receive", daemon=True)
        self._giver_up = threading.Thread(target=self._give_up, name="cellsegd-give-up", daemon=True)
        self._sender.start()
        self._giver_up.start()

    def offer(self, shot: Shot) -> None:
        """A frame that has its room. Never waits."""
        self._queue.put(shot)

    def refuse(self, shot: Shot, why: str) -> None:
        """A frame that is not to be segmented; whoever calls has given its room back. Never waits."""
        self._refused.append((shot, why))

    def is_in_its_threads(self) -> bool:
        """Whether it is one of its own threads that asks."""
        return threading.current_thread() in (self._sender, self._receiver, self._giver_up)

    def finish(self, until: float) -> None:
        """Waits for the answers until then (time.monotonic), and gives up what has none."""
        self._queue.close()
        self._sender.join(max(0.0, until - time.monotonic()))
        if self._sender.is_alive():
            self._stop_with("no answer when the run ended")
        self._over.set()

    def leave(self, until: float) -> None:
        """Waits until then (time.monotonic) for listeners that are still at work."""
        for thread in (self._sender, self._giver_up):
            thread.join(max(0.0, until - time.monotonic()))
        if self._sender.is_alive() or self._giver_up.is_alive():
            log.error("a listener does not return: the run ends without it, and without account of the last frames")

    def _stop_with(self, why: str) -> None:
        self._given_up = self._given_up or why
        if self._session is not None:
            self._session.abort()

    # The sender.

    def _send(self) -> None:
        try:
            self._session = self._open()
            if self._session is not None:
                self._receiver.start()
                self._send_all(self._session)
                with contextlib.suppress(Error):
                    self._session.close()
                self._receiver.join()
        except Exception as error:  # A defect must not lose count of the frames.
            log.exception("a defect")
            self._stop_with(repr(error))
            if self._receiver.is_alive():
                self._receiver.join()
        for unanswered in list(self._sent.values()):
            if self._sent.pop(unanswered.id, None):
                self._lose(unanswered, self._given_up or "the session ended without an answer")
        while not self._queue.is_over:
            shot = self._queue.oldest(LOOK_S)
            if shot is not None:
                self._lose(shot, self._given_up)

    def _open(self) -> Session | None:
        """A daemon that is not there may come: what waits meanwhile is bounded."""
        while not self._given_up:
            is_last = self._queue.closes_within(0)
            try:
                return self._client.session(self._options, max_reconnect_s=None)
            except Unavailable as error:
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    log.warning("no session yet: %s", error)
                if is_last:
                    self._given_up = f"no session: {error}"
                self._queue.closes_within(RETRY_S)
            except Error as error:
                self._given_up = f"no session: {error}"
                log.error("no session: %s", error)
        return None

    def _send_all(self, session: Session) -> None:
        while not (self._queue.is_over or self._given_up):
            shot = self._queue.oldest(LOOK_S)
            if shot is None:
                continue
            if shot.measure_on in self._lost:
                self._lose(shot, "the frame that it was to be measured on was not segmented")
                continue
            self._sent[shot.id] = shot
            try:
                session.submit(self._frame(shot))
            except (Error, TypeError, ValueError) as error:
                if self._sent.pop(shot.id, None):
                    self._lose(shot, str(error))
                if isinstance(error, Error):
                    self._given_up = self._given_up or str(error)

    def _frame(self, shot: Shot) -> Frame:
        return Frame(
            shot.pixels,
            id=shot.id,
            metadata=self._describe(shot),
            significant_bits=shot.significant_bits,
            measure_on=shot.measure_on,
        )

    # The receiver.

    def _receive(self) -> None:
        assert self._session is not None
        try:
            for result in self._session.results():
                shot = self._sent.pop(result.id, None)
                if shot is not None:
                    self._finish(shot, result)
        except Error as error:
            log.error("%s", error)
            self._given_up = self._given_up or str(error)

    def _finish(self, shot: Shot, result: Result) -> None:
        if self._store is not None:
            self._store.answered(shot, self._describe(shot), result)
        self._room.give_back(shot.pixels)
        self._report(shot, result)

    # Giving up.

    def _give_up(self) -> None:
        while not self._over.wait(LOOK_S):
            self._give_up_what_must()
            self._room.refill()
        self._give_up_what_must()

    def _give_up_what_must(self) -> None:
        while self._refused:
            refused, why = self._refused.popleft()
            self._lose(refused, why, kept=False)
        while why := self._reason():
            shot = self._queue.newest()
            if shot is None:
                break
            self._lose(shot, why)

    def _reason(self) -> str:
        """Why frames that wait are not to wait any longer; empty: they may."""
        if self._given_up:
            return self._given_up
        if self._away_s() > self._patience_s:
            return "no connection to the daemon"
        if self._store is not None and self._room.is_scarce:
            return "the daemon is slower than the camera: no memory left to wait in"
        return ""

    def _away_s(self) -> float:
        """For how long there has been no connection, seconds."""
        if self._session is not None:
            if self._session.connected:
                self._away_since = None
            elif self._away_since is None:
                self._away_since = time.monotonic()
        return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    def _lose(self, shot: Shot, why: str, kept: bool = True) -> None:
        self._lost.append(shot.id)
        metadata = self._describe(shot)
        if self._store is not None:
            self._store.unsegmented(shot, metadata, why, kept)
        if kept:
            self._room.give_back(shot.pixels)
        reply = contract.FrameReply(id=shot.id, dropped=contract.Dropped())
        self._report(shot, Result(reply, metadata=metadata, reason=why))
