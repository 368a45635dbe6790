"""Which images are tiles of one field: the last row of the one goes on in the first row of the other."""

from collections import defaultdict

import numpy as np

ALIKE = 0.97
"""Correlation of two borders that face each other. Borders of the same field pass it, and hardly any others do."""


def fields_of(images: dict[str, np.ndarray]) -> dict[str, str]:
    """For each name the first of the names whose images are of the same field; an image that nothing goes on in is its own."""
    field = {name: name for name in sorted(images)}
    by_shape = defaultdict(list)
    for name in field:
        by_shape[images[name].shape].append(name)
    for names in by_shape.values():
        stack = [images[name].astype(np.float32) for name in names]
        for last, first in ((np.s_[:, -1], np.s_[:, 0]), (np.s_[-1], np.s_[0])):
            alike = _standard([image[last] for image in stack]) @ _standard([image[first] for image in stack]).T
            np.fill_diagonal(alike, 0)
            for one, other in zip(*np.nonzero(alike > ALIKE), strict=True):
                _join(field, names[one], names[other])
    return field


def _standard(borders: list[np.ndarray]) -> np.ndarray:
    """Each of mean 0 and length 1; a border without any contrast is like none."""
    borders = np.stack(borders)
    borders = borders - borders.mean(1, keepdims=True)
    length = np.linalg.norm(borders, axis=1, keepdims=True)
    return np.where(length > 0, borders / np.maximum(length, 1e-6), 0)


def _join(field: dict[str, str], one: str, other: str) -> None:
    first, second = sorted((field[one], field[other]))
    for name, its in field.items():
        if its == second:
            field[name] = first
