"""Writes packed/: packed camera pixels, and what they hold. FORMAT.packed has a dense frame of each of SIZES, one after the
other; FORMAT.raw their samples, 16 bits little-endian. Bit by bit, by the text of PFNC and GigE Vision, with numpy alone:
nothing of cellsegd is used.
"""

from pathlib import Path

import numpy as np

OUT = Path(__file__).with_name("packed")
SIZES = [(1, 1), (2, 3), (3, 2), (4, 4), (5, 3), (7, 2), (16, 2), (33, 5)]


def bits_of(samples: np.ndarray, n: int) -> np.ndarray:
    """Of each sample its n bits, the least significant first."""
    return (samples[..., None] >> np.arange(n)) & 1


def bit_stream(row: np.ndarray, n: int) -> bytes:
    """PFNC's ..p: pixels follow one another without gaps, the least significant bit first; the row ends at a whole byte."""
    return np.packbits(bits_of(row, n).ravel().astype(np.uint8), bitorder="little").tobytes()


def gige(row: np.ndarray, n: int) -> bytes:
    """GigE Vision's ..Packed: the 8 highest bits of the first pixel, the lowest of both in one byte, the 8 highest of the second."""
    out = bytearray()
    low = n - 8
    for x in range(0, len(row), 2):
        pair = [int(v) for v in row[x : x + 2]]
        out.append(pair[0] >> low)
        middle = pair[0] & ((1 << low) - 1)
        if len(pair) == 2:
            middle |= (pair[1] & ((1 << low) - 1)) << 4
        out.append(middle)
        if len(pair) == 2:
            out.append(pair[1] >> low)
    return bytes(out)


FORMATS = {
    "Mono10p": (bit_stream, 10),
    "Mono12p": (bit_stream, 12),
    "Mono10Packed": (gige, 10),
    "Mono12Packed": (gige, 12),
}

if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    random = np.random.default_rng(12)
    for name, (pack, n) in FORMATS.items():
        frames = [random.integers(0, 1 << n, (height, width), dtype=np.uint16) for width, height in SIZES]
        (OUT / f"{name}.packed").write_bytes(b"".join(pack(row, n) for samples in frames for row in samples))
        (OUT / f"{name}.raw").write_bytes(b"".join(samples.astype("<u2").tobytes() for samples in frames))
