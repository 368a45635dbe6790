"""A client without a daemon, that answers when it is told to."""

import threading

from cellsegd import contract
from cellsegd.errors import Disconnected
from cellsegd.result import Result


class FakeSession:
    """Takes frames into a window; `answer` and `lose` say what becomes of them."""

    def __init__(self, options, window=4):
        self.options = options
        self.opened = contract.SessionOpened(window=window)
        self.connected = True
        self.window = window
        self.submitted = []
        self._in_flight = []
        self._results = []
        self._changed = threading.Condition()
        self._closing = self._aborted = False
        self.automatic = True

    def submit(self, frame):
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or len(self._in_flight) < self.window)
            if self._aborted:
                raise Disconnected("aborted")
            self.submitted.append(frame)
            self._in_flight.append(frame)
            if self.automatic:
                self._answer()
            self._changed.notify_all()
        return frame.id

    def _answer(self):
        frame = self._in_flight.pop(0)
        if frame.measure_on is None:
            reply = contract.FrameReply(id=frame.id, segmentation=contract.Segmentation(width=1, height=1))
        else:
            reply = contract.FrameReply(id=frame.id, measured=contract.Measured(measured_on=frame.measure_on))
        self._results.append(Result(reply, metadata=frame.metadata))

    def answer(self, n=1):
        with self._changed:
            for _ in range(n):
                self._answer()
            self._changed.notify_all()

    def wait_for(self, n):
        """Until so many frames were submitted."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.submitted) >= n, 10)

    def results(self):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._results or self._aborted or (self._closing and not self._in_flight))
                if not self._results:
                    if self._in_flight:
                        raise Disconnected("aborted")
                    return
                result = self._results.pop(0)
            yield result

    def close(self):
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._aborted or not self._in_flight)

    def abort(self, why="aborted"):
        with self._changed:
            self._aborted = True
            for frame in self._in_flight:
                reply = contract.FrameReply(id=frame.id, failed=contract.Failed(message=why))
                self._results.append(Result(reply, metadata=frame.metadata))
            self._in_flight.clear()
            self._changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class FakeClient:
    """Remembers its sessions; `ready` is what each new one is made by."""

    def __init__(self, ready=lambda session: None, refuse=()):
        self.sessions = []
        self.ready = ready
        self.refuse = list(refuse)

    def session(self, options, **_):
        if self.refuse:
            raise self.refuse.pop(0)
        session = FakeSession(options)
        self.ready(session)
        self.sessions.append(session)
        return session
