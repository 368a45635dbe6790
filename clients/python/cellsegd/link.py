"""One connection to one daemon, and one stream on it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from cellsegd import contract as pb
from cellsegd.address import Address, Credentials, open_channel
from cellsegd.errors import Error, Refused, Unavailable
from cellsegd.shared_memory import Memory, Passed, falling_back, possible

_SERVICE = "/cellseg.v1.Segmenter/"
_ADMIN = "/cellseg.v1.Admin/"
_MEMORY = "/cellseg.v1.SharedMemory/"
# A daemon on this machine says in no time whether it offers shared memory.
_OFFER_S = 5.0
# Of these another daemon, or the same one a little later, may answer otherwise.
_PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
}
# For a region to be forgotten: a daemon that is busy or gone keeps nobody waiting.
_FORGET_S = 1.0
# grpcio's close may wait for good after a failed TLS handshake.
_CLOSE_S = 5.0


def error_of(address: Address, failure: grpc.RpcError) -> Error:
    """A status as this package's error."""
    code, details = failure.code(), failure.details() or "without a word"
    if code == grpc.StatusCode.UNAVAILABLE and "failed to connect" in details.lower():
        hint = "is the daemon running? start one with: cellsegd serve"
        if address.tls:
            hint = "is the daemon running, and does `ca` vouch for its certificate?"
        return Unavailable(f"no daemon answers at {address.text}: {hint} ({details})")
    kind = Unavailable if code in _PASSING else Refused
    return kind(f"{address.text}: {details} ({code.name})", code.name)


def close(channel: grpc.Channel) -> None:
    """Closes a channel, and waits for that no longer than a moment."""
    closing = threading.Thread(target=channel.close, name="cellsegd-close", daemon=True)
    closing.start()
    closing.join(_CLOSE_S)


def _ask(channel: grpc.Channel, method: str, request: Any, answer: Any, timeout_s: float, metadata: Any) -> Any:
    service, _, name = method.partition("/")
    prefix = {"Admin": _ADMIN, "SharedMemory": _MEMORY}.get(service, _SERVICE)
    call = channel.unary_unary(
        prefix + name, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
    )
    return call(request, timeout=timeout_s, metadata=metadata)


class Line:
    """A connection for questions that have one answer."""

    def __init__(self, address: Address, credentials: Credentials, timeout_s: float) -> None:
        self.address = address
        self._channel = open_channel(address, credentials)
        self._metadata = credentials.metadata()
        self._timeout_s = timeout_s

    def ask(self, method: str, request: Any, answer: Any, timeout_s: float | None = None) -> Any:
        """Calls `Segmenter/...` or `Admin/...`."""
        try:
            return _ask(self._channel, method, request, answer, timeout_s or self._timeout_s, self._metadata)
        except grpc.RpcError as failure:
            raise error_of(self.address, failure) from None

    def close(self) -> None:
        """Ends it."""
        close(self._channel)


class Link:
    """A stream that is open. `requests` is asked for the next message whenever the last one has been taken by the transport; it may
    wait, and ends the sending with None."""

    def __init__(
        self,
        address: Address,
        credentials: Credentials,
        options: pb.SessionOptions,
        requests: Callable[[Link], pb.StreamRequest | None],
        timeout_s: float,
        shared_memory: bool = False,
    ) -> None:
        self.address = address
        self.offer: pb.ListRegionsReply | None = None
        """What shared memory the daemon takes; None: none."""
        self._metadata = credentials.metadata()
        self._passed: Passed | None = None
        self._region: str | None = None
        self._registered: str | None = None
        self._asked = False
        self.over = False
        """Set when nothing more may be sent on it."""
        self._requests = requests
        self._channel = open_channel(address, credentials)
        stream = self._channel.stream_stream(
            _SERVICE + "Stream",
            request_serializer=pb.StreamRequest.SerializeToString,
            response_deserializer=pb.StreamReply.FromString,
        )
        self._call = stream(self._sending(options), metadata=self._metadata)
        patience = threading.Timer(timeout_s, self._call.cancel)
        patience.daemon = True
        patience.start()
        try:
            reply = next(self._call)
        except StopIteration:
            self.close()
            raise Unavailable(f"{address.text} ended the stream before it opened: is it cellsegd?") from None
        except grpc.RpcError as failure:
            self.close()
            if failure.code() == grpc.StatusCode.CANCELLED:
                raise Unavailable(f"{address.text} did not open a session within {timeout_s:g} s") from None
            raise error_of(address, failure) from None
        finally:
            patience.cancel()
        if reply.WhichOneof("reply") != "opened":
            self.close()
            raise Refused(f"{address.text} answered the opening of a session with something else: is it cellsegd?")
        self.opened: pb.SessionOpened = reply.opened
        """What the session got."""
        if shared_memory and address.local and possible():
            self.offer = self._offered()

    def region(self, memory: Memory) -> str | None:
        """What frames call this memory on this connection; None: the daemon does not take it. Asks the daemon once."""
        if not self._asked and self.offer is not None:
            self._asked = True
            with falling_back():
                if memory.key is None and self.offer.socket:
                    self._passed = Passed(self.offer.socket, memory)
                    self._region = self._passed.region
                elif memory.key is not None:
                    self._region = self._register(memory.key, memory.byte_size)
        return self._region

    @property
    def shares_memory(self) -> bool:
        """Whether frames go through shared memory, as far as any were sent."""
        return self._region is not None

    def _offered(self) -> pb.ListRegionsReply | None:
        try:
            offer = _ask(
                self._channel, "SharedMemory/ListRegions", pb.ListRegionsRequest(), pb.ListRegionsReply, _OFFER_S, self._metadata
            )
        except grpc.RpcError:
            return None
        return offer if offer.socket or offer.keys else None

    def _register(self, key: str, byte_size: int) -> str | None:
        name = f"cellsegd-client-{os.getpid()}-{id(self)}"
        request = pb.RegisterRegion(name=name, key=key, byte_size=byte_size)
        # Before it is answered: a daemon that answers too late has it, too.
        self._registered = name
        try:
            return str(_ask(self._channel, "SharedMemory/Register", request, pb.MemoryRegion, _OFFER_S, self._metadata).name)
        except grpc.RpcError:
            return None

    def _unregister(self) -> None:
        """The daemon keeps a region for as long as its caller has any connection: this one may not be the last."""
        name, self._registered = self._registered, None
        if name is not None:
            request = pb.UnregisterRegion(name=name)
            # ValueError: the channel is closed.
            with contextlib.suppress(grpc.RpcError, ValueError):
                _ask(self._channel, "SharedMemory/Unregister", request, pb.UnregisterReply, _FORGET_S, self._metadata)

    def replies(self) -> Iterator[pb.StreamReply]:
        """To the end of the stream; Refused or Unavailable where it ends with an error."""
        try:
            yield from self._call
        except grpc.RpcError as failure:
            raise error_of(self.address, failure) from None

    def close(self) -> None:
        """Ends it at once."""
        self.over = True
        self._call.cancel()
        if self._passed is not None:
            self._passed.close()
        self._unregister()
        close(self._channel)

    def _sending(self, options: pb.SessionOptions) -> Iterator[pb.StreamRequest]:
        yield pb.StreamRequest(open=options)
        while (request := self._requests(self)) is not None:
            yield request
