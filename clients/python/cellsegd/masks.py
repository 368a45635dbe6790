"""Masks in the contract's forms, as runs of pixels. Everything else is made from the runs: crops, label images, outlines.

A run is a stretch of one column: COCO counts down the columns, so starts and lengths are of the frame in Fortran order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cellsegd import contract as pb
from cellsegd.metadata import adopt

Bits = npt.NDArray[np.bool_]


class Mask(NamedTuple):
    """A cell's pixels in the tight box around them."""

    top: int
    left: int
    image: Bits


def of_instance(instance: pb.Instance, height: int, width: int) -> Mask | None:
    """None: the session did not ask for masks."""
    kind = instance.WhichOneof("mask")
    if kind == "rle":
        starts, lengths = runs(instance.rle.counts, height * width)
        if starts.size == 0:
            return Mask(0, 0, np.zeros((0, 0), bool))
        # Of its columns only.
        left, right = int(starts[0]) // height, int(starts[-1] + lengths[-1] - 1) // height + 1
        columns = np.zeros((right - left) * height, bool)
        columns[_indices(starts - left * height, lengths)] = True
        return _tight(0, left, columns.reshape(right - left, height).T)
    if kind == "bits":
        bits = instance.bits
        rows = np.frombuffer(bits.bits, np.uint8).reshape(bits.height, bits.row_bytes)
        image = np.unpackbits(rows, axis=1, bitorder="little")[:, : bits.width].astype(bool)
        return _tight(bits.y, bits.x, image)
    if kind == "rings":
        rings = [np.cumsum(np.array(ring.xy_delta, np.int64).reshape(-1, 2), axis=0) for ring in instance.rings.rings]
        return _tight(0, 0, _inside(rings, height, width))
    return None


def image_of_counts(counts: bytes, height: int, width: int) -> Bits:
    """The whole frame of COCO's compressed run lengths; ValueError where they are not of this size."""
    starts, lengths = runs(counts, height * width)
    image = np.zeros(height * width, bool)
    image[_indices(starts, lengths)] = True
    return image.reshape(width, height).T


def runs(counts: bytes, pixels: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Starts and lengths of the runs inside, of COCO's compressed counts (pycocotools' rleFrString)."""
    letters = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if letters.size == 0 or letters.min() < 0 or letters.max() > 63 or letters[-1] & 0x20:
        raise ValueError("run lengths are damaged")
    # A number ends with the letter that has no continuation bit; five bits a letter, the lowest first.
    last = np.flatnonzero(letters & 0x20 == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    which = np.repeat(np.arange(last.size), last - first + 1)
    place = 5 * (np.arange(letters.size) - first[which])
    if place.max() > 40:
        raise ValueError("run lengths are damaged")
    numbers = np.bincount(which, weights=((letters & 0x1F) << place).astype(float)).astype(np.int64)
    negative = letters[last] & 0x10 != 0
    numbers[negative] -= np.int64(1) << (place[last[negative]] + 5)
    # From the fourth on they are differences to the last but one.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    if (numbers < 0).any() or numbers.sum() != pixels:
        raise ValueError(f"run lengths are of {numbers.sum()} pixels, the frame has {pixels}")
    ends = np.cumsum(numbers)
    lengths = numbers[1::2]
    return ends[1::2] - lengths, lengths


def counts_of(mask: Mask, height: int, width: int) -> bytes:
    """COCO's compressed run lengths over the whole frame (pycocotools' rleToString)."""
    columns = mask.image.T
    edges = np.diff(np.pad(columns.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    column, start = np.nonzero(edges == 1)
    end = np.nonzero(edges == -1)[1]
    starts = (column + mask.left) * height + start + mask.top
    ends = (column + mask.left) * height + end + mask.top
    # A run that goes on in the next column is one run.
    joined = starts[1:] == ends[:-1]
    starts, ends = starts[np.concatenate(([True], ~joined))], ends[np.concatenate((~joined, [True]))]
    borders = np.column_stack((starts, ends)).ravel()
    numbers = np.diff(np.concatenate(([0], borders, [height * width])))
    if numbers[-1] == 0:
        numbers = numbers[:-1]
    letters = bytearray()
    for i, number in enumerate(numbers.tolist()):
        rest = number - numbers.item(i - 2) if i > 2 else number
        while True:
            five, rest = rest & 0x1F, rest >> 5
            more = rest != -1 if five & 0x10 else rest != 0
            letters.append(48 + (five | 0x20 if more else five))
            if not more:
                break
    return bytes(letters)


def paint(instances: list[tuple[int, pb.Instance]], height: int, width: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The label image of cells and the integers that they get; masks are disjoint, so their order does not matter."""
    flat = np.zeros(height * width, dtype)
    others = []
    for value, instance in instances:
        if instance.WhichOneof("mask") == "rle":
            flat[_indices(*runs(instance.rle.counts, height * width))] = value
        else:
            others.append((value, instance))
    image = np.ascontiguousarray(flat.reshape(width, height).T)
    for value, instance in others:
        mask = of_instance(instance, height, width)
        if mask is not None:
            box = image[mask.top : mask.top + mask.image.shape[0], mask.left : mask.left + mask.image.shape[1]]
            box[mask.image] = value
    return image


def resumed(instance: pb.Instance, mask: Mask | None) -> pb.ResumedInstance | None:
    """A cell as `Tracking.resume` takes it, with the mask that came, else `mask`; None without either."""
    again = pb.ResumedInstance(track=instance.track, class_index=instance.class_index)
    kind = instance.WhichOneof("mask")
    if kind is not None:
        adopt(getattr(instance, kind), getattr(again, kind))
        getattr(again, kind).SetInParent()
        return again
    if mask is None:
        return None
    height, width = mask.image.shape
    row_bytes = -(-width // 32) * 4
    rows = np.zeros((height, row_bytes * 8), bool)
    rows[:, :width] = mask.image
    packed = np.packbits(rows, axis=1, bitorder="little").tobytes()
    again.bits.CopyFrom(pb.BitMask(x=mask.left, y=mask.top, width=width, height=height, row_bytes=row_bytes, bits=packed))
    return again


def outlines(mask: Mask) -> list[npt.NDArray[np.float64]]:
    """Closed lines along the pixels' edges, in numpy's convention (row, column; a pixel's centre is whole). An outer line runs
    clockwise on screen, a hole the other way; corners only, the first is not repeated. 4-connected pixels are one piece."""
    image = np.pad(mask.image, 1)
    edges = _edges(image)
    lines = []
    while edges:
        start = min(edges)
        line = [start]
        step = edges[start].pop(0)
        if not edges[start]:
            del edges[start]
        at = (start[0] + step[0], start[1] + step[1])
        while at != start:
            options = edges[at]
            # Where two pixels touch by a corner only, turning right keeps to the pixel at hand.
            right = (step[1], -step[0])
            following = right if right in options else options[0]
            options.remove(following)
            if not options:
                del edges[at]
            if following != step:
                line.append(at)
            step = following
            at = (at[0] + step[0], at[1] + step[1])
        lines.append(np.array(line, float) + np.array([mask.top - 1.5, mask.left - 1.5]))
    return lines


def _edges(image: Bits) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """From each corner (row, column) the steps along the border that begin there, with the mask on their right."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    inside, above, left = image[1:, 1:], image[:-1, 1:], image[1:, :-1]
    for where, offset, step in (
        (inside & ~above, (0, 0), (0, 1)),
        (~inside & above, (0, 1), (0, -1)),
        (inside & ~left, (1, 0), (-1, 0)),
        (~inside & left, (0, 0), (1, 0)),
    ):
        rows, columns = np.nonzero(where)
        for row, column in zip((rows + 1 + offset[0]).tolist(), (columns + 1 + offset[1]).tolist(), strict=True):
            found.setdefault((row, column), []).append(step)
    return found


def _indices(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


def _inside(rings: list[npt.NDArray[np.int64]], height: int, width: int) -> Bits:
    """By the parity of the upright edges to the left."""
    crossings = np.zeros((height, width + 1), np.uint8)
    for ring in rings:
        for (x, y), (to_x, to_y) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
            if x == to_x:
                crossings[min(y, to_y) : max(y, to_y), x] ^= 1
    return np.bitwise_xor.accumulate(crossings, axis=1)[:, :width].astype(bool)


def _tight(top: int, left: int, image: Bits) -> Mask:
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    if rows.size == 0:
        return Mask(top, left, image[:0, :0])
    box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Mask(top + int(rows[0]), left + int(columns[0]), np.ascontiguousarray(box))


def of_label(labels: npt.NDArray[Any], label: int, bbox: tuple[int, int, int, int]) -> Mask:
    """A cell's pixels in a label image, looked for in its box."""
    top, left, bottom, right = bbox
    return _tight(top, left, labels[top:bottom, left:right] == label)
