"""Masks that look cut: a side of theirs is straight, as where a box ends before the cell does."""

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

SHARE = 0.5
"""A side is straight where the outermost row or column of the mask fills so much of it in one run."""
LEAST = 12
"""Smaller masks, in pixels a side, are not looked at: a few pixels are always straight."""


def share(annotations: Path) -> float | None:
    """Of masks that do not touch the frame's edge how many have a straight side: 0 to 1, None where there is no such mask.
    `annotations` is truth.json or detections-MODEL.json of `cellsegd eval --out`."""
    values = json.loads(annotations.read_text())
    rows = values["annotations"] if isinstance(values, dict) else values
    looked_at = [is_straight(coco.decode(row["segmentation"]).astype(bool)) for row in rows]
    known = [straight for straight in looked_at if straight is not None]
    return sum(known) / len(known) if known else None


def is_straight(mask: np.ndarray) -> bool | None:
    """None where that cannot be said: a mask that is small or touches the edge."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) < LEAST or len(columns) < LEAST:
        return None
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    if top == 0 or left == 0 or bottom == mask.shape[0] - 1 or right == mask.shape[1] - 1:
        return None
    inside = mask[top : bottom + 1, left : right + 1]
    return any(longest_run(side) >= SHARE * len(side) for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def longest_run(side: np.ndarray) -> int:
    """Of True values in a row."""
    ends = np.flatnonzero(np.diff(np.r_[False, side, False]))
    return int((ends[1::2] - ends[::2]).max(initial=0))
