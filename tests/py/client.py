"""A client that drives one stream by hand, and what it makes of replies."""

import queue
import zlib

import cv2
import grpc
import lz4.frame
import numpy as np
from contract import pb
from daemon import Daemon
from pycocotools import mask as coco

# Every wait in the tests ends.
TIMEOUT_S = 120


class Session:
    """One stream. Nothing is sent or received but what a test says."""

    def __init__(
        self,
        daemon: Daemon,
        options: pb.SessionOptions | None = None,
        target: str | None = None,
        timeout_s: float = TIMEOUT_S,
        **fields,
    ):
        self._channel = daemon.channel(target)
        self._requests = queue.SimpleQueue()
        self.call = daemon.stub(self._channel).Stream(iter(self._requests.get, None), timeout=timeout_s)
        self.opened = None
        if options is not None or fields:
            self.send(open=options or pb.SessionOptions(**fields))
            self.opened = self.receive("opened")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.vanish()

    def send(self, **request):
        self._requests.put(pb.StreamRequest(**request))

    def send_frame(self, frame: pb.Frame):
        self.send(frame=frame)

    def half_close(self):
        self._requests.put(None)

    def receive(self, kind: str):
        """The next message, which must be of `kind`."""
        reply = next(self.call)
        assert reply.WhichOneof("reply") == kind, f"expected {kind}, got {reply}"
        return getattr(reply, kind)

    def segment(self, frame: pb.Frame) -> pb.FrameReply:
        """Sends one frame and waits for its answer, which must have cells or none, but no failure."""
        self.send_frame(frame)
        reply = self.receive("frame")
        assert reply.id == frame.id
        assert reply.WhichOneof("outcome") == "segmentation", reply
        return reply

    def close(self) -> pb.SessionClosed:
        """Half-closes and reads to the end, which must be OK. Replies still on their way must have been received."""
        self.half_close()
        closed = self.receive("closed")
        assert next(self.call, None) is None
        assert self.call.code() == grpc.StatusCode.OK
        return closed

    def error(self) -> tuple[grpc.StatusCode, str]:
        """Reads until the stream ends, which must be with an error."""
        try:
            for _ in self.call:
                pass
        except grpc.RpcError as error:
            return error.code(), error.details()
        raise AssertionError("the stream ended with OK")

    def vanish(self):
        """Goes away without a word."""
        self._requests.put(None)
        self.call.cancel()
        self._channel.close()


def tiny_options(**fields) -> pb.SessionOptions:
    """The tiny model, which takes a millisecond a frame, with thresholds at which it finds discs."""
    full = pb.Normalization(full_range=pb.Normalization.FullRange())
    defaults = {"model": "tiny", "normalization": full, "thresholds": pb.Thresholds(confidence=0.3, iou=0.5)}
    return pb.SessionOptions(**(defaults | fields))


def raw(image: np.ndarray, id: int = 1, frame: dict | None = None, **layout) -> pb.Frame:
    """`image` as a controller sends it: uint8 and uint16, mono or RGB; `layout` overrides RawPixels' fields."""
    formats = {
        (2, "uint8"): pb.PIXEL_FORMAT_MONO8,
        (2, "uint16"): pb.PIXEL_FORMAT_MONO16,
        (3, "uint8"): pb.PIXEL_FORMAT_RGB8,
        (3, "uint16"): pb.PIXEL_FORMAT_RGB16,
    }
    fields = {
        "format": formats[image.ndim, image.dtype.name],
        "width": image.shape[1],
        "height": image.shape[0],
        "data": np.ascontiguousarray(image).tobytes(),
    }
    return pb.Frame(id=id, raw=pb.RawPixels(**(fields | layout)), **(frame or {}))


def encoded(data: bytes, id: int = 1, page: int = 0, **frame) -> pb.Frame:
    """An image file as a frame."""
    return pb.Frame(id=id, encoded=pb.EncodedImage(data=data, page=page), **frame)


def png(image: np.ndarray) -> bytes:
    """8 or 16 bit; RGB as the contract counts channels."""
    ok, data = cv2.imencode(".png", image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert ok
    return data.tobytes()


def corners(ring: pb.Ring) -> np.ndarray:
    """Absolute corners [n, 2] of a ring on the wire."""
    return np.cumsum(np.array(ring.xy_delta, dtype=np.int64).reshape(-1, 2), axis=0)


def fill_rings(rings, width: int, height: int) -> np.ndarray:
    """The pixels inside closed lines of corners [n, 2] along pixel edges, by the parity of vertical edges to their left."""
    inside = np.zeros((height, width), dtype=bool)
    for ring in rings:
        for (x, y), (to_x, to_y) in zip(ring, np.roll(ring, -1, axis=0)):
            assert (x == to_x) != (y == to_y), "an edge runs along one axis and has a length"
            inside[min(y, to_y) : max(y, to_y), x:] ^= True
    return inside


def pixels(instance: pb.Instance, width: int, height: int) -> np.ndarray:
    """An instance's mask as a full-size boolean image, whatever its encoding."""
    kind = instance.WhichOneof("mask")
    if kind == "rle":
        return coco.decode({"size": [height, width], "counts": instance.rle.counts}).astype(bool)
    if kind == "rings":
        return fill_rings([corners(ring) for ring in instance.rings.rings], width, height)
    assert kind == "bits", kind
    bits = instance.bits
    assert bits.row_bytes % 4 == 0 and bits.row_bytes * 8 >= bits.width
    rows = np.frombuffer(bits.bits, np.uint8).reshape(bits.height, bits.row_bytes)
    unpacked = np.unpackbits(rows, axis=1, bitorder="little")
    assert not unpacked[:, bits.width :].any(), "padding bits are zero"
    image = np.zeros((height, width), dtype=bool)
    image[bits.y : bits.y + bits.height, bits.x : bits.x + bits.width] = unpacked[:, : bits.width]
    return image


def labels(segmentation: pb.Segmentation) -> np.ndarray:
    """The label image of a reply."""
    image = segmentation.label_image
    unpack = {
        pb.COMPRESSION_NONE: bytes,
        pb.COMPRESSION_ZLIB: zlib.decompress,
        pb.COMPRESSION_LZ4: lz4.frame.decompress,
    }
    data = unpack[image.compression](image.data)
    dtype = {2: "<u2", 4: "<u4"}[image.bytes_per_pixel]
    return np.frombuffer(data, dtype).reshape(segmentation.height, segmentation.width)


def cells(reply: pb.FrameReply) -> list[tuple]:
    """What two replies must share to be about the same cells, to the bit."""
    return [(i.label, i.class_index, i.score, i.rle.counts) for i in reply.segmentation.instances]


def failure_of(reply: pb.FrameReply) -> str:
    """Why a frame failed, which it must have."""
    assert reply.WhichOneof("outcome") == "failed", reply
    return reply.failed.message


def notices(reply: pb.FrameReply) -> set[str]:
    return {pb.Notice.Code.Name(notice.code).removeprefix("CODE_") for notice in reply.notices}


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
