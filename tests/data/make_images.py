"""Writes images/: small image files made by other programs' encoders, each with its pixels as plain bytes (NAME.raw, 16 bits
little-endian) that decode_image must give. Needs numpy, pillow, tifffile, imagecodecs, opencv-python.
"""

from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

OUT = Path(__file__).with_name("images")
H, W = 19, 23
rng = np.random.default_rng(7)
ramp = np.add.outer(np.arange(H) * 997, np.arange(W) * 1201).astype(np.uint16)
MONO16 = ramp + rng.integers(0, 50, (H, W), dtype=np.uint16)
MONO8 = (MONO16 >> 8).astype(np.uint8)
RGB8 = np.stack([MONO8, MONO8[::-1], MONO8[:, ::-1]], axis=2)
RGB16 = np.stack([MONO16, MONO16[::-1], MONO16[:, ::-1]], axis=2)
RGBA8 = np.dstack([RGB8, 255 - MONO8])


def expect(name: str, pixels: np.ndarray) -> Path:
    (OUT / f"{name}.raw").write_bytes(np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes())
    return OUT / name


def png() -> None:
    cv2.imwrite(str(expect("mono8.png", MONO8)), MONO8)
    cv2.imwrite(str(expect("mono16.png", MONO16)), MONO16)
    cv2.imwrite(str(expect("rgb8.png", RGB8)), RGB8[..., ::-1])
    Image.fromarray(RGBA8).save(expect("rgba8.png", RGBA8))
    Image.fromarray(np.dstack([MONO8, 255 - MONO8]), "LA").save(expect("grey_alpha.png", MONO8))
    bits = (MONO8 > 90).astype(np.uint8) * 255
    Image.fromarray(bits).convert("1").save(expect("bits1.png", bits))
    palette = Image.fromarray(RGB8).quantize(16)
    palette.save(expect("palette.png", np.asarray(palette.convert("RGB"))), bits=4)
    cv2.imwrite(str(expect("rgb16.png", RGB16)), RGB16[..., ::-1])
    cv2.imwrite(str(expect("rgba16.png", RGB16)), np.dstack([RGB16[..., ::-1], MONO16[::-1, ::-1]]))


def jpeg() -> None:
    # A flat image comes out of any correct decoder with the same values.
    grey = np.full((16, 24), 77, np.uint8)
    Image.fromarray(grey).save(expect("grey.jpg", grey), quality=95)
    colour = np.full((16, 24, 3), 128, np.uint8)
    Image.fromarray(colour).save(expect("colour.jpg", colour), quality=95)


def tiff() -> None:
    def write(name, pixels, expected=None, **how):
        tifffile.imwrite(expect(name, pixels if expected is None else expected), pixels, **how)

    write("mono16_strips.tif", MONO16, rowsperstrip=4)
    write("mono16_big_endian.tif", MONO16, byteorder=">")
    write("mono16_lzw.tif", MONO16, compression="lzw")
    write("mono16_lzw_predictor.tif", MONO16, compression="lzw", predictor=True, byteorder=">")
    write("mono16_deflate.tif", MONO16, compression="zlib", rowsperstrip=5)
    write("mono16_tiles.tif", MONO16, tile=(16, 16), compression="zlib")
    write("mono16_bigtiff.tif", MONO16, bigtiff=True)
    write("mono16_ome.ome.tif", np.stack([MONO8.astype(np.uint16), MONO16]), expected=MONO16, metadata={"axes": "TYX"})
    write("mono16_imagej.tif", MONO16, imagej=True, resolution=(1.15, 1.15), metadata={"unit": "um"})
    write("mono8.tif", MONO8)
    write("rgb8.tif", RGB8, photometric="rgb")
    write("rgba8.tif", RGBA8, photometric="rgb", extrasamples=["unassalpha"])
    write("rgb16.tif", RGB16, photometric="rgb")
    write("white_is_zero.tif", 65535 - MONO16, expected=MONO16, photometric="miniswhite")
    tifffile.imwrite(OUT / "float32.tif", MONO16.astype(np.float32))
    tifffile.imwrite(OUT / "int16.tif", MONO16.astype(np.int16))
    tifffile.imwrite(OUT / "uint32.tif", MONO16.astype(np.uint32))
    tifffile.imwrite(OUT / "planar_rgb.tif", np.moveaxis(RGB8, 2, 0), photometric="rgb", planarconfig="separate")
    Image.fromarray(MONO8 > 90).save(OUT / "bits1.tif")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    png()
    jpeg()
    tiff()
