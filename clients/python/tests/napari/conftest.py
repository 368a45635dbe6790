"""A real daemon and a viewer without a screen."""

import gc
import os
import sys
import time
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# Settings of whoever runs the tests stay out of it.
os.environ.setdefault("NAPARI_CONFIG", "")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "mmcore")]

from real_daemon import daemon  # noqa: E402, F401


@pytest.fixture
def viewer():
    from napari import Viewer

    # What Qt made must end in the window's thread: a collection in another one, which may happen at any time, ends the process.
    gc.disable()
    viewer = Viewer(show=False)
    yield viewer
    viewer.close()
    gc.collect()


@pytest.fixture
def wait():
    """Lets the window work until something is so."""
    from qtpy.QtWidgets import QApplication

    def wait_until(what, timeout_s=60, told=lambda: ""):
        until = time.monotonic() + timeout_s
        while not what():
            assert time.monotonic() < until, f"waited in vain: {told()}"
            QApplication.processEvents()
            time.sleep(0.01)

    return wait_until
