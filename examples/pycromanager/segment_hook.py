"""pycro-manager: every image of an acquisition is segmented, and its numbers are saved in its metadata.

    pip install cellsegd pycromanager
    python segment_hook.py FOLDER            # Micro-Manager Studio is open, with "Run server on port 4827"
    python segment_hook.py FOLDER --demo     # without it: pip install mm-test-adapters brings a core and its demo camera

`Cells` is an image_process_fn of pycro-manager: it gets each image and its metadata, in a thread of its own, and gives both back.
CELLSEGD_URL names another daemon than this machine's. CI has no Micro-Manager Studio: it runs this with --demo against a daemon.

A daemon that is away loses no image: each then goes on after PATIENCE_S without numbers, and its metadata says why.
"""

import os
import sys

import cellsegd

URL = os.environ.get("CELLSEGD_URL", "http://127.0.0.1:50051")
PATIENCE_S = 5.0

# pycro-manager's names of axes, and the contract's.
AXES = {"time": "t", "position": "p", "channel": "c", "z": "z"}
NUMBERS = {
    "pixel_size_um": "PixelSize_um",
    "x_um": "XPosition_um_Intended",
    "y_um": "YPosition_um_Intended",
    "z_um": "ZPosition_um_Intended",
    "exposure_ms": "Exposure",
    "elapsed_ms": "ElapsedTime-ms",
}


class Cells:
    """Segments the images of one acquisition. `channel`: of several, the one that shows the cells; others pass as they are.

    `client` should give up a lost connection after PATIENCE_S (`max_reconnect_s`): a new session is opened for the next image.
    """

    def __init__(self, client: cellsegd.Client, channel: str | None = None, **options):
        self.channel = channel
        self._client = client
        self._options = {"name": "pycro-manager"} | options
        self._session = None

    def __call__(self, image, metadata):
        if self.channel is None or channel_of(metadata) == self.channel:
            metadata["cellsegd"] = self._numbers(image, metadata)
        return image, metadata

    def close(self) -> None:
        if self._session is not None:
            self._session.close()

    def _numbers(self, image, metadata) -> dict:
        bits = int(metadata.get("BitDepth", 0))
        frame = cellsegd.Frame(image, metadata=described(metadata), significant_bits=bits, deadline_s=PATIENCE_S)
        try:
            if self._session is None:
                self._session = self._client.session(**self._options)
                self._results = self._session.results()
            self._session.submit(frame)
            result = next(self._results)
        except cellsegd.Error as error:
            self._session = None
            return {"outcome": "failed", "reason": str(error)}
        if result.outcome != "segmented":
            return {"outcome": result.outcome, "reason": result.reason}
        summary = result.summary
        return {
            "outcome": "segmented",
            "cells": len(result.cells),
            "confluence": summary.confluence,
            # By the cell's id where cells are followed, else by its number in this image.
            "areas_px": {str(cell.track_id or cell.label): cell.area_px for cell in result.cells},
        }


def channel_of(metadata: dict) -> str | None:
    return metadata.get("Axes", {}).get("channel", metadata.get("Channel"))


def described(metadata: dict) -> dict:
    """What Micro-Manager knows about an image, by the contract's names."""
    axes = metadata.get("Axes", {})
    known = {name: float(metadata[tag]) for name, tag in NUMBERS.items() if tag in metadata}
    if not known.get("pixel_size_um"):
        known.pop("pixel_size_um", None)  # 0: nobody has calibrated it
    known |= {ours: axes[theirs] for theirs, ours in AXES.items() if isinstance(axes.get(theirs), int)}
    if channel_of(metadata):
        known["channel"] = str(channel_of(metadata))
    if "PositionName" in metadata:
        known["position"] = str(metadata["PositionName"])
    return known


def start_demo() -> None:
    """Micro-Manager's core in this process, in place of Micro-Manager Studio."""
    import mm_test_adapters
    from pycromanager import start_headless

    adapters = mm_test_adapters.device_adapter_path()
    start_headless(mm_app_path=adapters, config_file="MMConfig_demo.cfg", python_backend=True)


def main(folder: str, demo: bool) -> None:
    from pycromanager import Acquisition, multi_d_acquisition_events

    if demo:
        start_demo()
    with cellsegd.Client(URL, timeout_s=PATIENCE_S, max_reconnect_s=PATIENCE_S) as client:
        cells = Cells(client, track=True)
        with Acquisition(directory=folder, name="cells", image_process_fn=cells, show_display=False) as acquisition:
            acquisition.acquire(multi_d_acquisition_events(num_time_points=5, time_interval_s=0.5))
        cells.close()
        saved = acquisition.get_dataset()
        for t in range(5):
            print(t, saved.read_metadata(time=t)["cellsegd"])


if __name__ == "__main__":
    main(sys.argv[1], demo="--demo" in sys.argv)
