"""examples/python on the demo core."""

import sys
import threading

import numpy as np
import pytest
from film import DIVIDES_AT, MOTHER, SIDE, FilmEngine, frame, places
from real_daemon import ROOT

from cellsegd import Client

sys.path.insert(0, str(ROOT / "examples/python"))


class Dish(FilmEngine):
    """The culture lies on the stage: what the camera sees moves with it. A pixel is a micrometre."""

    def exposed(self, image, event):
        t = min(event.index.get("t", 0), DIVIDES_AT)
        x, y = self.mmcore.getXYPosition()
        return np.roll(frame(t), (-round(y), -round(x)), axis=(0, 1))


def test_the_stage_moves_to_the_cell_that_divides(core, daemon, monkeypatch):
    import follow_division

    core.mda.set_engine(Dish(core, use_hardware_sequencing=False))
    core.setXYPosition(0, 0)
    seen = {}
    told = threading.Event()
    divided = follow_division.Follower.divided
    monkeypatch.setattr(follow_division.Follower, "divided", lambda *what: (divided(*what), told.set()))

    def look(image, event, _meta):
        middle = image[SIDE // 2 - 30 : SIDE // 2 + 30, SIDE // 2 - 30 : SIDE // 2 + 30]
        seen[event.index["t"]] = (event.index["p"], middle.copy())
        # However slow the machine is, the answer comes before the next frames.
        assert event.index["t"] != DIVIDES_AT + 1 or told.wait(60)

    core.mda.events.frameReady.connect(look)
    with Client(daemon.url) as client:
        follow_division.follow(core, client, n_frames=9, interval_s=0.1)
    row, column = places()[MOTHER]
    where = core.getXYPosition()
    assert where == pytest.approx((column + 0.5 - SIDE / 2, row + 0.5 - SIDE / 2), abs=3)
    moved, middle = seen[8]
    assert moved == 1 and middle.max() > 2500, "the daughters are in the middle of the last frame"
