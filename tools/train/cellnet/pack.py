"""The training data as one file: images as PNG, labels as 16-bit PNG, and an index.

An image is stored between its own percentiles 0.1 and 99.9, so that 7 bits suffice (the last one is mostly noise, and noise does
not compress); where its percentiles 0.5 and 99.5 lie, by which the daemon stretches a frame, is written beside it. About 42 MiB
for all images, so that it can be taken to another machine.
"""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from cellnet.contract import SHOWN
from cellnet.tiles import fields_of

STORED = (0.1, 99.9)
MOST = 254
"""What the upper one of STORED is stored as; the lower one is 0. Only even values are used."""

STRAY = 0.05
"""What is less of a label's area, and apart from the rest, is not the cell's."""

OVERLAPPING = ((7, 8), (9, 10), (14, 32), (30, 31), (31, 33), (36, 37), (38, 39))
"""Fields of usiigaci_t98g that show some of the same cells: on one side of every split."""


@dataclass(frozen=True)
class Source:
    """One folder of images and masks."""

    folder: str
    class_index: int


SOURCES = (Source("usiigaci_t98g", 0), Source("dsb2018_fluo", 1))


@dataclass(frozen=True)
class Entry:
    """What the index says of one image."""

    name: str
    source: str
    class_index: int
    low: float
    high: float
    """Where SHOWN lies between STORED, which are 0 and 1."""
    group: str
    """Images of one group are never on both sides of a split."""


@dataclass(frozen=True)
class Sample:
    """One image with its labels."""

    entry: Entry
    image: np.ndarray
    """uint8 [H, W], 0 to MOST."""
    labels: np.ndarray
    """uint16 [H, W]; 0 is background."""
    areas: np.ndarray
    """Pixels of each label."""


def pack(data: Path, out: Path) -> list[Entry]:
    """Writes `out` from the folders under `data`, whole or not at all. Images to judge by (`val`) are not even packed."""
    entries = []
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for source in SOURCES:
            folder = data / source.folder / "train"
            paths = sorted((folder / "images").glob("*.png"))
            groups = groups_of({path.stem: _read(path) for path in paths})
            for path in paths:
                labels = _read(folder / "masks" / path.name)
                image, low, high = stored(_read(path))
                if image.shape != labels.shape:
                    raise ValueError(f"{path}: image {image.shape} and labels {labels.shape} differ in size")
                group = f"{source.folder}/{groups[path.stem]}"
                entries.append(Entry(path.stem, source.folder, source.class_index, low, high, group))
                for kind, pixels in (("image", image), ("labels", labels.astype(np.uint16))):
                    archive.writestr(_member(entries[-1], kind), cv2.imencode(".png", pixels, _SMALL)[1].tobytes())
        if not entries:
            raise FileNotFoundError(f"no images under {data}: wanted SOURCE/train/images of {[source.folder for source in SOURCES]}")
        archive.writestr("index.json", json.dumps([asdict(entry) for entry in entries], indent=1))
    part.replace(out)
    return entries


def load(path: Path) -> list[Sample]:
    """All images, decoded."""
    # OpenCV's threads do not survive the fork that makes a loader's processes: those would wait for them for good.
    cv2.setNumThreads(1)
    samples = []
    with zipfile.ZipFile(path) as archive:
        for values in json.loads(archive.read("index.json")):
            entry = Entry(**values)
            image, labels = (
                cv2.imdecode(np.frombuffer(archive.read(_member(entry, kind)), np.uint8), cv2.IMREAD_UNCHANGED)
                for kind in ("image", "labels")
            )
            labels = without_strays(labels)
            samples.append(Sample(entry, image, labels, np.bincount(labels.ravel())))
    return samples


def without_strays(labels: np.ndarray) -> np.ndarray:
    """Labels without pieces that are less than STRAY of their label: slips of the pen, which would stretch its box."""
    labels = labels.copy()
    for label, (x0, y0, x1, y1), area in pieces(labels):
        window = labels[y0:y1, x0:x1]
        _, parts, stats, _ = cv2.connectedComponentsWithStats((window == label).astype(np.uint8), connectivity=8)
        for part in np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] < STRAY * area) + 1:
            window[parts == part] = 0
    return labels


def pieces(labels: np.ndarray) -> list[tuple[int, tuple[int, int, int, int], int]]:
    """Label, tight box (x0, y0, x1, y1; x1 and y1 are the first outside) and area of each label of the image."""
    ys, xs = np.nonzero(labels)
    if not len(ys):
        return []
    values = labels[ys, xs]
    order = np.argsort(values, kind="stable")
    values, ys, xs = values[order], ys[order], xs[order]
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    edges = [np.minimum.reduceat(xs, starts), np.minimum.reduceat(ys, starts)]
    edges += [np.maximum.reduceat(xs, starts) + 1, np.maximum.reduceat(ys, starts) + 1]
    areas = np.diff(np.r_[starts, len(values)])
    boxes = np.stack(edges, 1).tolist()
    return [(label, tuple(box), area) for label, box, area in zip(values[starts].tolist(), boxes, areas.tolist(), strict=True)]


def stored(image: np.ndarray) -> tuple[np.ndarray, float, float]:
    """An image as it is packed, and where SHOWN lies in it."""
    values = image.astype(np.float32)
    least, low, high, most = np.percentile(values, [STORED[0], *SHOWN, STORED[1]])
    span = max(most - least, 1.0)
    packed = np.clip((values - least) * (MOST / 2 / span), 0, MOST / 2).round().astype(np.uint8) * 2
    low, high = (low - least) / span, (high - least) / span
    return packed, float(low), float(max(high, low + 0.01))


def groups_of(images: dict[str, np.ndarray]) -> dict[str, str]:
    """The group of each image by its name: those of one field, and those of fields that overlap. Named for one of them."""
    groups = {name: group_of(name) for name in images}
    for name, field in fields_of(images).items():
        one, other = sorted((groups[name], groups[field]))
        groups = {each: one if group == other else group for each, group in groups.items()}
    return groups


def group_of(stem: str) -> str:
    """The first of the fields that overlap; an image that overlaps none is its own group."""
    digits = stem.removeprefix("set")
    if digits == stem or not digits.isdigit():
        return stem
    group = {int(digits)}
    while True:
        more = {field for pair in OVERLAPPING if group & set(pair) for field in pair}
        if more <= group:
            return f"set{min(group):02}"
        group |= more


_SMALL = [cv2.IMWRITE_PNG_COMPRESSION, 9]


def _member(entry: Entry, kind: str) -> str:
    return f"{entry.source}/{kind}/{entry.name}.png"


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise FileNotFoundError(f"{path}: no image that can be read")
    return image if image.ndim == 2 else image[..., 0]
