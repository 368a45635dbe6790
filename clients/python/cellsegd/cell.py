"""One cell of an answer."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cellsegd import contract as pb
from cellsegd import masks
from cellsegd.measures import measures_of, of_channel


class Cell:
    """One cell, in numpy's convention: row before column, and a pixel's centre is a whole number."""

    def __init__(self, instance: pb.Instance, size: tuple[int, int], class_name: str, borrowed: Any = None) -> None:
        self.message = instance
        """The contract's message, in the contract's coordinates (pixel edges)."""
        self.label = instance.label
        """Its integer in the label image of this frame, from 1."""
        self.class_index = instance.class_index
        """Into the model's classes."""
        self.class_name = class_name
        """The class by name; "" where the model names none."""
        self.score = float(instance.score)
        """0..1."""
        self.touches_border = instance.touches_border
        """A pixel of it lies on the edge of the frame, or of the region."""
        self._size = size
        self._borrowed = borrowed

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """(min_row, min_col, max_row, max_col), half-open, as scikit-image's regionprops have it."""
        box = self.message.box
        return round(box.y0), round(box.x0), round(box.y1), round(box.x1)

    @property
    def slice(self) -> tuple[slice, slice]:
        """The part of the frame that `image` covers: `frame[cell.slice][cell.image]` are its pixels."""
        top, left, image = self._mask
        return slice(top, top + image.shape[0]), slice(left, left + image.shape[1])

    @property
    def image(self) -> npt.NDArray[np.bool_]:
        """Its mask, in the tight box around it."""
        return self._mask.image

    @property
    def has_mask(self) -> bool:
        """Whether its pixels came with the answer."""
        return self.message.WhichOneof("mask") is not None or self._borrowed is not None

    def mask(self) -> npt.NDArray[np.bool_]:
        """Its mask in the whole frame."""
        full = np.zeros(self._size, bool)
        full[self.slice] = self.image
        return full

    def tight_mask(self) -> masks.Mask:
        """Its mask in the tight box around it, and where that lies."""
        return self._mask

    @property
    def area_px(self) -> int:
        """Pixels."""
        if self.message.HasField("measures"):
            return self.message.measures.area_px
        return int(np.count_nonzero(self.image))

    @property
    def centroid_yx(self) -> tuple[float, float]:
        """Row and column of its middle: the contract's centroid - 0.5, regionprops' `centroid`."""
        if self.message.HasField("measures"):
            return self.message.measures.centroid_y_px - 0.5, self.message.measures.centroid_x_px - 0.5
        top, left, image = self._mask
        rows, columns = np.nonzero(image)
        return top + float(rows.mean()), left + float(columns.mean())

    @property
    def contour_yx(self) -> list[npt.NDArray[np.float64]]:
        """Closed lines along its pixels' edges, (n, 2) corners as row, column: the outer one, then its holes."""
        if self.message.WhichOneof("mask") == "rings":
            rings = [np.cumsum(np.array(ring.xy_delta, np.int64).reshape(-1, 2), axis=0) for ring in self.message.rings.rings]
            return [np.asarray(ring[:, ::-1] - 0.5, np.float64) for ring in rings]
        return masks.outlines(self._mask)

    @property
    def track_id(self) -> int | None:
        """Its identity through time; None where cells are not followed."""
        return self.message.track.id if self.message.HasField("track") else None

    @property
    def parent_id(self) -> int | None:
        """The track that divided into this one."""
        track = self.message.track
        return track.parent_id if self.message.HasField("track") and track.HasField("parent_id") else None

    @property
    def age_frames(self) -> int | None:
        """Frames since its first, that one included."""
        return self.message.track.age if self.message.HasField("track") else None

    @property
    def measures(self) -> dict[str, float]:
        """What was measured, with units in the names: those of the table that `cellsegd export --as csv` writes."""
        return measures_of(self.message.measures) if self.message.HasField("measures") else {}

    @cached_property
    def _mask(self) -> masks.Mask:
        mask = masks.of_instance(self.message, *self._size)
        if mask is None and self._borrowed is not None:
            mask = masks.of_label(self._borrowed(), self.label, self.bbox)
        if mask is None:
            raise ValueError('the session sends no masks: ask for outputs="cells" or "labels"')
        return mask

    def __repr__(self) -> str:
        track = "" if self.track_id is None else f" track {self.track_id}"
        return f"<Cell {self.label} {self.class_name}{track} score {self.score:.2f} bbox {self.bbox}>"


class MeasuredCell:
    """One cell of an earlier frame, measured in this one (`Frame.measure_on`)."""

    def __init__(self, instance: pb.MeasuredInstance) -> None:
        self.message = instance
        """The contract's message."""
        self.label = instance.label
        """As in the earlier frame's answer."""
        self.track_id = instance.track_id if instance.HasField("track_id") else None
        """As in the earlier frame's answer."""

    @property
    def measures(self) -> dict[str, float]:
        """Its intensities, with the channel before the name: "GFP_mean_counts"."""
        return of_channel(self.message.intensity)

    def __repr__(self) -> str:
        return f"<MeasuredCell {self.label} {self.measures}>"
