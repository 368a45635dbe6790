"""Plain TIFF files, without a library: what every program reads."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_SHORT, _LONG = 3, 4
_DEFLATE = 8


def write_tiff(path: str | os.PathLike[str], pixels: npt.NDArray[Any], compress: bool = False) -> None:
    """One page, uint8, uint16 or uint32 of shape (height, width), or uint8 or uint16 of (height, width, 3). Written beside and
    renamed: who sees the file sees it whole."""
    path = Path(path)
    if pixels.dtype.kind != "u" or pixels.dtype.itemsize > 4:
        raise TypeError(f"pixels are {pixels.dtype}: a TIFF is written of uint8, uint16 or uint32")
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] == 3):
        raise TypeError(f"pixels have shape {pixels.shape}: must be (height, width) or (height, width, 3)")
    array = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    samples = 1 if array.ndim == 2 else 3
    data = array.tobytes()
    if compress:
        # Level 1: a label image shrinks a hundredfold at any level.
        data = zlib.compress(data, 1)
    if len(data) >= 2**32 - 4096:
        raise ValueError(f"{path}: {len(data)} bytes are too many for a TIFF")
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(_head(array, samples, len(data), compress))
        file.write(data)
    beside.replace(path)


def _head(array: npt.NDArray[Any], samples: int, n_bytes: int, compress: bool) -> bytes:
    """The file up to its pixels: one strip of all rows."""
    height, width = array.shape[:2]
    bits = 8 * array.dtype.itemsize
    tags: list[tuple[int, int, list[int]]] = [
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [bits] * samples),
        (259, _SHORT, [_DEFLATE if compress else 1]),
        # Black is 0; or RGB.
        (262, _SHORT, [1 if samples == 1 else 2]),
        # Where the pixels begin: known below.
        (273, _LONG, [0]),
        (277, _SHORT, [samples]),
        (278, _LONG, [height]),
        (279, _LONG, [n_bytes]),
        (339, _SHORT, [1] * samples),
    ]
    directory = 8
    beyond = directory + 2 + 12 * len(tags) + 4
    begin = beyond + sum(_size(kind, values) for _, kind, values in tags if _size(kind, values) > 4)
    begin += begin % 2
    entries, outside = b"", b""
    for tag, kind, values in tags:
        if tag == 273:
            values = [begin]
        packed = struct.pack(f"<{len(values)}{'H' if kind == _SHORT else 'I'}", *values)
        if len(packed) > 4:
            where = struct.pack("<I", beyond + len(outside))
            outside += packed
        else:
            where = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, len(values)) + where
    head = struct.pack("<2sHI", b"II", 42, directory) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + outside
    return head.ljust(begin, b"\0")


def _size(kind: int, values: list[int]) -> int:
    return len(values) * (2 if kind == _SHORT else 4)
