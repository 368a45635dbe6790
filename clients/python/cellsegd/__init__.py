"""Client of cellsegd: camera frames in, each cell's mask out.

    from cellsegd import Client

    with Client("unix:///run/cellsegd/cellsegd.sock") as client:
        for result in client.stream(frames):
            print(result.id, len(result.cells), result.labels.max())

Coordinates are numpy's: row before column, and a pixel's centre is a whole number. The contract's messages, which every object
carries as `message`, count from pixel edges: theirs are ours + 0.5.
"""

from cellsegd import contract as pb
from cellsegd.aio import AsyncClient, AsyncSession
from cellsegd.cell import Cell, MeasuredCell
from cellsegd.client import Client
from cellsegd.errors import Disconnected, Error, FrameError, Refused, Unavailable
from cellsegd.frame import Frame
from cellsegd.layers import layers
from cellsegd.options import Options, full_range, percentiles, reference, window
from cellsegd.recorder import Recorder
from cellsegd.result import Result
from cellsegd.session import Closed, Session
from cellsegd.version import VERSION as __version__

__all__ = [
    "AsyncClient",
    "AsyncSession",
    "Cell",
    "Client",
    "Closed",
    "Disconnected",
    "Error",
    "Frame",
    "FrameError",
    "MeasuredCell",
    "Options",
    "Recorder",
    "Refused",
    "Result",
    "Session",
    "Unavailable",
    "__version__",
    "full_range",
    "layers",
    "pb",
    "percentiles",
    "reference",
    "window",
]
