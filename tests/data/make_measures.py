"""Writes measures/: cells as runs and what scikit-image 0.26 (regionprops), scipy and numpy measure of them, as JSON. The counts
are a formula, the same as in src/measure/tests.rs. Coordinates are pixel edges: scikit-image's + 0.5. Needs numpy, scikit-image, scipy.
With arguments `SEED CASES`, random cases instead of the committed ones, to look for differences.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from scipy import ndimage, spatial
from skimage import draw, measure

OUT = Path(__file__).with_name("measures")
RADIUS = 40.0
SCALARS = {
    "perimeter_px": "perimeter",
    "major_axis_px": "axis_major_length",
    "minor_axis_px": "axis_minor_length",
    "eccentricity": "eccentricity",
    "orientation_rad": "orientation",
    "extent": "extent",
    "equivalent_diameter_px": "equivalent_diameter_area",
    "euler_number": "euler_number",
    "convex_area_px": "area_convex",
    "solidity": "solidity",
    "feret_max_px": "feret_diameter_max",
}


def counts(width: int, height: int, channels: int) -> np.ndarray:
    """Counts without a pattern that the cells could share."""
    x, y, c = np.meshgrid(*(np.arange(n, dtype=np.uint64) for n in (width, height, channels)), indexing="xy")
    values = ((x + 1) * 2654435761 ^ (y + 1) * 40503 * 65537 ^ (c + 1) * 2246822519) % 4294967291 >> 7
    return (values % (65536 if channels == 1 else 256)).astype(np.int64)


def feret_min(cell) -> float:
    """Smallest width of the outline of which scikit-image gives the largest: at right angles to one of the hull's sides."""
    image = np.pad(cell.image_convex, 2)
    outline = np.vstack(measure.find_contours(image, 0.5, fully_connected="high"))
    corners = outline[spatial.ConvexHull(outline).vertices]
    sides = np.roll(corners, -1, axis=0) - corners
    normals = np.stack([-sides[:, 1], sides[:, 0]], axis=1) / np.linalg.norm(sides, axis=1, keepdims=True)
    along = corners @ normals.T
    width = (along.max(axis=0) - along.min(axis=0)).min()
    # Turning by small steps finds nothing narrower, and nearly that.
    angles = np.radians(np.arange(0, 180, 0.1))
    along = corners @ np.stack([np.sin(angles), np.cos(angles)])
    swept = (along.max(axis=0) - along.min(axis=0)).min()
    assert width - 1e-9 <= swept <= width + 0.002 * np.hypot(*image.shape), (width, swept)
    return width


def background(labels: np.ndarray, label: int, pixels: np.ndarray) -> float | None:
    away = ndimage.distance_transform_edt(labels != label)
    around = pixels[(away >= 2) & (away <= 7) & (labels == 0)]
    return float(np.median(around)) if around.size >= 20 else None


def intensities(cell, labels: np.ndarray, pixels: np.ndarray) -> list[dict]:
    found = []
    for channel in np.moveaxis(pixels, 2, 0):
        one = measure.regionprops((labels == cell.label).astype(np.uint8), intensity_image=channel)[0]
        found.append({
            "mean": one.intensity_mean, "min": one.intensity_min, "max": one.intensity_max, "std": one.intensity_std,
            "integrated": int(channel[labels == cell.label].sum()), "background": background(labels, cell.label, channel),
            "weighted_centroid_px": [one.centroid_weighted[1] + 0.5, one.centroid_weighted[0] + 0.5],
        })
    return found


def runs(image: np.ndarray, y0: int, x0: int) -> list[list[int]]:
    edges = np.diff(np.pad(image.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return [[int(y + y0), int(a + x0), int(b + x0)] for (y, a), (_, b) in zip(starts, ends)]


def case(labels: np.ndarray, channels: int = 1) -> dict:
    height, width = labels.shape
    pixels = counts(width, height, channels)
    cells = measure.regionprops(labels)
    centroids = np.array([[cell.centroid[1] + 0.5, cell.centroid[0] + 0.5] for cell in cells]).reshape(-1, 2)
    tree = spatial.cKDTree(centroids) if cells else None
    written = []
    for cell, centroid in zip(cells, centroids):
        values = {name: float(getattr(cell, theirs)) for name, theirs in SCALARS.items()}
        perimeter = values["perimeter_px"]
        values["circularity"] = 4 * np.pi * cell.area / perimeter**2 if perimeter else 0.0
        values["feret_min_px"] = feret_min(cell)
        nearest = tree.query(centroid, k=2)[0][1] if len(cells) > 1 else None
        within = len(tree.query_ball_point(centroid, RADIUS)) - 1
        box = [cell.bbox[i] for i in (1, 0, 3, 2)]
        written.append({
            "runs": runs(cell.image, cell.bbox[0], cell.bbox[1]), "area": int(cell.area), "box": box,
            "centroid_px": centroid.tolist(),
            "scalars": values, "intensity": intensities(cell, labels, pixels), "nearest_px": nearest, "within_radius": within,
        })
    return {"width": width, "height": height, "channels": channels, "radius_px": RADIUS, "cells": written}


def largest_pieces(labels: np.ndarray) -> np.ndarray:
    """Cells as the daemon has them: each its largest 4-connected piece."""
    out = np.zeros_like(labels)
    for label in range(1, labels.max() + 1):
        pieces, n = ndimage.label(labels == label)
        if n:
            out[pieces == 1 + np.argmax(ndimage.sum_labels(np.ones_like(pieces), pieces, np.arange(1, n + 1)))] = label
    return out


def blobs(seed: int, width: int, height: int, smooth: float, share: float) -> np.ndarray:
    """Noise, smoothed and cut: cells of any form, with bays and holes, some on the frame's edge."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((height, width)), smooth)
    return ndimage.label(noise > np.quantile(noise, 1 - share))[0]


def forms() -> np.ndarray:
    """One of each: a pixel, lines, squares, a ring with holes, a disc, an ellipse, a staircase, a bay pinched off."""
    image = np.zeros((150, 170), np.int32)
    image[5, 5] = 1
    image[5, 20:40] = 2
    image[12:40, 8] = 3
    image[15:17, 20:22] = 4
    image[15:35, 30:50] = 5
    image[18:22, 34:40] = image[26:30, 33:36] = image[24, 44] = 0
    image[draw.disk((40, 90), 22.3)] = 6
    image[draw.ellipse(100, 40, 30, 12, rotation=0.7)] = 7
    for i in range(25):
        image[90 + i, 90 + i : 92 + i] = 8
    image[60:63, 130:133] = 9
    image[61, 131] = image[60, 130] = 0
    image[100:140, 125:165] = 10
    image[104:136, 129:161] = 0
    image[115:119, 140:146] = 11
    image[145:150, 0:170] = 12
    image[140, 100] = image[141, 100] = 13
    image[5:9, 140:170] = 14
    image[9:14, 155] = 14
    return image


def committed() -> dict[str, dict]:
    packed = np.arange(1, 41, dtype=np.int32).reshape(5, 8).repeat(9, 0).repeat(9, 1)
    return {
        "forms": case(forms()),
        "blobs": case(largest_pieces(blobs(1, 200, 140, 3.0, 0.35))),
        "rough": case(largest_pieces(blobs(2, 90, 70, 0.8, 0.45))),
        "colour": case(largest_pieces(blobs(3, 100, 80, 3.0, 0.3)), channels=3),
        "full": case(np.ones((33, 70), np.int32)),
        "packed": case(packed),
        "alone": case(np.pad(np.ones((1, 1), np.int32), ((0, 0), (0, 2)))),
        "nothing": case(np.zeros((4, 5), np.int32)),
    }


def random_cases(seed: int, n: int) -> dict[str, dict]:
    rng, cases = np.random.default_rng(seed), {}
    for i in range(n):
        width, height = rng.integers(1, 200, 2)
        labels = blobs(seed * 1000 + i, width, height, rng.uniform(0.3, 5), rng.uniform(0.05, 0.8))
        cases[f"random_{seed}_{i}"] = case(largest_pieces(labels))
    return cases


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    OUT.mkdir(exist_ok=True)
    made = random_cases(*map(int, sys.argv[1:])) if sys.argv[1:] else committed()
    for name, values in made.items():
        (OUT / f"{name}.json").write_text(json.dumps(values, separators=(",", ":")) + "\n")
