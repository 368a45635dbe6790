"""Pixels where a daemon of the same machine reads them: one copy into a slot, and none through a socket.

Only on Linux, and only where the daemon offers it; everywhere else frames are sent with their pixels, without a word. Memory
without a name (memfd), passed over the daemon's memory socket, goes before a file in /dev/shm.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from cellsegd import contract as pb

_FOLDER = "/dev/shm"
# A slot costs more than it saves below that; and a client takes no more than that, all slots together.
_LEAST_BYTES, _MOST_BYTES = 1 << 16, 1 << 30
_PATIENCE_S = 5.0
_LONGEST_ANSWER = 4096


def possible() -> bool:
    """Whether this system has what it takes."""
    return sys.platform == "linux" and hasattr(os, "memfd_create")


class Memory:
    """Slots of one size. They belong to the session; each connection registers them for itself."""

    slot_bytes: int
    """Bytes of a slot."""
    byte_size: int
    """Bytes of all."""
    key: str | None
    """Of a file in /dev/shm, as shm_open takes it; None: it has no name."""
    fd: int
    """Its descriptor."""
    _map: mmap.mmap
    _free: list[int]

    def __init__(self, offer: pb.ListRegionsReply, slot_bytes: int, slots: int) -> None:
        """OSError where there is no room, or nothing is offered."""
        if sys.platform != "linux":
            raise OSError("this system has no memfd")
        self.slot_bytes, self.byte_size, self.key = slot_bytes, slot_bytes * slots, None
        if offer.socket:
            self.fd = os.memfd_create("cellsegd-client", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        elif offer.keys:
            _sweep(offer.keys[0])
            self.key = offer.keys[0].replace("*", f"{os.getpid()}-{secrets.token_hex(8)}", 1).replace("*", "")
            # The daemon runs as another user: what others may read it may.
            self.fd = os.open(_FOLDER + self.key, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        else:
            raise OSError("the daemon offers no shared memory")
        try:
            # Before it takes long: nobody else may find it without.
            if self.key is not None:
                _lock(self.fd)
            # Room is taken now: a page that cannot be had later would end this program.
            os.posix_fallocate(self.fd, 0, self.byte_size)
            if self.key is None:
                _seal(self.fd)
            else:
                os.fchmod(self.fd, 0o644)
            self._map = mmap.mmap(self.fd, self.byte_size)
        except OSError:
            self._forget()
            raise
        self._free = [slot * slot_bytes for slot in range(slots)]

    def reserve(self) -> int | None:
        """A slot, by its offset; None: all are with the daemon."""
        return self._free.pop() if self._free else None

    def release(self, offset: int) -> None:
        """The daemon has answered: the slot may be written again."""
        self._free.append(offset)

    def write(self, offset: int, pixels: npt.NDArray[Any]) -> None:
        """Copies pixels into a slot, dense and little-endian."""
        np.copyto(np.ndarray(pixels.shape, pixels.dtype.newbyteorder("<"), self._map, offset), pixels)

    def inline(self, frame: pb.Frame) -> pb.Frame:
        """The same frame with its pixels inside, for a daemon that cannot see the memory."""
        slot = frame.shared
        whole = pb.Frame()
        whole.CopyFrom(frame)
        whole.raw.CopyFrom(slot.layout)
        whole.raw.data = self._map[slot.offset : slot.offset + _bytes_of(slot.layout)]
        return whole

    def close(self) -> None:
        """Gives it back; the daemon keeps what it still reads."""
        try:
            self._map.close()
        except BufferError:
            # Somebody writes a frame at this moment: it goes with him.
            pass
        self._forget()

    def _forget(self) -> None:
        os.close(self.fd)
        if self.key is not None:
            with suppress(FileNotFoundError):
                os.unlink(_FOLDER + self.key)


def memory_for(offer: pb.ListRegionsReply | None, n_bytes: int, slots: int) -> Memory | None:
    """Memory for frames of `n_bytes`; None where it is not worth it, not offered, or there is no room."""
    slots = min(slots, _MOST_BYTES // max(1, n_bytes))
    if offer is None or n_bytes < _LEAST_BYTES or slots < 2:
        return None
    try:
        return Memory(offer, -(-n_bytes // mmap.PAGESIZE) * mmap.PAGESIZE, slots)
    except OSError:
        return None


class Passed:
    """Memory without a name that was passed to a daemon: known there as long as this is open."""

    region: str
    """What frames call it."""
    _connection: socket.socket

    def __init__(self, path: str, memory: Memory) -> None:
        """OSError or ValueError where the daemon did not take it."""
        if sys.platform == "win32":
            raise OSError("no memory is passed on Windows")
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connection.settimeout(_PATIENCE_S)
            self._connection.connect(path)
            socket.send_fds(self._connection, [b"cellsegd client\n"], [memory.fd])
            told = b""
            while not told.endswith(b"\n"):
                more = self._connection.recv(_LONGEST_ANSWER)
                if not more or len(told) > _LONGEST_ANSWER:
                    raise ValueError("the memory socket gave no answer")
                told += more
            answer = json.loads(told)
            if "region" not in answer:
                raise ValueError(str(answer.get("error", "no region")))
            self.region = str(answer["region"])
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """The daemon forgets it."""
        self._connection.close()


@contextmanager
def falling_back() -> Iterator[None]:
    """What goes wrong with shared memory is no error: pixels are sent."""
    try:
        yield
    except (OSError, ValueError):
        pass


def _bytes_of(layout: pb.RawPixels) -> int:
    samples = {
        pb.PIXEL_FORMAT_MONO8: 1, pb.PIXEL_FORMAT_RGB8: 3, pb.PIXEL_FORMAT_BGR8: 3, pb.PIXEL_FORMAT_RGBA8: 4,
        pb.PIXEL_FORMAT_BGRA8: 4, pb.PIXEL_FORMAT_RGB16: 6,
    }  # fmt: skip
    return layout.width * layout.height * samples.get(layout.format, 2)


def _sweep(pattern: str) -> None:
    """Removes what programs of this user left that were killed: files of the names above whose process is gone."""
    first, star, last = pattern.partition("*")
    name = re.compile(re.escape(first) + "([0-9]+)-[0-9a-f]{16}" + re.escape(last.replace("*", "")))
    for file in os.listdir(_FOLDER) if star else []:
        found = name.fullmatch("/" + file)
        if found and not _runs(int(found[1])):
            # Others' files, and those that somebody else has removed by now.
            with suppress(OSError):
                _remove(os.path.join(_FOLDER, file))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _remove(path: str) -> None:
    """OSError where it is not ours, or in use: a process of another container has its number there, and its lock here."""
    if sys.platform == "linux":
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_uid == os.geteuid():
                _lock(fd)
                os.unlink(path)
        finally:
            os.close(fd)


def _lock(fd: int) -> None:
    """As long as this is open nobody else may take it for left behind. OSError where somebody else has the lock."""
    if sys.platform == "linux":
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _seal(fd: int) -> None:
    """Nobody can cut it off while it is read."""
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
