"""A session that outlives its connections."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from cellsegd import contract as pb
from cellsegd.address import Address, Credentials
from cellsegd.connector import Connector
from cellsegd.errors import Disconnected, Error, Refused, Unavailable
from cellsegd.frame import Frame, as_frame
from cellsegd.ledger import Ledger
from cellsegd.link import Link
from cellsegd.options import merged_update
from cellsegd.pixels import Pixels
from cellsegd.result import Result
from cellsegd.tracks import Tracks

log = logging.getLogger("cellsegd")

# A wait is made of such pieces, so that Ctrl-C ends it everywhere.
_SLICE_S = 1.0
# Seconds between tries to connect: doubled from the first to the last, each shortened by chance so that clients do not come in
# step.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
# Slots beside the window's: one to write into for each of a few threads; LATEST keeps two for each series.
_MORE_SLOTS, _MORE_SLOTS_LATEST = 2, 8
# Over Limits.max_frame_bytes a message may have so much; anything larger would end the stream.
_ENVELOPE_BYTES = 1 << 20


@dataclass(frozen=True)
class Closed:
    """Every frame accounted for: frames = segmented + measured + dropped + failed."""

    frames: int
    segmented: int
    measured: int
    dropped: int
    failed: int
    reconnections: int
    """How often the connection was lost and came back."""


class Session:
    """Frames as they come, exactly one Result each, in the order in which they were submitted.

    `submit` and `results` may be called from different threads. A lost connection is made again, with any of the daemons that the
    client knows: LOSSLESS sends what was unanswered once more, and identities go on; LATEST answers it "dropped" ("disconnected").
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        credentials: Credentials,
        options: pb.SessionOptions,
        *,
        timeout_s: float,
        max_reconnect_s: float | None = 60.0,
        max_unread: int = 1000,
        shared_memory: bool = True,
    ) -> None:
        self._options = options
        self._timeout_s = timeout_s
        self._max_reconnect_s = max_reconnect_s
        self._max_unread = max_unread
        self._latest = options.delivery == pb.DELIVERY_LATEST
        tracks = Tracks(options.tracking) if options.HasField("tracking") else None
        self._pixels = Pixels(shared_memory)
        self._ledger = Ledger(self._latest, tracks, options.outputs.label_by == pb.LABEL_BY_TRACK, self._pixels.release)
        self._changed = threading.Condition()
        self._unread: deque[Result] = deque()
        self._listeners: list[Callable[[], None]] = []
        self._closing = False
        self._ended = False
        self._error: Error | None = None
        self._reconnections = 0
        self._connector = Connector(addresses, credentials, self._next_request, timeout_s)
        self._link = self._connector.open(options, shared_memory)
        self._opened = self._link.opened
        self._ledger.opened(self._opened)
        self._thread = threading.Thread(target=self._drive, name="cellsegd-session", daemon=True)
        self._thread.start()

    @property
    def opened(self) -> pb.SessionOpened:
        """What the session got: model, engine, every settled option, limits. Of the newest connection."""
        return self._opened

    @property
    def connected(self) -> bool:
        """False while a lost connection is being made again."""
        with self._changed:
            return self._ledger.connected

    @property
    def shares_memory(self) -> bool:
        """Whether pixels go through shared memory on the connection at hand; known once a frame was answered."""
        return self._link.shares_memory

    @property
    def unanswered(self) -> list[int]:
        """Ids of the frames that have no answer yet."""
        with self._changed:
            return self._ledger.unanswered

    def submit(self, frame: Frame | npt.NDArray[Any] | bytes, timeout_s: float | None = None) -> int:
        """Hands a frame over and gives its id; the pixels are copied. LOSSLESS waits while the window is full (TimeoutError after
        `timeout_s`, the frame is then not taken); LATEST never waits. Raises what ended the session, if it has ended."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        frame = as_frame(frame)
        with self._request(frame) as request, self._changed:
            while not self._has_room():
                if until is not None and until <= time.monotonic():
                    raise TimeoutError(f"the window of {self._opened.window} frames was full for {timeout_s:g} s")
                self._changed.wait(_SLICE_S if until is None else min(_SLICE_S, until - time.monotonic()))
            return self._take(request, frame.n_bytes)

    def results(self) -> Iterator[Result]:
        """Answers as they come, until the session is closed and all are read. Then raises what ended it early, if something did."""
        while True:
            with self._changed:
                while not self._unread and not self._ended:
                    self._changed.wait(_SLICE_S)
                if not self._unread:
                    if self._error is not None:
                        raise self._error
                    return
                result = self._unread.popleft()
                self._changed.notify_all()
            yield result

    def update(
        self, changes: pb.SessionUpdate | None = None, *, forget_positions: Iterable[str] = (), **fields: Any
    ) -> Future[int]:
        """New settings for the frames submitted after it: thresholds, normalization and outputs, by the names of Options. The
        future gives their revision, or raises Refused: the session then goes on as before."""
        message = merged_update(changes, fields, forget_positions)
        with self._changed:
            self._must_go_on()
            future = self._ledger.update(message)
            self._changed.notify_all()
            return future

    def cancel(self, frame_id: int) -> None:
        """A frame that is no longer wanted: if it has not started it is answered "dropped" ("cancelled")."""
        with self._changed:
            self._ledger.cancel(frame_id)
            self._deliver()

    def half_close(self) -> None:
        """No more frames; does not wait."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self, timeout_s: float | None = None) -> Closed:
        """No more frames: waits for the answers still out, which stay to be read. TimeoutError after `timeout_s`; what is
        unanswered then is answered "failed"."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            while not self._ended:
                if until is not None and until <= time.monotonic():
                    break
                self._changed.wait(_SLICE_S if until is None else max(0.0, min(_SLICE_S, until - time.monotonic())))
            in_time = self._ended
        if not in_time:
            self.abort("close ran out of time")
            raise TimeoutError(f"frames were still unanswered after {timeout_s:g} s")
        self._thread.join(self._timeout_s)
        return self.closed

    @property
    def closed(self) -> Closed:
        """The account so far; whole once the session is closed."""
        with self._changed:
            counts = self._ledger.counts
            return Closed(counts.frames, counts.segmented, counts.measured, counts.dropped, counts.failed, self._reconnections)

    def abort(self, why: str = "aborted") -> None:
        """Ends at once: what is unanswered is answered "failed"."""
        with self._changed:
            self._closing = True
            self._end(Disconnected(why, self._ledger.unanswered) if self._ledger.unanswered else None)
            link = self._link
        link.close()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls `listener`, from a thread of the session, whenever a result is there, the window has room or the session ended. It
        must return at once; what it raises is logged."""
        self._listeners.append(listener)

    def try_submit(self, frame: Frame | npt.NDArray[Any] | bytes) -> int | None:
        """As `submit`, but gives None where that would wait."""
        with self._changed:
            if not self._has_room():
                return None
        frame = as_frame(frame)
        with self._request(frame) as request, self._changed:
            if self._has_room():
                return self._take(request, frame.n_bytes)
            self._pixels.release(request.frame)
            return None

    def poll(self) -> Result | None:
        """The next answer, or None where none is there."""
        with self._changed:
            if not self._unread:
                return None
            self._changed.notify_all()
            return self._unread.popleft()

    @property
    def over(self) -> bool:
        """Whether every answer has come and been read; `error` then says what ended it early."""
        with self._changed:
            return self._ended and not self._unread

    @property
    def error(self) -> Error | None:
        """What ended the session early."""
        return self._error

    def __enter__(self) -> Session:
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        if failure is None:
            self.close()
        else:
            self.abort()

    @contextmanager
    def _request(self, frame: Frame) -> Iterator[pb.StreamRequest]:
        """What is sent of a frame; what it holds is given back where it is not taken."""
        more = _MORE_SLOTS_LATEST if self._latest else _MORE_SLOTS
        try:
            request = self._pixels.request(frame, self._link.offer, self._opened.window + more)
        except ValueError:
            # The memory went with the session.
            with self._changed:
                self._must_go_on()
            raise
        try:
            yield request
        except BaseException:
            self._pixels.release(request.frame)
            raise

    # What follows is called with the lock held, but for `_drive` and what it calls by name.

    def _has_room(self) -> bool:
        self._must_go_on()
        return self._latest or len(self._ledger.unanswered) < max(1, self._opened.window)

    def _must_go_on(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closing or self._ended:
            raise Error("the session is closed: no more frames")

    def _take(self, request: pb.StreamRequest, n_bytes: int) -> int:
        frame_id = self._ledger.submit(request)
        most = self._opened.limits.max_frame_bytes
        # Without asking the message: to count its bytes protobuf writes all of it, and no other thread runs meanwhile.
        sent = request.frame.metadata.ByteSize() + (0 if request.frame.HasField("shared") else n_bytes)
        if most and sent > most + _ENVELOPE_BYTES // 2:
            why = f"the frame has {sent} bytes: at most {most} are taken (limits.max_frame_bytes)"
            self._ledger.fail(frame_id, "CODE_TOO_LARGE", why)
        # Live, an older frame may have given way.
        self._deliver()
        return frame_id

    def _deliver(self) -> None:
        self._unread.extend(self._ledger.results())
        self._changed.notify_all()
        for listener in self._listeners:
            try:
                listener()
            except Exception:  # Whoever listens must not end the session.
                log.exception("a listener failed")

    def _end(self, error: Error | None) -> None:
        if self._ended:
            return
        # First: whatever goes wrong below, nobody waits for this session.
        self._error = error
        self._ended = True
        self._ledger.give_up(error or Error("the session is closed"))
        self._deliver()
        self._pixels.close()

    def _next_request(self, link: Link) -> pb.StreamRequest | None:
        """Called by the transport's thread, which waits here for something to send."""
        with self._changed:
            while not link.over:
                request = self._ledger.next_request() if link is self._link_in_use else None
                if request is not None:
                    break
                if self._closing and not self._ledger.unanswered and link is self._link_in_use:
                    return None
                self._changed.wait(_SLICE_S)
            else:
                return None
        # The daemon is asked about memory once a connection, without the lock.
        return self._pixels.over(request, link) if request.HasField("frame") else request

    @property
    def _link_in_use(self) -> Link | None:
        # Asked for while the first one is being opened, too.
        return getattr(self, "_link", None) if self._ledger.connected else None

    def _drive(self) -> None:
        """Reads answers; makes a lost connection again."""
        while True:
            error = self._read()
            with self._changed:
                if self._ended or error is None:
                    self._end(None)
                    break
                self._link.over = True
                self._ledger.lost()
                self._deliver()
                if self._closing and not self._ledger.unanswered:
                    self._end(None)
                    break
                if isinstance(error, Refused):
                    over_an_update = error.code == "INVALID_ARGUMENT" and self._ledger.update_refused(error)
                    if not over_an_update:
                        self._end(error)
                        break
            self._link.close()
            if not self._reconnect(error):
                break
        self._link.close()

    def _read(self) -> Error | None:
        """To the end of the connection: None after a proper close."""
        try:
            for reply in self._link.replies():
                with self._changed:
                    self._heard(reply)
                    # Who does not read must not fill the memory. Lossless, the window then holds the sender back; live, frames
                    # give way.
                    while len(self._unread) >= self._max_unread and not (self._closing or self._ended):
                        self._changed.wait(_SLICE_S)
        except Error as error:
            return error
        except Exception as error:  # A defect must end the session, not leave it waiting.
            return Refused(f"the answer could not be read: {error!r}")
        with self._changed:
            if self._closing and not self._ledger.unanswered:
                return None
        return Unavailable(f"{self._link.address.text} ended the stream")

    def _heard(self, reply: pb.StreamReply) -> None:
        kind = reply.WhichOneof("reply")
        if kind == "frame":
            if self._ledger.answered(reply.frame):
                # The daemon lost sight of the memory: what is unanswered is sent with its pixels, over a new connection.
                self._pixels.allowed = False
                raise Unavailable(reply.frame.failed.message)
            self._deliver()
        elif kind == "changed":
            self._ledger.changed(reply.changed)
            # What a new connection is opened with.
            settled = reply.changed.settled
            self._options.thresholds.CopyFrom(settled.thresholds)
            self._options.normalization.CopyFrom(settled.normalization)
            self._options.outputs.CopyFrom(settled.outputs)
            self._changed.notify_all()

    def _reconnect(self, lost: Error) -> bool:
        """Tries until a daemon opens a session. False: the session has ended."""
        began, wait_s = time.monotonic(), _FIRST_WAIT_S
        while True:
            with self._changed:
                resume = self._ledger.tracks.resume() if self._ledger.tracks is not None else None
                if resume is not None:
                    self._options.tracking.resume.CopyFrom(resume)
            try:
                link = self._connector.open(self._options, self._pixels.allowed, lambda: not self._ended)
            except Refused as error:
                with self._changed:
                    if "tracking.resume" in str(error) and self._ledger.tracks is not None and self._ledger.tracks.forget_cells():
                        # Too many cells to hand over: all are new, but no id comes twice.
                        continue
                    self._end(error)
                return False
            except Unavailable as error:
                lost = error
            else:
                return self._go_on(link)
            with self._changed:
                if self._max_reconnect_s is not None and time.monotonic() - began > self._max_reconnect_s:
                    why = f"the connection was lost and did not come back within {self._max_reconnect_s:g} s: {lost}"
                    self._end(Disconnected(why, self._ledger.unanswered))
                until = time.monotonic() + wait_s * random.uniform(0.5, 1.0)
                while not self._ended and time.monotonic() < until:
                    self._changed.wait(max(0.001, until - time.monotonic()))
                if self._ended:
                    return False
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _go_on(self, link: Link) -> bool:
        """With a new connection. False: the session has ended meanwhile."""
        with self._changed:
            if not self._ended:
                self._link, self._opened = link, link.opened
                self._reconnections += 1
                self._ledger.opened(link.opened)
                self._deliver()
                return True
        link.close()
        return False
