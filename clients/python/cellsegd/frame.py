"""One camera frame, as numpy holds it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellsegd import contract as pb
from cellsegd.metadata import Metadata, to_message

_FORMATS = {
    # Name: dtype, samples a pixel.
    "Mono8": ("uint8", 1),
    "Mono10": ("uint16", 1),
    "Mono12": ("uint16", 1),
    "Mono14": ("uint16", 1),
    "Mono16": ("uint16", 1),
    "RGB8": ("uint8", 3),
    "BGR8": ("uint8", 3),
    "RGBA8": ("uint8", 4),
    "BGRA8": ("uint8", 4),
    "RGB16": ("uint16", 3),
}
_DEFAULTS = {("uint8", 1): "Mono8", ("uint16", 1): "Mono16", ("uint8", 3): "RGB8", ("uint16", 3): "RGB16"}


@dataclass(frozen=True)
class Frame:
    """Pixels and what is known about them.

    The pixels are copied when the frame is submitted: the camera's buffer may be written again after that.
    """

    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | bytes
    """uint8 or uint16 of shape (height, width) or (height, width, 3), in any memory order and of any byte order; or the bytes of
    a PNG, TIFF or JPEG file, which the daemon decodes. (height, width, 4) only where `format` says "RGBA8" or "BGRA8": four
    channels of a camera are not a colour."""
    id: int | None = None
    """Unique among the frames of a session. None: counted by the session, from 1."""
    metadata: Metadata | pb.FrameMetadata | None = None
    """What the controller knows about it, with the contract's names."""
    significant_bits: int = 0
    """Bits that the camera uses: 12 of a 12-bit camera. 0: all of the format."""
    measure_on: int | None = None
    """Not segmented: its intensities are measured in the cells of the frame with this id."""
    deadline_s: float | None = None
    """Seconds after its arrival; not started by then it is answered "dropped"."""
    format: str | None = None
    """How a pixel is stored where the array does not tell: "BGR8", "BGRA8", "Mono12", ..."""
    flip_horizontal: bool = False
    """Mirrored left to right before anything else: every coordinate is of the mirrored frame."""
    flip_vertical: bool = False
    """Mirrored top to bottom."""
    page: int = 0
    """Of an image file that is a multi-page TIFF, from 0."""

    def message(self, into: pb.Frame | None = None) -> pb.Frame:
        """The contract's frame, with its pixels inside; the id stays 0 where it is None. `into`: a message to fill."""
        message = self.envelope(into)
        if isinstance(self.pixels, (bytes, bytearray, memoryview)):
            message.encoded.data = bytes(self.pixels)
            message.encoded.page = self.page
        else:
            array = self.array()
            message.raw.CopyFrom(self.layout(array))
            message.raw.data = array.tobytes()
        return message

    def envelope(self, into: pb.Frame | None = None) -> pb.Frame:
        """The contract's frame without its pixels."""
        message = pb.Frame() if into is None else into
        message.id = self.id or 0
        message.metadata.CopyFrom(to_message(self.metadata))
        message.flip_horizontal, message.flip_vertical = self.flip_horizontal, self.flip_vertical
        if self.measure_on is not None:
            message.measure_on = self.measure_on
        if self.deadline_s is not None:
            if not (math.isfinite(self.deadline_s) and 0 < self.deadline_s):
                raise ValueError(f"deadline_s {self.deadline_s}: must be above 0, seconds")
            message.deadline.FromMicroseconds(round(self.deadline_s * 1e6))
        return message

    @property
    def n_bytes(self) -> int:
        """Of the pixels, or of the image file."""
        return self.pixels.nbytes if isinstance(self.pixels, np.ndarray) else memoryview(self.pixels).nbytes

    def array(self) -> npt.NDArray[Any]:
        """The pixels, dense and little-endian; copied only if they are not."""
        pixels = self.checked()
        return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))

    def checked(self) -> npt.NDArray[Any]:
        """The pixels as they were given; TypeError or ValueError says why they cannot be a frame."""
        pixels = self.pixels
        if not isinstance(pixels, np.ndarray):
            raise TypeError(f"pixels are a {type(pixels).__name__}: must be a numpy array, or the bytes of an image file")
        if pixels.dtype.kind != "u" or pixels.dtype.itemsize > 2:
            raise TypeError(
                f"pixels are {pixels.dtype}: must be uint8 or uint16; counts that fit convert with pixels.astype(numpy.uint16)"
            )
        if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
            raise TypeError(f"pixels have shape {pixels.shape}: must be (height, width) or (height, width, 3), one frame at a time")
        if pixels.shape[2:] == (4,) and self.format is None:
            raise TypeError(
                f"pixels have shape {pixels.shape}: must be (height, width) or (height, width, 3); "
                'colours with an alpha sample are said by format="RGBA8" or "BGRA8"'
            )
        if 0 in pixels.shape:
            raise ValueError(f"pixels have shape {pixels.shape}: there are none")
        return pixels

    def layout(self, array: npt.NDArray[Any]) -> pb.RawPixels:
        """How `array` lies in memory once it is dense and little-endian."""
        samples = 1 if array.ndim == 2 else array.shape[2]
        has = (array.dtype.name, samples)
        name = self.format or _DEFAULTS.get(has)
        if name is None:
            raise TypeError(f"pixels are {has[0]} with {samples} samples a pixel: of 16 bits there are 1 or 3")
        if name not in _FORMATS:
            raise ValueError(f"format {name!r}: must be one of {', '.join(_FORMATS)}")
        if _FORMATS[name] != has:
            needs = _FORMATS[name]
            raise TypeError(f"format {name} is {needs[0]} with {needs[1]} samples a pixel, the pixels are {has[0]} with {has[1]}")
        return pb.RawPixels(
            format=f"PIXEL_FORMAT_{name.upper()}",
            width=array.shape[1],
            height=array.shape[0],
            significant_bits=self.significant_bits,
        )


def as_frame(frame: Frame | npt.NDArray[Any] | bytes) -> Frame:
    """An array or an image file without anything else is a frame too."""
    return frame if isinstance(frame, Frame) else Frame(frame)
