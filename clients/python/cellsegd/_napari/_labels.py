"""From an answer to what a labels layer shows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cellsegd.result import Result


def labels_above(result: Result, confidence: float) -> npt.NDArray[np.int32]:
    """The cells whose score is above `confidence`, as the daemon itself would choose: by track id where they are followed, so that
    a cell keeps its colour, else by label."""
    numbers = np.zeros(max((cell.label for cell in result.cells), default=0) + 1, np.int32)
    for cell in result.cells:
        if cell.score > confidence:
            number = cell.label if cell.track_id is None else cell.track_id
            # 0 is the background, and napari's labels are signed.
            numbers[cell.label] = (number - 1) % np.iinfo(np.int32).max + 1
    return numbers[result.labels]


def count_above(result: Result, confidence: float) -> int:
    """How many cells that are."""
    return sum(cell.score > confidence for cell in result.cells)
