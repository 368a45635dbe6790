"""examples/python in napari, on the demo core."""

import sys

import mm_test_adapters
import napari
import numpy as np
from film import FilmEngine
from pymmcore_plus import CMMCorePlus
from qtpy.QtWidgets import QApplication
from real_daemon import ROOT

sys.path.insert(0, str(ROOT / "examples/python"))


def test_a_time_lapse_is_shown_with_its_cells_as_they_come(viewer, daemon, wait, monkeypatch):
    # `viewer`: a QApplication is there before the core is, as in napari.
    import live_napari

    core = CMMCorePlus.instance()
    adapters = mm_test_adapters.device_adapter_path()
    core.setDeviceAdapterSearchPaths([adapters])
    core.mda.set_engine(FilmEngine(core, use_hardware_sequencing=False))
    seen = {}

    def look_until_it_is_over():
        """In place of the person at the window."""
        shown = napari.current_viewer()
        wait(lambda: "cells" in shown.layers and not core.mda.is_running())
        first = set(np.unique(shown.layers["cells"].data))
        # The mother went, two daughters came.
        wait(lambda: len(np.unique(shown.layers["cells"].data)) == 16)
        seen.update(first=first, layers=[layer.name for layer in shown.layers], text=shown.text_overlay.text)
        shown.close()

    monkeypatch.setattr(napari, "run", look_until_it_is_over)
    config = f"{adapters}/MMConfig_demo.cfg"
    arguments = ["--url", daemon.url, "--config", config, "--frames", "6", "--interval", "0.2"]
    monkeypatch.setattr(sys, "argv", ["live_napari.py", *arguments])
    live_napari.main()
    QApplication.processEvents()
    assert seen["layers"] == ["camera", "cells"] and len(seen["first"]) >= 15
    assert seen["text"].startswith("15 cells, ")
