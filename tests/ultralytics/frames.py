"""Frames as a screenshot has them, 8 bits of grey, of the bundled time-lapse; and a few to train on."""

from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ["cell", "large cell"]
# Pixels of the frame from which on a cell is called large: two classes, so that suppression has to keep them apart.
LARGE = 1200
TRAINING = (1, 2, 3, 4)
SIDE = 512


def frame(n: int) -> np.ndarray:
    """Frame `n` of the time-lapse, from 1, 8 bits."""
    image = cv2.imread(str(ROOT / f"demo/t{n:02}.png"), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint16
    return (image >> 8).astype(np.uint8)


def labels(n: int) -> np.ndarray:
    """Its cells as another tool found them, 0 is background."""
    half = cv2.imread(str(ROOT / f"tests/data/t98g_tracks/t{n:02}.png"), cv2.IMREAD_UNCHANGED)
    height, width = frame(n).shape
    return cv2.resize(half, (width, height), interpolation=cv2.INTER_NEAREST)


def exact() -> dict[str, np.ndarray]:
    """Frames that both sides scale to 640 without a rounding: at 1, and at 2 where four pixels are alike; with padding, too."""
    part = frame(5)[191:831, 192:832]
    doubled = part.repeat(2, axis=0).repeat(2, axis=1)
    return {"640x640": part, "480x640": part[:, 80:560], "1280x1280": doubled, "1280x960": doubled[:960]}


def other() -> dict[str, np.ndarray]:
    """Frames whose scaling rounds: ultralytics resizes in 8 bits."""
    whole = frame(5)
    mirrored = cv2.copyMakeBorder(whole, 0, 1280 - whole.shape[0], 0, 1280 - whole.shape[1], cv2.BORDER_REFLECT)
    return {"1280x1280": mirrored, "1024x1022": whole, "696x520": whole[300:820, 150:846]}


def training_set(folder: Path) -> Path:
    """Quarters of the other frames with their cells as polygons, in the folders that `yolo train` reads; its data file."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for n in TRAINING:
        image, cells = frame(n), labels(n)
        for top in (0, image.shape[0] - SIDE):
            for left in (0, image.shape[1] - SIDE):
                part = np.s_[top : top + SIDE, left : left + SIDE]
                name = f"t{n}_{top}_{left}"
                cv2.imwrite(str(folder / "images" / f"{name}.png"), image[part])
                (folder / "labels" / f"{name}.txt").write_text("\n".join(polygons(cells[part])))
    data = folder / "data.yaml"
    data.write_text(f"path: {folder}\ntrain: images\nval: images\nnames: {CLASSES}\n")
    return data


def polygons(cells: np.ndarray) -> list[str]:
    """A line a cell: its class, then corners as fractions of the side."""
    lines = []
    for value in np.unique(cells)[1:]:
        mask = (cells == value).astype(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        outline = max(outlines, key=cv2.contourArea).reshape(-1, 2)
        if len(outline) >= 12:
            numbers = ((outline + 0.5) / SIDE).ravel()
            lines.append(" ".join([str(int(mask.sum() > LARGE)), *(f"{number:.5f}" for number in numbers)]))
    return lines
