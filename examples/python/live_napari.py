"""A time-lapse of a Micro-Manager core in napari, its cells drawn on it as they come.

    python live_napari.py --url http://127.0.0.1:50051 --config MMConfig_demo.cfg

Needs `pip install cellsegd[mmcore,napari]` and one of napari's Qt backends. The widget (Plugins > Find cells) does the same by
mouse; this shows how a script of your own would.
"""

from __future__ import annotations

import argparse
from typing import Any

import napari
import numpy as np
from cellsegd import Client, Result
from cellsegd.mmcore import attach
from psygnal.qt import start_emitting_from_queue
from useq import MDASequence


class Display:
    """Two layers that are written in place: the newest frame, and its cells by track."""

    def __init__(self, viewer: napari.Viewer):
        self._viewer = viewer
        self._image: Any = None
        self._labels: Any = None

    def frame(self, image: np.ndarray, *_: Any) -> None:
        """A listener of the core's frameReady."""
        if self._image is None:
            self._image = self._viewer.add_image(image, name="camera")
            self._viewer.reset_view()
        else:
            self._image.data = image

    def cells(self, result: Result, _event: Any) -> None:
        """A listener of `Attachment.segmented`."""
        labels = result.labels_by_track()
        if self._labels is None:
            self._labels = self._viewer.add_labels(labels, name="cells", opacity=0.5)
        else:
            self._labels.data = labels
        self._viewer.text_overlay.text = f"{len(result.cells)} cells, {100 * result.summary.confluence:.0f} % covered"
        self._viewer.text_overlay.visible = True


def main() -> None:
    """From the command line."""
    from pymmcore_plus import CMMCorePlus

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--url", default="http://127.0.0.1:50051")
    options.add_argument("--config", default="MMConfig_demo.cfg", help="of Micro-Manager")
    options.add_argument("--frames", type=int, default=100)
    options.add_argument("--interval", type=float, default=2, help="seconds")
    chosen = options.parse_args()
    viewer = napari.Viewer(title="cellsegd")
    core = CMMCorePlus.instance()
    core.loadSystemConfiguration(chosen.config)
    display = Display(viewer)
    with Client(chosen.url, name="live-napari") as client, attach(core, client) as cells:
        # The core's events are Qt's here, and come to the window's thread by themselves; the attachment's are psygnal's, and wait in
        # a queue for it.
        start_emitting_from_queue()
        core.mda.events.frameReady.connect(display.frame)
        cells.segmented.connect(display.cells, thread="main")
        core.run_mda(MDASequence(time_plan={"interval": chosen.interval, "loops": chosen.frames}))
        napari.run()
        core.mda.cancel()
    core.reset()
    # Ends the thread in which the core tells what is left, which ends the process where the interpreter is gone.
    super(CMMCorePlus, core).registerCallback(None)


if __name__ == "__main__":
    main()
