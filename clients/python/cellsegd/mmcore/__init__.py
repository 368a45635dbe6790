"""Frames of a Micro-Manager core (pymmcore-plus), segmented while they are acquired.

    from cellsegd import Client
    from cellsegd.mmcore import attach, measure

    with Client("unix:///run/cellsegd/cellsegd.sock") as client:
        with attach(core, client, {"Phase": "cells", "GFP": measure("Phase")}) as cells:
            cells.segmented.connect(lambda result, event: print(event.index, len(result.cells)))
            core.mda.run(sequence)

Acquisition comes first: nothing here makes it wait, and a frame that could not be segmented is written down as such.
"""

from ._attach import Attachment, attach
from ._live import Live, live
from ._plan import Measure, measure

__all__ = ["Attachment", "Live", "Measure", "attach", "live", "measure"]
