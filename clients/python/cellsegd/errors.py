"""What can go wrong, by what the caller can do about it. A bad frame is no error: its Result says so."""

from __future__ import annotations

from collections.abc import Sequence


class Error(Exception):
    """Everything that this package raises of its own."""


class Refused(Error):
    """The daemon understood and said no: trying again does not help, another setting, token or model may.

    `code` is gRPC's name of the status ("NOT_FOUND"), or "" where the client itself found the mistake.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Unavailable(Error):
    """No daemon answers at any of the addresses, or none has room: it may help to try again later."""

    def __init__(self, message: str, code: str = "UNAVAILABLE") -> None:
        super().__init__(message)
        self.code = code


class Disconnected(Unavailable):
    """The connection was lost and did not come back in time. `unanswered` are the ids of the frames that had no answer."""

    def __init__(self, message: str, unanswered: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.unanswered = tuple(unanswered)


class FrameError(Error):
    """One frame was dropped or failed, and `Result.raise_for_outcome` was asked. `frame_id` is its id."""

    def __init__(self, message: str, frame_id: int) -> None:
        super().__init__(message)
        self.frame_id = frame_id
