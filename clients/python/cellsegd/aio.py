"""The same for asyncio. Nothing here waits in the event loop's thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from concurrent.futures import Future
from typing import Any

import numpy.typing as npt

from cellsegd import contract as pb
from cellsegd.client import Client
from cellsegd.frame import Frame
from cellsegd.metadata import Metadata
from cellsegd.options import Options
from cellsegd.result import Result
from cellsegd.session import Closed, Session

AnyFrame = Frame | npt.NDArray[Any] | bytes


class AsyncSession:
    """A Session whose waits are awaited. To be used from the event loop in which it was made."""

    def __init__(self, session: Session) -> None:
        self.session = session
        """The session underneath."""
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        session.on_change(self._wake)

    @property
    def opened(self) -> pb.SessionOpened:
        """What the session got."""
        return self.session.opened

    async def submit(self, frame: AnyFrame) -> int:
        """Hands a frame over and gives its id; LOSSLESS waits while the window is full."""
        while True:
            self._news.clear()
            frame_id = self.session.try_submit(frame)
            if frame_id is not None:
                return frame_id
            await self._news.wait()

    async def results(self) -> AsyncIterator[Result]:
        """Answers as they come, until the session is closed and all are read."""
        while True:
            self._news.clear()
            result = self.session.poll()
            if result is not None:
                yield result
            elif self.session.over:
                if self.session.error is not None:
                    raise self.session.error
                return
            else:
                await self._news.wait()

    def update(self, changes: pb.SessionUpdate | None = None, **fields: Any) -> asyncio.Future[int]:
        """New settings for the frames submitted after it; the future gives their revision."""
        future: Future[int] = self.session.update(changes, **fields)
        return asyncio.wrap_future(future)

    def cancel(self, frame_id: int) -> None:
        """A frame that is no longer wanted."""
        self.session.cancel(frame_id)

    def half_close(self) -> None:
        """No more frames."""
        self.session.half_close()

    async def close(self, timeout_s: float | None = None) -> Closed:
        """No more frames: waits for the answers still out, which stay to be read."""
        return await asyncio.to_thread(self.session.close, timeout_s)

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(self, failure: object, *_: object) -> None:
        if failure is None:
            await self.close()
        else:
            await asyncio.to_thread(self.session.abort)

    def _wake(self) -> None:
        # Two waiters share the event: `clear` comes before each look, so that no news is missed.
        # RuntimeError: the loop was closed, at whatever moment.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.set)


class AsyncClient:
    """A Client whose questions are awaited. Takes what Client takes."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.client = Client(url, **settings)
        """The client underneath."""

    async def models(self) -> list[pb.Model]:
        """What a session may name; the first is the default."""
        return await asyncio.to_thread(self.client.models)

    async def status(self) -> pb.StatusReply:
        """What the daemon is doing: its models and open sessions."""
        return await asyncio.to_thread(self.client.status)

    async def segment(
        self,
        image: AnyFrame,
        options: Options | pb.SessionOptions | None = None,
        metadata: Metadata | pb.FrameMetadata | None = None,
        **fields: Any,
    ) -> Result:
        """One frame without a session of its own."""
        return await asyncio.to_thread(self.client.segment, image, options, metadata, **fields)

    async def session(self, options: Options | pb.SessionOptions | None = None, **fields: Any) -> AsyncSession:
        """Opens a session: `async with await client.session() as session`."""
        return AsyncSession(await asyncio.to_thread(self.client.session, options, **fields))

    async def stream(
        self,
        frames: AsyncIterable[AnyFrame] | Iterable[AnyFrame],
        options: Options | pb.SessionOptions | None = None,
        *,
        outputs: str | None = None,
        **fields: Any,
    ) -> AsyncIterator[Result]:
        """Segments frames as they come, one Result each, in their order."""
        if outputs is not None:
            fields["outputs"] = outputs
        session = await self.session(options, **fields)
        async with session:
            feeding = asyncio.create_task(_feed(session, frames))
            try:
                async for result in session.results():
                    yield result
                await feeding
            finally:
                feeding.cancel()

    async def close(self) -> None:
        """Ends the connection."""
        await asyncio.to_thread(self.client.close)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _feed(session: AsyncSession, frames: AsyncIterable[AnyFrame] | Iterable[AnyFrame]) -> None:
    try:
        if isinstance(frames, AsyncIterable):
            async for frame in frames:
                await session.submit(frame)
        else:
            for frame in frames:
                await session.submit(frame)
                # Others get their turn even where nothing was waited for.
                await asyncio.sleep(0)
    finally:
        session.half_close()
