"""A segmentation method for PyCLM (closed-loop-microscopy). In an experiment's TOML:

    [segmentation]
    method = "cellsegd"
    url = "unix:///run/cellsegd/cellsegd.sock"
    model = "cells"

It is found by itself where this package is installed beside PyCLM.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
from pyclm import SegmentationMethod
from pyclm.core.segmentation.segmentation import SharedSegmentationResource, SharedSegmentationResourceRequest

from cellsegd.client import Client
from cellsegd.frame import Frame
from cellsegd.options import Options

DEFAULT_URL = "http://127.0.0.1:50051"


class Connection(SharedSegmentationResource):  # type: ignore[misc]
    """One client, shared by all experiments of a run that name the same daemon."""

    def __init__(self, **where: Any):
        super().__init__()
        self.client = Client(name="pyclm", **where)


class CellsegdSegmentation(SegmentationMethod):  # type: ignore[misc]
    """Cells of a cellsegd daemon: each experiment has a session of its own.

    `url`, `token`, `token_file` and `ca` say where the daemon is and who calls; `model` and `confidence` what to look for;
    `options` names a TOML file with any other option of a session. `pixel_size_um` is of the delivered pixels, binning included.
    """

    name = "cellsegd"

    def __init__(
        self,
        experiment_name: str,
        url: str = DEFAULT_URL,
        token: str | None = None,
        token_file: str | None = None,
        ca: str | None = None,
        model: str = "",
        confidence: float | None = None,
        options: str | None = None,
        pixel_size_um: float | None = None,
        **unknown: Any,
    ):
        super().__init__(experiment_name)
        if unknown:
            raise TypeError(f"[segmentation] of {experiment_name}: cellsegd does not know {', '.join(sorted(unknown))}")
        self._where = {"url": url, "token": token, "token_file": token_file, "ca": ca}
        self._options = Options.load(options) if options is not None else Options()
        self._chosen: dict[str, Any] = {"name": experiment_name, "outputs": "labels"}
        if model:
            self._chosen["model"] = model
        if confidence is not None:
            self._chosen["confidence"] = confidence
        self._metadata = {"pixel_size_um": pixel_size_um, "position": experiment_name}
        self._client: Client | None = None
        self._session: Any = None
        self._lock = threading.Lock()

    def request_resource(self) -> SharedSegmentationResourceRequest:
        """The client."""
        return SharedSegmentationResourceRequest(Connection, **self._where)

    def provide_resource(self, resource: Connection) -> None:
        """The session is opened here, so that a wrong address, model or token is said before the experiment begins."""
        self._client = resource.client
        self._session = self._client.session(self._options, **self._chosen)
        self._results = self._session.results()

    def segment(self, data: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """A label image: 0 is background. cellsegd.FrameError where the frame could not be segmented."""
        if self._session is None:
            raise RuntimeError("provide_resource comes before segment")
        with self._lock:
            self._session.submit(Frame(counts(data), metadata=self._metadata))
            result = next(self._results)
        labels: npt.NDArray[np.int32] = result.raise_for_outcome().labels.astype(np.int32)
        return labels


def counts(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """PyCLM's frames are as the camera delivered them, but may come as wider integers or as floats."""
    if data.dtype in (np.uint8, np.uint16):
        return data
    least, most = (float(data.min()), float(data.max())) if data.size else (0.0, 0.0)
    if not (0 <= least and most <= np.iinfo(np.uint16).max):
        raise ValueError(f"the frame is {data.dtype} from {least:g} to {most:g}: camera counts from 0 to 65535 are right")
    return np.rint(data).astype(np.uint16)
