"""Results as layers for napari, which need not be installed here."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cellsegd.result import Result

LayerData = tuple[npt.NDArray[Any], dict[str, Any], str]
"""What `napari.Viewer.add_layer(napari.layers.Layer.create(*data))` takes: data, how it is shown, the kind of layer."""


def layers(result: Result, name: str = "cells") -> list[LayerData]:
    """A layer of labels, coloured by track where cells are followed, and one of points, each with its cells' records as features.
    In micrometres where the frame's pixel_size_um is known."""
    pixel_size_um = result.metadata.get("pixel_size_um")
    shown: dict[str, Any] = {} if pixel_size_um is None else {"scale": (pixel_size_um, pixel_size_um), "units": ("um", "um")}
    records = result.records()
    followed = any(cell.track_id is not None for cell in result.cells)
    columns = {column: [record.get(column) for record in records] for column in dict.fromkeys(key for it in records for key in it)}
    labels = result.labels_by_track() if followed else result.labels
    # napari finds a label's features by this column.
    index = [cell.track_id if followed else cell.label for cell in result.cells]
    centres = np.array([cell.centroid_yx for cell in result.cells], float).reshape(-1, 2)
    return [
        (labels, shown | {"name": name, "features": columns | {"index": index}}, "labels"),
        (centres, shown | {"name": f"{name}: centres", "features": columns, "size": 5}, "points"),
    ]
