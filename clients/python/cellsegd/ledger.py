"""The account of one session: which frames were submitted, which wait, which are unanswered. No clock, no socket, no lock.

**Invariant:** every frame gives exactly one Result, and Results come in the order in which the frames were submitted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from cellsegd import contract as pb
from cellsegd.errors import Error, Refused
from cellsegd.metadata import series_of
from cellsegd.result import Result
from cellsegd.tracks import Tracks

# A frame that was on its way in so many lost connections, without an answer to any other between, is not sent again.
_MOST_ATTEMPTS = 5


@dataclass(eq=False)
class _Sent:
    """A frame. Its pixels are let go with its answer."""

    request: pb.StreamRequest | None
    id: int
    metadata: pb.FrameMetadata
    on_the_way: bool = False
    attempts: int = 0
    # A draining daemon gave it back: it goes to the next one.
    held: bool = False
    result: Result | None = None

    @property
    def in_memory(self) -> bool:
        """Its pixels are in a slot of shared memory."""
        return self.request is not None and self.request.frame.HasField("shared")


@dataclass(eq=False)
class _Update:
    message: pb.SessionUpdate
    answer: Future[int] = field(default_factory=Future)


@dataclass
class Counts:
    """Frames so far, over all connections."""

    frames: int = 0
    segmented: int = 0
    measured: int = 0
    dropped: int = 0
    failed: int = 0


class Ledger:
    """Frames in, requests to send out; answers in, Results out."""

    def __init__(
        self, latest: bool, tracks: Tracks | None, label_by_track: bool, release: Callable[[pb.Frame], None] = lambda _: None
    ) -> None:
        """`release` is told each frame that is answered: its pixels are not needed any more."""
        self.counts = Counts()
        self.classes: Sequence[str] = ()
        self.tracks = tracks
        self.connected = False
        self._latest = latest
        self._label_by_track = label_by_track
        self._release = release
        self._next_id = 1
        # Not given to the reader yet, in the order of submission; updates stand between the frames.
        self._items: deque[_Sent | _Update] = deque()
        self._outbox: deque[_Sent | _Update | pb.Cancel] = deque()
        self._revision = 0
        self._revision_before = 0

    @property
    def unanswered(self) -> list[int]:
        """Ids of frames without an answer, in order."""
        return [item.id for item in self._waiting()]

    def submit(self, request: pb.StreamRequest) -> int:
        """Takes a frame, which gets an id if it has none."""
        frame = request.frame
        frame.id = frame.id or self._next_id
        if any(isinstance(item, _Sent) and item.id == frame.id for item in self._items):
            raise ValueError(f"frame id {frame.id} is still in flight: ids are unique among the frames of a session")
        self._next_id = max(self._next_id, frame.id + 1)
        # Its own: part of a message keeps the whole of it, pixels and all.
        metadata = pb.FrameMetadata()
        metadata.CopyFrom(frame.metadata)
        sent = _Sent(request, frame.id, metadata)
        if self._latest:
            self._replace(sent)
        self.counts.frames += 1
        self._items.append(sent)
        self._outbox.append(sent)
        return frame.id

    def update(self, message: pb.SessionUpdate) -> Future[int]:
        """Settings for the frames after it."""
        update = _Update(message)
        # From here on it cannot be cancelled: an answer that is too late for whoever waited still has a place.
        update.answer.set_running_or_notify_cancel()
        self._items.append(update)
        self._outbox.append(update)
        return update.answer

    def cancel(self, frame_id: int) -> None:
        """A frame that is no longer wanted."""
        for item in self._waiting():
            if item.id == frame_id:
                if item.on_the_way:
                    self._outbox.append(pb.Cancel(frame_id=frame_id))
                else:
                    self._drop(item, "REASON_CANCELLED")

    def next_request(self) -> pb.StreamRequest | None:
        """What is to be sent now."""
        if not self._outbox:
            return None
        item = self._outbox.popleft()
        if isinstance(item, _Update):
            return pb.StreamRequest(update=item.message)
        if isinstance(item, pb.Cancel):
            return pb.StreamRequest(cancel=item)
        item.on_the_way = True
        item.attempts += 1
        return item.request

    def answered(self, reply: pb.FrameReply) -> bool:
        """The server's answer to the oldest frame that has none. True: it could not see the shared memory, and the frame stays
        unanswered."""
        item = next((item for item in self._waiting() if item.on_the_way and not item.held), None)
        if item is None or item.id != reply.id:
            raise Error(f"the server answered frame {reply.id}, but {'none' if item is None else item.id} was next")
        if not self._latest and self._given_back(item, reply):
            # Another daemon, or this one when it is back, will do it: the stream is about to end.
            item.held = True
            return False
        if item.in_memory and _out_of_sight(reply):
            return True
        for other in self._waiting():
            other.attempts = min(other.attempts, 1)
        self._revision = self._revision_before + reply.revision
        self._settle(item, Result(reply, self.classes, item.metadata, self._label_by_track, revision=self._revision))
        return False

    def changed(self, change: pb.SessionChanged) -> None:
        """New settings are in force."""
        self.classes = tuple(change.model.classes)
        self._revision = self._revision_before + change.revision
        if change.why == "update":
            update = next((item for item in self._items if isinstance(item, _Update)), None)
            if update is not None:
                self._items.remove(update)
                if self.tracks is not None:
                    self.tracks.forget(update.message.forget_positions)
                update.answer.set_result(self._revision)

    def update_refused(self, error: Refused) -> bool:
        """The server ended the stream over an update: the oldest one that it may have read is given up. False: there is none."""
        for item in self._items:
            if isinstance(item, _Update) and item not in self._outbox:
                self._items.remove(item)
                item.answer.set_exception(error)
                return True
        return False

    def opened(self, opened: pb.SessionOpened) -> None:
        """A connection stands: everything unanswered is sent again, in order."""
        self.connected = True
        self.classes = tuple(opened.model.classes)
        self._revision_before = self._revision
        self._outbox = deque(item for item in self._items if isinstance(item, _Update) or item.result is None)

    def lost(self) -> None:
        """The connection is gone."""
        self.connected = False
        self._outbox.clear()
        for item in self._waiting():
            item.on_the_way = item.held = False
            if self._latest:
                self._drop(item, reason="disconnected")
            elif item.attempts >= _MOST_ATTEMPTS:
                why = f"the connection was lost {item.attempts} times while this frame was on its way: it is not sent again"
                self._fail(item, "CODE_INTERNAL", why)

    def fail(self, frame_id: int, code: str, why: str) -> None:
        """Answers a frame here, which the server need not see."""
        for item in self._waiting():
            if item.id == frame_id:
                self._fail(item, code, why)

    def give_up(self, error: Error) -> None:
        """Nothing will be answered any more."""
        for item in self._waiting():
            self._fail(item, "CODE_UNSPECIFIED", f"disconnected: {error}", retryable=True)
        for update in [item for item in self._items if isinstance(item, _Update)]:
            self._items.remove(update)
            update.answer.set_exception(error)
        self._outbox.clear()

    def results(self) -> list[Result]:
        """Answers that are next in order; each is given once."""
        ready = []
        while self._items:
            first = self._items[0]
            if not isinstance(first, _Sent) or first.result is None:
                break
            ready.append(first.result)
            self._items.popleft()
            if self.tracks is not None:
                self.tracks.heard(first.result, first.metadata)
        return ready

    def _waiting(self) -> list[_Sent]:
        """Frames without an answer, in order."""
        return [item for item in self._items if isinstance(item, _Sent) and item.result is None]

    def _given_back(self, item: _Sent, reply: pb.FrameReply) -> bool:
        """Whether a draining daemon has not done it, or could not because of that."""
        outcome = reply.WhichOneof("outcome")
        if outcome == "dropped":
            return reply.dropped.reason == pb.Dropped.Reason.Value("REASON_DRAINING")
        frame = item.request.frame if item.request is not None else pb.Frame()
        on = frame.measure_on if frame.HasField("measure_on") else None
        return outcome == "failed" and any(held.held and held.id == on for held in self._waiting())

    def _replace(self, newer: _Sent) -> None:
        """LATEST: what waits of the same series gives way."""
        series = series_of(newer.metadata)
        for item in self._waiting():
            if not item.on_the_way and series_of(item.metadata) == series:
                if self.connected:
                    self._drop(item, "REASON_NEWER_FRAME")
                else:
                    self._drop(item, reason="disconnected")

    def _drop(self, item: _Sent, code: str = "REASON_UNSPECIFIED", reason: str | None = None) -> None:
        reply = pb.FrameReply(id=item.id, dropped=pb.Dropped(reason=code))
        self._settle(item, Result(reply, self.classes, item.metadata, reason=reason, revision=self._revision))

    def _fail(self, item: _Sent, code: str, why: str, retryable: bool = False) -> None:
        reply = pb.FrameReply(id=item.id, failed=pb.Failed(code=code, message=why, retryable=retryable))
        self._settle(item, Result(reply, self.classes, item.metadata, revision=self._revision))

    def _settle(self, item: _Sent, result: Result) -> None:
        if item in self._outbox:
            self._outbox.remove(item)
        if item.request is not None:
            self._release(item.request.frame)
        item.result, item.request = result, None
        outcome = result.outcome
        setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)


def _out_of_sight(reply: pb.FrameReply) -> bool:
    """Whether the daemon does not know the region any more, or somebody has cut it off."""
    failed = reply.failed
    here = failed.code == pb.Failed.Code.Value("CODE_INVALID_FRAME") and "register it" in failed.message
    return reply.WhichOneof("outcome") == "failed" and here
