"""Moves the stage to the cell that divides, while the time-lapse goes on.

    python follow_division.py --url http://127.0.0.1:50051 --config MMConfig_demo.cfg --frames 200 --interval 30

Needs `pip install cellsegd[mmcore]` and a Micro-Manager configuration with an XY stage. Try it without cells first: the sign of
each axis is the microscope's own. If the stage runs away from the cell instead of to it, calibrate the pixel size with its
affine (Micro-Manager: Devices > Pixel Size Calibration), or give `--affine`.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from cellsegd import Cell, Client, Result
from cellsegd.mmcore import attach
from useq import MDAEvent


class Follower:
    """Where the stage is to be: where it was, until a cell divides; then at the middle of its daughters."""

    def __init__(self, x_um: float, y_um: float):
        self._lock = threading.Lock()
        self._at = (x_um, y_um)
        self._n_moves = 0

    def divided(self, mother: int, daughters: Sequence[Cell], result: Result, event: Any) -> None:
        """A listener of `Attachment.divided`."""
        places = [(it.measures["stage_x_um"], it.measures["stage_y_um"]) for it in daughters if "stage_x_um" in it.measures]
        if not places:
            print(f"cell {mother} divided, but nobody knows where: the frame came without pixel_to_stage")
            return
        with self._lock:
            if event.index["p"] != self._n_moves:
                return  # It was seen before the last move.
            self._at = (sum(x for x, _ in places) / len(places), sum(y for _, y in places) / len(places))
            self._n_moves += 1
        print(f"cell {mother} divided at t = {event.index['t']}: to x {self._at[0]:.1f} um, y {self._at[1]:.1f} um")

    def events(self, n_frames: int, interval_s: float, channel: str | None) -> Iterator[MDAEvent]:
        """A run that is made while it goes on. After a move it is another position: identities begin anew there."""
        for t in range(n_frames):
            with self._lock:
                (x, y), p = self._at, self._n_moves
            yield MDAEvent(index={"t": t, "p": p}, channel=channel, x_pos=x, y_pos=y, min_start_time=t * interval_s)


def follow(core: Any, client: Client, n_frames: int, interval_s: float, channel: str | None = None, **how: Any) -> Follower:
    """Runs to the end. `how` goes to `attach`."""
    follower = Follower(core.getXPosition(), core.getYPosition())
    with attach(core, client, **how) as cells:
        cells.divided.connect(follower.divided)
        core.mda.run(follower.events(n_frames, interval_s, channel))
        print(dict(cells.counts))
    return follower


def main() -> None:
    """From the command line."""
    from pymmcore_plus import CMMCorePlus

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--url", default="http://127.0.0.1:50051")
    options.add_argument("--token-file")
    options.add_argument("--config", default="MMConfig_demo.cfg", help="of Micro-Manager")
    options.add_argument("--channel", help="preset of the channel group")
    options.add_argument("--frames", type=int, default=100)
    options.add_argument("--interval", type=float, default=60, help="seconds")
    options.add_argument("--affine", type=float, nargs=6, metavar="UM", help="stage from pixels, in place of Micro-Manager's")
    chosen = options.parse_args()
    core = CMMCorePlus.instance()
    core.loadSystemConfiguration(chosen.config)
    try:
        with Client(chosen.url, token_file=chosen.token_file, name="follow-division") as client:
            follow(core, client, chosen.frames, chosen.interval, chosen.channel, pixel_to_stage=chosen.affine)
    finally:
        core.reset()
        # Ends the thread in which the core tells what is left, which ends the process where the interpreter is gone.
        super(CMMCorePlus, core).registerCallback(None)


if __name__ == "__main__":
    main()
