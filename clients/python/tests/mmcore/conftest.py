"""A real core with its demo camera, whose pictures are exchanged for a film of cells, and a real daemon."""

import os
import sys
from pathlib import Path

import mm_test_adapters
import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from film import FilmEngine  # noqa: E402
from real_daemon import daemon  # noqa: E402, F401


@pytest.fixture
def core():
    from pymmcore_plus import CMMCorePlus

    core = CMMCorePlus()
    adapters = mm_test_adapters.device_adapter_path()
    core.setDeviceAdapterSearchPaths([adapters])
    core.loadSystemConfiguration(os.path.join(adapters, "MMConfig_demo.cfg"))
    core.setExposure(5)
    # Software times the frames: a loaded machine then loses none.
    core.mda.engine.use_hardware_sequencing = False
    yield core
    # Devices must be gone before the interpreter is, and so must the core's own thread, which tells what is left: it ends the
    # process where there is no interpreter to tell it to.
    core.reset()
    super(CMMCorePlus, core).registerCallback(None)


@pytest.fixture
def film(core):
    """The core's camera shows cells, one of which divides in the fifth frame."""
    engine = FilmEngine(core, use_hardware_sequencing=False)
    core.mda.set_engine(engine)
    return engine


@pytest.fixture
def noise():
    return np.random.default_rng(0).normal(1000, 10, (128, 128)).astype(np.uint16)
