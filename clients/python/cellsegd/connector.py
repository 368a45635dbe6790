"""Daemons that stand in for one another: the one that answers is the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cellsegd import contract as pb
from cellsegd.address import Address, Credentials
from cellsegd.errors import Error, Refused, Unavailable
from cellsegd.link import Link


class Connector:
    """Opens streams."""

    def __init__(
        self,
        addresses: Sequence[Address],
        credentials: Credentials,
        requests: Callable[[Link], pb.StreamRequest | None],
        timeout_s: float,
    ) -> None:
        self._addresses = list(addresses)
        self._credentials = credentials
        self._requests = requests
        self._timeout_s = timeout_s

    def open(self, options: pb.SessionOptions, shared_memory: bool, wanted: Callable[[], bool] = lambda: True) -> Link:
        """Tries every address once, that of the last connection first. Unavailable where another try may help, Refused where every
        daemon refuses; `wanted` is asked before each."""
        refused: Error | None = None
        unavailable: Error | None = None
        for _ in self._addresses:
            if not wanted():
                break
            try:
                return Link(self._addresses[0], self._credentials, options, self._requests, self._timeout_s, shared_memory)
            except Refused as error:
                refused = refused or error
            except Unavailable as error:
                unavailable = unavailable or error
            self._addresses.append(self._addresses.pop(0))
        raise unavailable or refused or Unavailable("not wanted any more")
