"""Folders of runs as `cellsegd segment` writes them, made of label images by other means: numpy and pycocotools."""

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

CLASSES = ["cell", "nucleus"]


def header() -> dict:
    return {
        "cellsegd": "9.8.7",
        "started_at": "2026-01-02T03:04:05Z",
        "ended_at": None,
        "server": None,
        "model": {
            "name": "pilot", "version": "1", "sha256": "ab" * 32, "precision": "fp32", "head": "yolo_seg",
            "input": [640, 640], "classes": CLASSES,
        },
        "backend": "rten", "device": "CPU",
        "options": {
            "thresholds": {"confidence": 0.35, "iou": 0.6, "class_agnostic": True, "max_cells": 5000, "min_area_px": 0,
                           "min_area_um2": None, "max_area_um2": None, "classes": [], "class_confidence": {}, "border": "keep"},
            "normalization": {"policy": "percentiles", "low": 0.5, "high": 99.5, "min_span_counts": None, "min_span_of_full_range": 0.01},
            "raw_masks": False,
        },
        "pixel_size_um": None, "inputs": None, "totals": None,
    }  # fmt: skip


def results(image_id: str, labels: np.ndarray, tracks: dict[int, dict] | None, classes: dict[int, int], measures: dict[int, dict]):
    """COCO results, a cell a label 1..n."""
    found = []
    for label in range(1, labels.max() + 1):
        rle = coco_mask.encode(np.asfortranarray(labels == label))
        cell = {
            "image_id": image_id,
            "category_id": classes.get(label, 0),
            "category": CLASSES[classes.get(label, 0)],
            "bbox": [int(side) for side in coco_mask.toBbox(rle)],
            "score": 0.9,
            "area": int(coco_mask.area(rle)),
            "segmentation": {"size": list(map(int, rle["size"])), "counts": rle["counts"].decode()},
            "label": label,
            "touches_border": False,
        }
        if tracks:
            cell["track"] = {"parent_id": None, "age": 1, "gap": 0, "moved_px": None} | tracks[label]
        if label in measures:
            cell["measures"] = measures[label]
        found.append(cell)
    return found


class RunFolder:
    """Written as a run goes: the header first, a line a frame after its cells."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (folder / "run.json").write_text(json.dumps(header()))
        (folder / "frames.jsonl").touch()

    def line(self, record: dict):
        with (self.folder / "frames.jsonl").open("a") as lines:
            lines.write(json.dumps(record) + "\n")

    def segmented(self, image_id, labels, metadata=None, tracks=None, classes=None, measures=None, file=None, page=0, **summary):
        cells = results(image_id, labels, tracks, classes or {}, measures or {})
        (self.folder / f"{image_id}.json").write_text(json.dumps(cells))
        height, width = labels.shape
        self.line({
            "image_id": image_id, "file": str(file or f"{image_id}.png"), "page": page, "metadata": metadata or {},
            "segmented": {
                "width": width, "height": height, "cells": len(cells), "confluence": float((labels > 0).mean()),
                "analysed_px": width * height, "removed_by_area": 0, "removed_at_border": 0, "truncated": False,
                "normalization": {"policy": "window", "low": 0, "high": 255}, "nearest_mean_px": None, "neighbours_mean": None,
                "drift_px": None, "growth": None, "tiles": 1, "notices": [],
            } | summary,
        })  # fmt: skip

    def lost(self, image_id, why="deadline", metadata=None):
        self.line({"image_id": image_id, "file": f"{image_id}.png", "page": 0, "metadata": metadata or {}, "dropped": why})
