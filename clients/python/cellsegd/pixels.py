"""The pixels of a session's frames: in slots of shared memory where there is any, else in the messages."""

from __future__ import annotations

import threading

import numpy as np

from cellsegd import contract as pb
from cellsegd.frame import Frame
from cellsegd.link import Link
from cellsegd.shared_memory import Memory, memory_for


class Pixels:
    """Puts them where the daemon reads them. May be used from several threads."""

    def __init__(self, allowed: bool) -> None:
        self.allowed = allowed
        """False: every frame carries its pixels from now on."""
        self._memory: Memory | None = None
        self._lock = threading.Lock()

    def request(self, frame: Frame, offer: pb.ListRegionsReply | None, slots: int) -> pb.StreamRequest:
        """What is sent of a frame; its slot is kept until `release`. `offer`: what the daemon takes; `slots`: how many."""
        request = pb.StreamRequest()
        if not isinstance(frame.pixels, np.ndarray):
            frame.message(request.frame)
            return request
        # Checked before anything is taken.
        pixels = frame.checked()
        layout = frame.layout(pixels)
        frame.envelope(request.frame)
        with self._lock:
            if self._memory is None and self.allowed:
                self._memory = memory_for(offer, pixels.nbytes, slots)
                # Asked once: the frames of a session are of one size.
                self.allowed = self._memory is not None or offer is None
            memory = self._memory if self.allowed else None
            offset = memory.reserve() if memory is not None and pixels.nbytes <= memory.slot_bytes else None
        if memory is None or offset is None:
            # Filled in place: a message that is put into another is copied, pixels and all.
            frame.message(request.frame)
            return request
        # Copied without the lock.
        memory.write(offset, pixels)
        request.frame.shared.CopyFrom(pb.SharedSlot(offset=offset, layout=layout))
        return request

    def release(self, message: pb.Frame) -> None:
        """The frame is answered, or was never taken."""
        with self._lock:
            if self._memory is not None and message.HasField("shared"):
                self._memory.release(message.shared.offset)

    def over(self, request: pb.StreamRequest, link: Link) -> pb.StreamRequest | None:
        """What is sent over this connection: the slot by the name that the daemon gave the memory, or the pixels. None: it is all
        over."""
        memory = self._memory
        if not request.frame.HasField("shared"):
            return request
        region = link.region(memory) if memory is not None else None
        with self._lock:
            if self._memory is None:
                return None
            if region is None:
                return pb.StreamRequest(frame=self._memory.inline(request.frame))
            request.frame.shared.region = region
            return request

    def close(self) -> None:
        """Gives the memory back."""
        with self._lock:
            memory, self._memory, self.allowed = self._memory, None, False
        if memory is not None:
            memory.close()
