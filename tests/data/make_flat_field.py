"""Writes flat_field/: frames with a flat and a dark image, and what the correction of the contract's FlatField makes of them, with
numpy alone. 16 bits little-endian.
"""

from pathlib import Path

import numpy as np
from make_packed import bit_stream

OUT = Path(__file__).with_name("flat_field")
H, W = 17, 23


def corrected(frame: np.ndarray, flat: np.ndarray, dark: np.ndarray, most: int) -> np.ndarray:
    frame, flat, dark = (image.astype(np.float64) for image in (frame, flat, dark))
    light = flat - dark
    mean = light.mean(axis=(0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (frame - dark) * mean / light
    return np.where(light > 0, np.clip(np.round(value), 0, most), 0)


def images(bits: int, channels: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    most = (1 << bits) - 1
    y, x = np.mgrid[:H, :W]
    vignette = 1 - ((x - W / 2) ** 2 + (y - H / 2) ** 2) / (W * W)
    vignette = vignette[..., None] * np.linspace(0.5, 0.8, channels)
    shape = (H, W, channels)
    dark = random.integers(0, most // 40 + 2, shape)
    flat = np.round(most * vignette).astype(int) + random.integers(-3, 4, shape)
    flat[3, 4], flat[5, 6] = 0, dark[5, 6]
    frame = random.integers(0, most + 1, shape)
    frame[7, :] = np.minimum(dark[7, :] + 1, most)
    return {"frame": frame, "flat": np.clip(flat, 0, most), "dark": dark}


def write(name: str, bits: int, channels: int, store) -> None:
    pictures = images(bits, channels, seed=len(name))
    for part, image in pictures.items():
        (OUT / f"{name}.{part}").write_bytes(store(image))
    kind = np.dtype("u1") if bits == 8 else np.dtype("<u2")
    frame, flat, dark = pictures["frame"], pictures["flat"], pictures["dark"]
    for part, dark in (("corrected", dark), ("without_dark", np.zeros_like(dark))):
        result = corrected(frame, flat, dark, (1 << bits) - 1)
        (OUT / f"{name}.{part}").write_bytes(result.astype(kind).tobytes())


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    write("mono8", 8, 1, lambda image: image.astype("u1").tobytes())
    write("mono12", 12, 1, lambda image: image.astype("<u2").tobytes())
    write("mono12p", 12, 1, lambda image: b"".join(bit_stream(row[:, 0], 12) for row in image))
    write("rgb16", 16, 3, lambda image: image.astype("<u2").tobytes())
    write("bgr8", 8, 3, lambda image: np.ascontiguousarray(image[..., ::-1]).astype("u1").tobytes())
