"""What listening costs an acquisition: the time between frames without and with `attach`, turn by turn in one process.

    python benches/spacing.py --url http://127.0.0.1:50051 --side 2048 --interval 0.1

Needs `pip install pymmcore-plus mm-test-adapters`: the real Micro-Manager core with its demo camera.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from typing import Any

import mm_test_adapters
import useq
from pymmcore_plus import CMMCorePlus

from cellsegd import Client
from cellsegd.mmcore import attach


def core_with_camera(side: int, exposure_ms: float) -> CMMCorePlus:
    """The demo camera, 16 bits."""
    core = CMMCorePlus()
    adapters = mm_test_adapters.device_adapter_path()
    core.setDeviceAdapterSearchPaths([adapters])
    core.loadSystemConfiguration(os.path.join(adapters, "MMConfig_demo.cfg"))
    core.setProperty("Camera", "OnCameraCCDXSize", side)
    core.setProperty("Camera", "OnCameraCCDYSize", side)
    core.setProperty("Camera", "FastImage", 1)
    core.setExposure(exposure_ms)
    return core


def spacings_ms(core: CMMCorePlus, sequence: useq.MDASequence) -> list[float]:
    """Between the frames of one run, but for the first few."""
    times: list[float] = []

    def note(*_: Any) -> None:
        times.append(time.perf_counter())

    core.mda.events.frameReady.connect(note)
    core.mda.run(sequence)
    core.mda.events.frameReady.disconnect(note)
    return [1000 * (later - earlier) for earlier, later in itertools.pairwise(times[3:])]


def main() -> None:
    """From the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--url", default="http://127.0.0.1:50051")
    options.add_argument("--side", type=int, default=2048, help="pixels")
    options.add_argument("--exposure", type=float, default=10, help="milliseconds")
    options.add_argument("--interval", type=float, default=0, help="seconds between frames; 0: as fast as they come")
    options.add_argument("--frames", type=int, default=60, help="of a run")
    options.add_argument("--rounds", type=int, default=5, help="runs with and without, in turn")
    chosen = options.parse_args()
    core = core_with_camera(chosen.side, chosen.exposure)
    sequence = useq.MDASequence(time_plan={"interval": chosen.interval, "loops": chosen.frames}, channels=["DAPI"])
    without: list[float] = []
    attached: list[float] = []
    counts: dict[str, int] = {}
    try:
        spacings_ms(core, sequence)
        with Client(chosen.url, name="bench") as client:
            for _ in range(chosen.rounds):
                without += spacings_ms(core, sequence)
                with attach(core, client) as cells:
                    attached += spacings_ms(core, sequence)
                    counts = dict(cells.counts)
    finally:
        core.reset()
        # Ends the thread in which the core tells what is left, which ends the process where the interpreter is gone.
        super(CMMCorePlus, core).registerCallback(None)
    for name, spacing in (("without", without), ("attached", attached)):
        median, mean, p95 = statistics.median(spacing), statistics.mean(spacing), statistics.quantiles(spacing, n=20)[18]
        print(f"{name:9} median {median:8.3f} ms, mean {mean:8.3f} ms, p95 {p95:8.3f} ms")
    print(f"median {100 * (statistics.median(attached) / statistics.median(without) - 1):+.2f} %, ", end="")
    print(f"mean {100 * (statistics.mean(attached) / statistics.mean(without) - 1):+.2f} %; last run: {counts}")
    if hasattr(os, "getloadavg"):
        # Where others work beside it, it is they who are measured.
        print(f"load of this machine over a minute and five: {os.getloadavg()[0]:.1f}, {os.getloadavg()[1]:.1f}")


if __name__ == "__main__":
    main()
