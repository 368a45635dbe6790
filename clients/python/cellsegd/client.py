"""A daemon, or several that stand in for one another."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import numpy.typing as npt

from cellsegd import contract as pb
from cellsegd.address import Address, Credentials
from cellsegd.errors import Error, Unavailable
from cellsegd.feed import Feed
from cellsegd.frame import Frame, as_frame
from cellsegd.link import Line
from cellsegd.metadata import Metadata
from cellsegd.options import Options, merged
from cellsegd.result import Result
from cellsegd.session import Session

File = str | os.PathLike[str]
_Answer = TypeVar("_Answer")


class Client:
    """A daemon, or several that stand in for one another. Nothing is connected before the first question; may be used from several
    threads."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        token_file: File | None = None,
        ca: File | bytes | None = None,
        certificate: File | bytes | None = None,
        key: File | bytes | None = None,
        name: str = "",
        shared_memory: Literal["auto", "off"] = "auto",
        timeout_s: float = 30.0,
        urls: Sequence[str] = (),
        max_reconnect_s: float | None = 60.0,
    ) -> None:
        """`url`: unix:///PATH, http://HOST:PORT or https://HOST:PORT (tcp:// and tls:// mean the same two); `urls`: others to go to
        when it does not answer. `ca`, `certificate`, `key`: PEM files, or their bytes. `name`: what the daemon calls the sessions.
        `shared_memory`: "auto" uses it where the daemon is on this machine and offers it. `timeout_s`: for one question, and for a
        session to open. `max_reconnect_s`: how long a session tries to get a lost connection back; None: for ever."""
        if shared_memory not in ("auto", "off"):
            raise ValueError(f'shared_memory {shared_memory!r}: must be "auto" or "off"')
        self._addresses = [Address.parse(each) for each in (url, *urls)]
        self._credentials = Credentials.read(token, token_file, ca, certificate, key)
        self._name = name
        self._shared_memory = shared_memory
        self._timeout_s = timeout_s
        self._max_reconnect_s = max_reconnect_s
        self._line: Line | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The first address, as it was written."""
        return self._addresses[0].text

    def models(self) -> list[pb.Model]:
        """What a session may name; the first is the default."""
        reply: pb.ListModelsReply = self._ask("Segmenter/ListModels", pb.ListModelsRequest(), pb.ListModelsReply)
        return list(reply.models)

    def status(self) -> pb.StatusReply:
        """What the daemon is doing: its models and open sessions."""
        reply: pb.StatusReply = self._ask("Admin/Status", pb.StatusRequest(), pb.StatusReply)
        return reply

    def segment(
        self,
        image: Frame | npt.NDArray[Any] | bytes,
        options: Options | pb.SessionOptions | None = None,
        metadata: Metadata | pb.FrameMetadata | None = None,
        **fields: Any,
    ) -> Result:
        """One frame without a session of its own. `fields` are those of Options. A frame that is wrong is Refused."""
        frame = as_frame(image)
        message = frame.message()
        message.id = message.id or 1
        if metadata is not None:
            message.metadata.CopyFrom(Frame(b"", metadata=metadata).envelope().metadata)
        asked = self._options(options, fields)
        request = pb.SegmentRequest(options=asked, frame=message)
        reply: pb.SegmentReply = self._ask("Segmenter/Segment", request, pb.SegmentReply)
        by_track = asked.outputs.label_by == pb.LABEL_BY_TRACK
        return Result(reply.frame, reply.opened.model.classes, message.metadata, by_track)

    def session(
        self,
        options: Options | pb.SessionOptions | None = None,
        *,
        max_reconnect_s: float | Literal["as the client"] | None = "as the client",
        **fields: Any,
    ) -> Session:
        """Opens a session; `fields` are those of Options. `max_reconnect_s` goes before the client's."""
        return Session(
            self._addresses,
            self._credentials,
            self._options(options, fields),
            timeout_s=self._timeout_s,
            shared_memory=self._shared_memory == "auto",
            max_reconnect_s=self._max_reconnect_s if max_reconnect_s == "as the client" else max_reconnect_s,
        )

    def stream(
        self,
        frames: Iterable[Frame | npt.NDArray[Any] | bytes],
        options: Options | pb.SessionOptions | None = None,
        *,
        outputs: str | None = None,
        **fields: Any,
    ) -> Iterator[Result]:
        """Segments frames as they come, one Result each, in their order. `frames` is read in a thread of its own, so that an answer
        does not wait for the frame after it; what it raises is raised here."""
        if outputs is not None:
            fields["outputs"] = outputs
        with self.session(options, **fields) as session:
            feed = Feed(session, frames)
            try:
                yield from session.results()
            finally:
                feed.stop()
            feed.raise_failure()

    def close(self) -> None:
        """Ends the connection. Sessions that are open stay so."""
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            line.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<cellsegd.Client {self.url}>"

    def _options(self, options: Options | pb.SessionOptions | None, fields: dict[str, Any]) -> pb.SessionOptions:
        asked = merged(options, fields)
        asked.name = asked.name or self._name
        return asked

    def _ask(self, method: str, request: Any, answer: Callable[..., _Answer]) -> _Answer:
        """Of the daemon that answered last; where none is there, of each in turn."""
        failure: Error | None = None
        for _ in self._addresses:
            with self._lock:
                if self._line is None:
                    self._line = Line(self._addresses[0], self._credentials, self._timeout_s)
                line = self._line
            try:
                reply: _Answer = line.ask(method, request, answer)
                return reply
            except Unavailable as error:
                failure = failure or error
                with self._lock:
                    if self._line is line:
                        self._line = None
                        self._addresses.append(self._addresses.pop(0))
                line.close()
        raise failure or Unavailable("no address")
