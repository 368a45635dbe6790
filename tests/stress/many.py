"""Many sessions of one process, each frame answered once and in order: every pixel format, both deliveries, raw and as files.

`python many.py ADDRESS SESSIONS SECONDS` prints what became of them.
"""

import asyncio
import sys
import time

import cv2
import grpc
import numpy as np
from h2 import pb
from contract import rpc

FORMATS = [
    (pb.PIXEL_FORMAT_MONO8, 1),
    (pb.PIXEL_FORMAT_MONO10, 2),
    (pb.PIXEL_FORMAT_MONO12, 2),
    (pb.PIXEL_FORMAT_MONO14, 2),
    (pb.PIXEL_FORMAT_MONO16, 2),
    (pb.PIXEL_FORMAT_RGB8, 3),
    (pb.PIXEL_FORMAT_BGR8, 3),
    (pb.PIXEL_FORMAT_RGBA8, 4),
    (pb.PIXEL_FORMAT_BGRA8, 4),
]
MASKS = [pb.MASK_ENCODING_COCO_RLE, pb.MASK_ENCODING_BITS, pb.MASK_ENCODING_RINGS, pb.MASK_ENCODING_NONE]
# All sessions together, so that neither this process nor the lanes are what is measured.
FRAMES_A_SECOND = 250


def pixels(n: int) -> dict:
    """Session `n`'s kind of frame; one in ten sends PNG files."""
    side = 64 + 8 * (n % 20)
    if n % 10 == 9:
        image = np.full((side, side), 1000, np.uint16)
        return {"encoded": pb.EncodedImage(data=cv2.imencode(".png", image)[1].tobytes())}
    format, bytes_per_pixel = FORMATS[n % len(FORMATS)]
    return {"raw": pb.RawPixels(format=format, width=side, height=side, data=bytes(side * side * bytes_per_pixel))}


async def session(stub, n: int, n_sessions: int, seconds: float, latencies: list) -> tuple[int, int]:
    """Frames segmented and frames dropped by policy."""
    latest = n % 4 == 3
    call = stub.Stream()
    options = pb.SessionOptions(
        name=f"{n}",
        outputs=pb.Outputs(masks=MASKS[n % len(MASKS)]),
        delivery=pb.DELIVERY_LATEST if latest else pb.DELIVERY_LOSSLESS,
    )
    await call.write(pb.StreamRequest(open=options))
    assert (await call.read()).WhichOneof("reply") == "opened"
    content, sent_at, segmented, dropped = pixels(n), {}, 0, 0

    async def send():
        pace = n_sessions / FRAMES_A_SECOND
        turn = time.monotonic() + pace * n / n_sessions
        until = time.monotonic() + seconds
        id = 0
        while time.monotonic() < until:
            await asyncio.sleep(max(0.0, turn - time.monotonic()))
            turn = max(turn + pace, time.monotonic())
            sent_at[id] = time.monotonic()
            await call.write(pb.StreamRequest(frame=pb.Frame(id=id, **content)))
            id += 1
        await call.done_writing()

    sending = asyncio.create_task(send())
    expected = 0
    while (reply := await call.read()) is not grpc.aio.EOF:
        if reply.WhichOneof("reply") == "closed":
            break
        assert reply.frame.id == expected, f"session {n}: {reply.frame.id} answered, {expected} is next"
        outcome = reply.frame.WhichOneof("outcome")
        assert outcome == "segmentation" or outcome == "dropped" and latest, reply
        segmented += outcome == "segmentation"
        dropped += outcome == "dropped"
        latencies.append(1e3 * (time.monotonic() - sent_at.pop(expected)))
        expected += 1
    await sending
    assert not sent_at, f"session {n}: {len(sent_at)} frames were not answered"
    assert reply.closed.frames == expected == segmented + dropped
    return segmented, dropped


async def sessions(address: str, n_sessions: int, seconds: float) -> str:
    latencies: list[float] = []
    options = [("grpc.use_local_subchannel_pool", 1)]
    # Four streams a connection, as the daemon allows by default.
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range((n_sessions + 3) // 4)]
    stubs = [rpc.SegmenterStub(channel) for channel in channels]
    counts = await asyncio.gather(
        *(session(stubs[n // 4], n, n_sessions, seconds, latencies) for n in range(n_sessions))
    )
    for channel in channels:
        await channel.close()
    latencies.sort()
    at = lambda q: latencies[int(q * (len(latencies) - 1))]
    segmented, dropped = (sum(column) for column in zip(*counts))
    return (
        f"{segmented + dropped} frames, each answered once and in order ({dropped} dropped by LATEST); "
        f"{at(0.5):.1f} / {at(0.99):.1f} ms p50 / p99"
    )


if __name__ == "__main__":
    print(asyncio.run(sessions(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
