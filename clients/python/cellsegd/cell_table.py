"""Rows of `cells.csv`: a row a cell and channel, named as in the table that `cellsegd export --as csv` writes. Coordinates are the
contract's pixel edges, as there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cellsegd.measures import measures_of
from cellsegd.result import Result

_PLACE = ("plate", "well", "field", "position")
_COUNTS = ("mean", "min", "max", "std", "integrated", "background")
COLUMNS = (
    "image_id", *_PLACE, "channel", "t", "z", "elapsed_h", "label", "class", "score", "track_id", "parent_id", "track_age_frames",
    "track_gap_frames", "area_px", "area_um2", "bbox_x0_px", "bbox_y0_px", "bbox_x1_px", "bbox_y1_px", "centroid_x_px",
    "centroid_y_px", "stage_x_um", "stage_y_um", "touches_border", "perimeter_px", "perimeter_um", "major_axis_px", "major_axis_um",
    "minor_axis_px", "minor_axis_um", "eccentricity", "orientation_rad", "extent", "equivalent_diameter_px",
    "equivalent_diameter_um", "circularity", "euler_number", "convex_area_px", "convex_area_um2", "solidity", "feret_max_px",
    "feret_max_um", "feret_min_px", "feret_min_um", "nearest_px", "nearest_um", "neighbours_within_radius",
    *(f"{name}_counts" for name in _COUNTS),
)  # fmt: skip
"""In this order; what is not known is empty."""


def rows(image_id: str, result: Result) -> Iterator[dict[str, Any]]:
    """Of one answer: its cells, or those of an earlier frame measured in this one."""
    metadata = result.metadata
    index = metadata.get("index", {})
    frame = {
        "image_id": image_id,
        **{name: metadata.get(name) for name in (*_PLACE, "channel")},
        "t": index.get("t"),
        "z": index.get("z"),
    }
    if "elapsed_ms" in metadata:
        frame["elapsed_h"] = metadata["elapsed_ms"] / 3_600_000
    for measured in result.measured:
        for intensity in measured.message.intensity:
            yield {**frame, "label": measured.label, "track_id": measured.track_id, **_counts(intensity)}
    for cell in result.cells:
        message = cell.message
        y, x = cell.centroid_yx
        row = {
            **frame,
            "label": cell.label,
            "class": cell.class_name,
            "score": cell.score,
            "track_id": cell.track_id,
            "parent_id": cell.parent_id,
            "track_age_frames": message.track.age if message.HasField("track") else None,
            "track_gap_frames": message.track.gap if message.HasField("track") else None,
            "bbox_x0_px": message.box.x0,
            "bbox_y0_px": message.box.y0,
            "bbox_x1_px": message.box.x1,
            "bbox_y1_px": message.box.y1,
            "centroid_x_px": x + 0.5,
            "centroid_y_px": y + 0.5,
            "touches_border": cell.touches_border,
            "area_px": cell.area_px,
        }
        if message.HasField("measures"):
            row |= {name: value for name, value in measures_of(message.measures).items() if name in COLUMNS}
        channels = [_counts(intensity) for intensity in message.measures.intensity]
        for counts in channels or [{}]:
            yield row | counts


def _counts(intensity: Any) -> dict[str, Any]:
    known = {f"{name}_counts": getattr(intensity, name) for name in _COUNTS if name != "background" or intensity.HasField(name)}
    return {"channel": intensity.channel, **known}
