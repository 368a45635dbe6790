"""Writes fuzz/corpus: a few small inputs of each kind, from which fuzzing starts. Run with .venv/bin/python from the root.

What fuzzing finds later is put into fuzz/regressions by hand, one file each.
"""

import io
import json
import random
import struct
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/py"))

import cv2
import lz4.frame
import numpy as np
import tifffile
from contract import pb
from google.protobuf.duration_pb2 import Duration
from models import tiny
from PIL import Image
from pycocotools import mask as coco

CORPUS = ROOT / "fuzz/corpus"


def write(target: str, name: str, data: bytes):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def crop() -> np.ndarray:
    """24 x 18 pixels with cells, 16 bit."""
    return cv2.imread(str(ROOT / "demo/t01.png"), cv2.IMREAD_UNCHANGED)[400:418, 400:424]


def frames():
    # Format, width, height, kind of stride, bits, normalisation...: fuzz/src/frames.rs.
    for format in range(14):
        policy = bytes([2, 3, 252, 0]) + bytes(8) if format % 2 else bytes([0])
        write("frame", f"format-{format}", bytes([format, 7, 5, 2, 0]) + policy + bytes([1, 1]) + bytes(range(64)))
    write("frame", "stride", bytes([4, 6, 4, 1, 5, 12, 0, 1, 1]) + bytes(range(80)))
    window = bytes([1]) + struct.pack("<dd", 100.0, 3000.0)
    write("frame", "window", bytes([4, 9, 9, 2, 0]) + window + bytes([1, 1]) + bytes(range(99)))
    write("frame", "huge", bytes([8, 255]) + b"\xff" * 4 + bytes([255]) + b"\xff" * 4 + bytes(16))


def images():
    image = crop()
    grey = (image >> 8).astype(np.uint8)
    colour = np.dstack([grey, grey.T.reshape(grey.shape), grey])
    for name, pixels, options in [("mono16", image, []), ("mono8", grey, []), ("rgb8", colour, [])]:
        write("image", f"{name}.png", cv2.imencode(".png", pixels, options)[1].tobytes())
    for name, kind, pixels in [("grey", "JPEG", grey), ("colour", "JPEG", colour)]:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind, quality=60)
        write("image", f"{name}.jpg", buffer.getvalue())
    for name, pixels, options in [
        ("plain", image, {}),
        ("deflate", image, {"compression": "zlib"}),
        ("lzw", image, {"compression": "lzw", "predictor": True}),
        ("tiles", image, {"tile": (16, 16)}),
        ("two-pages", np.stack([image, image]), {"photometric": "minisblack"}),
        ("big", grey, {"bigtiff": True}),
    ]:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        write("image", f"{name}.tif", buffer.getvalue())
    # A kilobyte that says it is 60,000 x 60,000 pixels.
    bomb = bytearray(cv2.imencode(".png", np.zeros((64, 64), np.uint8))[1].tobytes())
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    write("image", "bomb.png", bytes(bomb))


def compressed():
    # Kind, format, width, height, stride: fuzz/src/frames.rs.
    pixels = bytes(range(64)) * 2
    for kind, pack in [(1, zlib.compress), (0, lz4.frame.compress)]:
        for format, width, height in [(0, 16, 8), (4, 8, 8), (6, 17, 4)]:
            name = f"{'zlib' if kind else 'lz4'}-{format}"
            write("compressed", name, bytes([kind, format, width, height, 0]) + pack(pixels))
        write("compressed", f"bomb-{kind}", bytes([kind, 0, 8, 8, 0]) + pack(bytes(1 << 20)))
    linked = lz4.frame.compress(pixels, content_checksum=True, block_checksum=True, block_linked=True, store_size=True)
    write("compressed", "lz4-linked", bytes([0, 0, 16, 8, 0]) + linked)


def stacks():
    for file in sorted((ROOT / "tests/data/stacks").iterdir()):
        write("stack", file.name, file.read_bytes())


def models():
    tiny(CORPUS / "onnx" / "tiny.onnx")
    plan = b"ftrt" + bytes(28)
    header = {"task": "segment", "imgsz": [64, 64], "names": {"0": "cell", "1": "nucleus"}, "stride": 32, "batch": 1,
              "version": "8.4.190", "args": {"half": True, "int8": False}}
    text = json.dumps(header).encode()
    write("engine", "ultralytics", struct.pack("<I", len(text)) + text + plan)
    write("engine", "list-of-names", struct.pack("<I", 22) + b'{"names":["a"],"b":{}}' + plan)
    write("engine", "bare", plan)
    write("engine", "rtx", b"vtrt" + bytes(12) + struct.pack("<Q", 40) + bytes(16))
    write("engine", "too-long", b"\xff\xff\xff\xff{}")
    write("manifest", "bundled", (ROOT / "engines/cells_640.toml").read_bytes())
    write("manifest", "percentiles", b"""name = "a"
classes = ["cell", "nucleus"]
trained_um_per_px = 0.65
[normalization]
policy = "percentiles"
low = 1.0
high = 99.0
min_span_of_full_range = 0.02
[thresholds]
confidence = 0.3
iou = 0.5
class_agnostic = true
max_cells = 100
""")
    write("manifest", "engine", b"""name = "b"
classes = ["cell", "nucleus"]
[normalization]
policy = "window"
low = 10
high = 4095
[engine]
tensorrt = "TensorRT 10.3.0"
compute_capability = "8.9"
precision = "int8"
head = "yolo-seg"
onnx = "../b.onnx"
[engine.scales]
images = 0.004
""")


def masks():
    discs = np.zeros((40, 60), np.uint8)
    cv2.circle(discs, (20, 20), 12, 1, -1)
    cv2.circle(discs, (20, 20), 5, 0, -1)
    cv2.circle(discs, (45, 12), 7, 1, -1)
    counts = coco.encode(np.asfortranarray(discs))["counts"]
    write("rle", "discs", bytes([60, 40]) + counts)
    write("rle", "empty", bytes([60, 40]) + coco.encode(np.zeros((40, 60), np.uint8, order="F"))["counts"])
    write("rle", "full", bytes([60, 40]) + coco.encode(np.ones((40, 60), np.uint8, order="F"))["counts"])
    write("rle", "hostile", bytes([254, 255, 7, 254, 255, 7]) + b"o" * 12 + b"0")
    size = bytes([1, 2, 59, 39])
    write("rings", "discs", size + np.packbits(discs.ravel(), bitorder="little").tobytes())
    checks = (np.indices((40, 60)).sum(0) % 2).astype(np.uint8)
    write("rings", "checks", size + np.packbits(checks.ravel(), bitorder="little").tobytes())
    write("rings", "pixel", bytes([0, 0, 0, 0, 1]))


def sessions():
    chance = random.Random(1)
    for delivery in (0, 1):
        for window in (0, 3):
            write("session", f"{delivery}-{window}", bytes([delivery, window]) + chance.randbytes(400))


def messages():
    mono = pb.RawPixels(format=pb.PIXEL_FORMAT_MONO16, width=24, height=18, data=crop().tobytes())
    file = pb.EncodedImage(data=cv2.imencode(".png", crop())[1].tobytes())
    where = pb.FrameMetadata(index={"t": 1, "p": 2}, channel="Phase", well="B03", pixel_size_um=0.65, properties={"a": "b"})
    thresholds = pb.Thresholds(confidence=0.4, min_area_um2=3, classes=[1], class_confidence={0: 0.5})
    rings = pb.SessionOptions(
        outputs=pb.Outputs(masks=pb.MASK_ENCODING_RINGS, label_image=True, label_compression=pb.COMPRESSION_LZ4),
        delivery=pb.DELIVERY_LATEST, window=3, name="scope-2", thresholds=thresholds, priority=pb.PRIORITY_URGENT,
        normalization=pb.Normalization(percentiles=pb.Normalization.Percentiles(low=1, high=99)),
    )
    bits = pb.SessionOptions(outputs=pb.Outputs(masks=pb.MASK_ENCODING_BITS, raw_masks=True), window=2)
    frame = lambda id, **fields: {"frame": pb.Frame(id=id, metadata=where, **fields)}
    sequences = {
        "plain": [{"open": pb.SessionOptions()}, frame(1, raw=mono), frame(2, raw=mono), frame(3, encoded=file)],
        "latest": [{"open": rings}, *(frame(id, raw=mono) for id in range(6)), {"cancel": pb.Cancel(frame_id=5)}],
        "update": [
            {"open": bits},
            frame(1, raw=mono),
            {"update": pb.SessionUpdate(thresholds=thresholds, outputs=pb.Outputs(masks=pb.MASK_ENCODING_NONE))},
            frame(2, raw=mono, thresholds=thresholds, deadline=Duration(nanos=1)),
            {"update": pb.SessionUpdate(thresholds=pb.Thresholds(confidence=2))},
            frame(3, raw=mono),
        ],
        "bad-frames": [
            {"open": pb.SessionOptions()},
            frame(1),
            frame(2, raw=pb.RawPixels(format=99, width=1, height=1, data=b"a")),
            frame(3, raw=pb.RawPixels(format=pb.PIXEL_FORMAT_MONO10P, width=4, height=1, data=b"abcde")),
            frame(4, raw=pb.RawPixels(format=pb.PIXEL_FORMAT_MONO8, width=2**32 - 1, height=2**32 - 1, row_stride=1)),
            frame(5, shared=pb.SharedSlot(region="r", offset=2**64 - 1, layout=mono)),
            frame(6, measure_on=5),
            frame(6, raw=mono),
            frame(6, raw=mono, deadline=Duration(seconds=-5)),
        ],
        "opened-twice": [{"open": pb.SessionOptions()}, frame(1, raw=mono), {"open": pb.SessionOptions()}, frame(2, raw=mono)],
        "not-opened": [frame(1, raw=mono)],
        "not-implemented": [{"open": pb.SessionOptions(measurements=pb.Measurements(), tracking=pb.Tracking())}],
    }
    for name, sequence in sequences.items():
        data = b""
        for request in sequence:
            message = pb.StreamRequest(**request).SerializeToString()
            data += varint(len(message)) + message
        write("messages", name, data)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def settings():
    write("settings", "some", b"""listen = ["tcp://127.0.0.1:0", "unix:///run/cellsegd.sock"]
models = ["a.onnx", "b.engine"]
lanes = 2
grace_s = 10
[engine]
kind = "rten"
threads = 2
[limits]
max_frame_bytes = 8388608
window = 4
frames_in_flight_bytes = 67108864
[log]
filter = "info"
format = "json"
""")
    write("settings", "insecure", b'listen = ["tcp://0.0.0.0:50051"]\ninsecure = true\n[gpu]\nfallback = "cpu"\n')
    write("settings", "wrong", b"lanes = 0\nio_threads = -1\nlisten = []\n[limits]\nsessions = 1e9\n")


if __name__ == "__main__":
    for make in (frames, images, compressed, stacks, models, masks, sessions, messages, settings):
        make()
