"""Just enough HTTP/2 to misbehave with: frames made by hand, so that thousands of clients cost next to nothing."""

import socket
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from contract import pb

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, CONTINUATION = 0, 1, 4, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers(path: str = "/cellseg.v1.Segmenter/Stream", authority: str = "localhost") -> bytes:
    """Literal fields, neither indexed nor Huffman coded."""
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    literal = lambda text: bytes([len(text)]) + text.encode()
    return b"".join(b"\0" + literal(name) + literal(value) for name, value in fields)


def message(stream: int, request: pb.StreamRequest, flags: int = 0) -> bytes:
    """A gRPC message in DATA frames of at most 16 KiB."""
    body = request.SerializeToString()
    body = b"\0" + struct.pack(">I", len(body)) + body
    pieces = [body[at : at + 16384] for at in range(0, len(body), 16384)]
    return b"".join(frame(DATA, flags if piece is pieces[-1] else 0, stream, piece) for piece in pieces)


def hello() -> bytes:
    return PREFACE + frame(SETTINGS, 0, 0)


def opening(stream: int = 1, **options) -> bytes:
    """A stream and its first message."""
    open = pb.StreamRequest(open=pb.SessionOptions(**options))
    return frame(HEADERS, END_HEADERS, stream, headers()) + message(stream, open)


def small_frame(id: int, side: int = 64) -> pb.StreamRequest:
    pixels = pb.RawPixels(format=pb.PIXEL_FORMAT_MONO8, width=side, height=side, data=bytes(side * side))
    return pb.StreamRequest(frame=pb.Frame(id=id, raw=pixels))


def connect(address: str, timeout_s: float = 5) -> socket.socket:
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=timeout_s)


def reset(wire: socket.socket):
    """Closes without a goodbye."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()
