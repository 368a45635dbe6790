"""Run lengths against pycocotools, outlines against themselves filled again."""

import numpy as np
import pytest
from pycocotools import mask as coco

from cellsegd import contract as pb
from cellsegd import masks


def shapes():
    random = np.random.default_rng(0)
    for n in range(200):
        height, width = random.integers(1, 60, 2)
        image = random.random((height, width)) < random.choice([0.05, 0.5, 0.95])
        if n % 3 == 0:
            y, x = np.mgrid[:height, :width]
            image = np.hypot(y - height / 2, x - width / 2) < min(height, width) / 2.2
        if n % 10 == 0:
            image[:] = True
        if image.any():
            yield image


def encoded(image: np.ndarray) -> bytes:
    return coco.encode(np.asfortranarray(image.astype(np.uint8)))["counts"]


def test_run_lengths_are_those_of_pycocotools():
    for image in shapes():
        counts = encoded(image)
        np.testing.assert_array_equal(masks.image_of_counts(counts, *image.shape), image)
        mask = masks.of_instance(pb.Instance(rle=pb.CocoRle(counts=counts)), *image.shape)
        assert masks.counts_of(mask, *image.shape) == counts
        assert mask.image.any(axis=0)[[0, -1]].all() and mask.image.any(axis=1)[[0, -1]].all(), "the box is tight"


def test_an_outline_filled_again_is_the_mask():
    for image in shapes():
        mask = masks.of_instance(pb.Instance(rle=pb.CocoRle(counts=encoded(image))), *image.shape)
        rings = [np.round(line[:, ::-1] + 0.5).astype(int) for line in masks.outlines(mask)]
        deltas = [np.diff(ring, axis=0, prepend=[[0, 0]]).ravel().tolist() for ring in rings]
        instance = pb.Instance(rings=pb.Rings(rings=[pb.Ring(xy_delta=delta) for delta in deltas]))
        np.testing.assert_array_equal(masks.paint([(1, instance)], *image.shape, np.int32).astype(bool), image)


def test_an_outer_line_runs_clockwise_on_screen_and_a_hole_the_other_way():
    image = np.ones((5, 5), bool)
    image[2, 2] = False
    lines = masks.outlines(masks.Mask(10, 20, image))
    # Shoelace of (column, row) with rows down: clockwise on screen is positive.
    areas = [0.5 * np.sum(line[:, 1] * np.roll(line[:, 0], -1) - np.roll(line[:, 1], -1) * line[:, 0]) for line in lines]
    assert sorted(areas) == [-1, 25]
    assert max(lines, key=len).min(axis=0).tolist() == [9.5, 19.5]


@pytest.mark.parametrize("counts", [b"", b"0", b"\xff", b"P", b"o" * 20 + b"0", b"Q1Q1"])
def test_damaged_run_lengths_are_refused(counts):
    with pytest.raises(ValueError, match="run lengths"):
        masks.image_of_counts(counts, 5, 7)
