"""The records of a run's folder, as docs/run-folder.md has them: what the program's own reader takes."""

from __future__ import annotations

from typing import Any

from cellsegd import contract as pb
from cellsegd import masks
from cellsegd.cell import Cell
from cellsegd.result import Result


def header(
    opened: pb.SessionOpened, url: str, started_at: str, version: str, flat_field: dict[str, str | None] | None
) -> dict[str, Any]:
    """`run.json` of a run that is going on."""
    model = opened.model
    return {
        "cellsegd": version,
        "started_at": started_at,
        "ended_at": None,
        "server": {"url": url, "version": opened.server_version},
        "model": {
            "name": model.name,
            "version": model.version,
            "sha256": model.sha256,
            "precision": model.precision,
            "head": model.head,
            "input": [model.input_width, model.input_height],
            "classes": list(model.classes),
        },
        "backend": opened.backend,
        "device": opened.device,
        "options": _options(opened.settled) | {"flat_field": flat_field},
        "pixel_size_um": None,
        # Frames of a live run are in no folder.
        "inputs": None,
        "totals": None,
    }


def cells_list(image_id: str, result: Result) -> list[dict[str, Any]]:
    """`IMAGE_ID.json`: COCO results, with all that is known of each cell."""
    height, width = result.shape
    raw = any(cell.label == 0 for cell in result.cells)
    found = []
    for cell in result.cells:
        instance = cell.message
        mask = cell.tight_mask()
        if instance.WhichOneof("mask") == "rle":
            counts = instance.rle.counts
        else:
            counts = masks.counts_of(mask, height, width)
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": cell.class_index,
            "category": cell.class_name,
            "bbox": [mask.left, mask.top, mask.image.shape[1], mask.image.shape[0]],
            "score": cell.score,
            "area": int(mask.image.sum()),
            "segmentation": {"size": [height, width], "counts": counts.decode("ascii")},
        }
        if not raw:
            box = instance.detected_box
            entry |= {"label": cell.label, "detected_box": [box.x0, box.y0, box.x1, box.y1], "touches_border": cell.touches_border}
            if instance.HasField("track"):
                entry["track"] = _track(instance.track)
            if instance.HasField("measures"):
                entry["measures"] = _measures(cell)
        found.append(entry)
    return found


def fate(result: Result, measured_on: str | None) -> dict[str, Any]:
    """What became of a frame, as a key of its line; `measured_on` is the image_id of the frame whose cells were measured."""
    if result.outcome == "measured" and measured_on is not None:
        return {"measured": {"on": measured_on}}
    if result.outcome == "measured":
        return {"failed": "not measured: its cells are not known"}
    if result.outcome != "segmented":
        return {result.outcome: result.reason}
    segmentation = result.message.segmentation
    summary = segmentation.summary
    applied = segmentation.normalization
    return {
        "segmented": {
            "width": segmentation.width,
            "height": segmentation.height,
            "cells": len(segmentation.instances),
            "confluence": summary.confluence,
            "analysed_px": summary.analysed_px,
            "removed_by_area": summary.removed_by_area,
            "removed_at_border": summary.removed_at_border,
            "truncated": segmentation.truncated,
            "normalization": {"policy": applied.policy, "low": applied.low, "high": applied.high},
            "nearest_mean_px": _known(summary, "nearest_neighbour_mean_px"),
            "neighbours_mean": _known(summary, "neighbours_mean"),
            "drift_px": [summary.drift.x_px, summary.drift.y_px] if summary.HasField("drift") else None,
            "growth": _growth(summary.growth) if summary.HasField("growth") else None,
            "tiles": max(1, result.message.timing.tiles),
            "notices": [message for _, message in result.notices],
        }
    }


def intensities(channels: Any) -> list[dict[str, Any]]:
    """One a channel, as a cell's `measures` hold them."""
    return [
        {
            "channel": it.channel,
            "mean": it.mean,
            "min": it.min,
            "max": it.max,
            "std": it.std,
            "integrated": it.integrated,
            "background": _known(it, "background"),
            "weighted_centroid_px": [it.weighted_centroid_x_px, it.weighted_centroid_y_px],
        }
        for it in channels
    ]


def _options(settled: pb.SessionOptions) -> dict[str, Any]:
    thresholds, tiling, measurements = settled.thresholds, settled.tiling, settled.measurements
    border = pb.BorderRule.Name(thresholds.border).removeprefix("BORDER_RULE_").lower()
    mode = pb.Tiling.Mode.Name(tiling.mode).removeprefix("MODE_").lower()
    tracking, growth = settled.tracking, settled.growth
    return {
        "thresholds": {
            "confidence": thresholds.confidence,
            "iou": thresholds.iou,
            "class_agnostic": thresholds.class_agnostic,
            "max_cells": thresholds.max_cells,
            "min_area_px": thresholds.min_area_px,
            "min_area_um2": _known(thresholds, "min_area_um2"),
            "max_area_um2": _known(thresholds, "max_area_um2"),
            "classes": list(thresholds.classes),
            "class_confidence": {str(index): value for index, value in thresholds.class_confidence.items()},
            "border": "keep" if border == "unspecified" else border,
        },
        "normalization": _normalization(settled.normalization),
        "smoothing": settled.normalization.percentiles.smoothing,
        "tiling": {
            "mode": "auto" if mode == "unspecified" else mode,
            "overlap": tiling.overlap,
            "target_um_per_px": _known(tiling, "target_um_per_px"),
        },
        "measurements": {
            **{group: getattr(measurements, group) for group in ("shape", "hull", "intensity", "background", "neighbours")},
            "neighbour_radius": _distance(measurements, "neighbour_radius"),
        },
        "tracking": {
            "max_gap": tracking.max_gap,
            "max_distance": _distance(tracking, "max_distance"),
            "divisions": tracking.divisions,
            "z_plane": tracking.z_plane,
        }
        if settled.HasField("tracking")
        else None,
        "growth": {"window_hours": growth.window_hours, "min_points": growth.min_points} if settled.HasField("growth") else None,
        "region": [_corners(ring) for ring in settled.region.rings] or None,
        "raw_masks": settled.outputs.raw_masks,
    }


def _normalization(settled: pb.Normalization) -> dict[str, Any]:
    policy = settled.WhichOneof("policy")
    record: dict[str, Any] = {
        "policy": "full_range",
        "low": None,
        "high": None,
        "min_span_counts": None,
        "min_span_of_full_range": None,
    }
    if policy in ("window", "percentiles"):
        rule = getattr(settled, policy)
        record |= {"policy": policy, "low": rule.low, "high": rule.high}
        if policy == "percentiles":
            record["min_span_counts"] = _known(rule, "min_span")
    return record


def _distance(message: pb.Measurements | pb.Tracking, name: str) -> dict[str, float] | None:
    for unit in ("px", "um"):
        value: float | None = _known(message, f"{name}_{unit}")
        if value is not None:
            return {unit: value}
    return None


def _corners(ring: pb.Ring) -> list[list[int]]:
    x = y = 0
    corners = []
    for dx, dy in zip(ring.xy_delta[::2], ring.xy_delta[1::2], strict=True):
        x, y = x + dx, y + dy
        corners.append([x, y])
    return corners


def _track(track: pb.Track) -> dict[str, Any]:
    moved = [track.moved_x_px, track.moved_y_px] if track.HasField("moved_x_px") else None
    return {"id": track.id, "parent_id": _known(track, "parent_id"), "age": track.age, "gap": track.gap, "moved_px": moved}


def _measures(cell: Cell) -> dict[str, Any]:
    measures = cell.message.measures
    groups: dict[str, Any] = {
        "centroid_px": [measures.centroid_x_px, measures.centroid_y_px],
        "intensity": intensities(measures.intensity),
    }
    for group in ("shape", "hull", "neighbours"):
        groups[group] = _fields(getattr(measures, group)) if measures.HasField(group) else None
    return groups


def _fields(message: pb.Shape | pb.Hull | pb.Neighbours) -> dict[str, Any]:
    """In pixels: micrometres are made from them again."""
    names = [field.name for field in message.DESCRIPTOR.fields]
    return {name: _known(message, name) for name in names if not name.endswith(("_um", "_um2"))}


def _growth(growth: pb.Growth) -> dict[str, Any]:
    def rate(name: str) -> dict[str, Any] | None:
        if not growth.HasField(name):
            return None
        it = getattr(growth, name)
        known = it.HasField("doubling_hours") and it.HasField("doubling_low_hours") and it.HasField("doubling_high_hours")
        doubling = [it.doubling_hours, it.doubling_low_hours, it.doubling_high_hours] if known else None
        return {"per_hour": it.per_hour, "doubling_hours": doubling}

    return {
        "count": rate("count"),
        "confluence": rate("confluence"),
        "points": growth.points,
        "span_hours": growth.span_hours,
        "excluded": growth.excluded,
        "fields": growth.fields,
    }


def _known(message: Any, name: str) -> Any:
    """None where a number was not sent."""
    field = message.DESCRIPTOR.fields_by_name[name]
    return getattr(message, name) if not field.has_presence or message.HasField(name) else None
