"""The one answer to a frame."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cellsegd import contract as pb
from cellsegd import masks
from cellsegd.cell import Cell, MeasuredCell
from cellsegd.errors import FrameError
from cellsegd.metadata import from_message

Outcome = Literal["segmented", "measured", "dropped", "failed"]
"""What became of a frame."""
Labels = npt.NDArray[np.int32] | npt.NDArray[np.uint32]
"""A label image: 0 is background."""


class Result:
    """The one answer to a frame. Masks and label images are unpacked when they are asked for."""

    def __init__(
        self,
        reply: pb.FrameReply,
        classes: Sequence[str] = (),
        metadata: pb.FrameMetadata | None = None,
        label_by_track: bool = False,
        reason: str | None = None,
        revision: int | None = None,
    ) -> None:
        self.message = reply
        """The contract's message, in the contract's coordinates (pixel edges)."""
        self.id = reply.id
        """Of the frame."""
        self.classes = tuple(classes)
        """Names of the model's classes."""
        self.metadata = from_message(metadata or reply.metadata)
        """What the controller knew about the frame, by the contract's names."""
        self.revision = reply.revision if revision is None else revision
        """Of the settings that made it; counts on over a lost connection."""
        self._label_by_track = label_by_track
        self._reason = reason

    @property
    def outcome(self) -> Outcome:
        """What became of the frame."""
        kind = self.message.WhichOneof("outcome")
        known: dict[str | None, Outcome] = {"segmentation": "segmented", "measured": "measured", "dropped": "dropped"}
        return known.get(kind, "failed")

    @property
    def reason(self) -> str | None:
        """Why it was dropped ("newer_frame", "deadline", "cancelled", "draining", "disconnected") or failed; else None."""
        if self._reason is not None:
            return self._reason
        if self.outcome == "dropped":
            return pb.Dropped.Reason.Name(self.message.dropped.reason).removeprefix("REASON_").lower()
        return self.message.failed.message if self.outcome == "failed" else None

    @property
    def code(self) -> str | None:
        """Of a failed frame, the kind of error: "INVALID_FRAME", "TOO_LARGE", "OVERLOADED", ..., or "DISCONNECTED", which the
        client itself says; else None."""
        if self.outcome != "failed":
            return None
        name = pb.Failed.Code.Name(self.message.failed.code).removeprefix("CODE_")
        return "DISCONNECTED" if name == "UNSPECIFIED" else name

    @property
    def retryable(self) -> bool:
        """Whether the same frame may succeed if it is submitted again."""
        return self.outcome == "dropped" or (self.outcome == "failed" and self.message.failed.retryable)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the frame, pixels; (0, 0) where it was not segmented."""
        return self.message.segmentation.height, self.message.segmentation.width

    @cached_property
    def cells(self) -> list[Cell]:
        """In the order of their labels; none where the frame was not segmented."""
        has_labels = self.message.segmentation.HasField("label_image") and not self._label_by_track
        borrowed = (lambda: self._label_image) if has_labels else None
        return [
            Cell(instance, self.shape, self._class_name(instance.class_index), borrowed)
            for instance in self.message.segmentation.instances
        ]

    @property
    def measured(self) -> list[MeasuredCell]:
        """Of a frame with `measure_on`: the cells of the earlier frame, measured in this one."""
        return [MeasuredCell(instance) for instance in self.message.measured.instances]

    @property
    def measured_on(self) -> int | None:
        """Of a frame with `measure_on`: the id of the frame whose cells were measured."""
        return self.message.measured.measured_on if self.outcome == "measured" else None

    @cached_property
    def labels(self) -> Labels:
        """The label image, of int32: each cell's `label` where it is, 0 elsewhere. ValueError without cells to draw."""
        self._must_be_segmented()
        if self.message.segmentation.HasField("label_image") and not self._label_by_track:
            return self._label_image.astype(np.int32)
        return self._painted([(cell.label, cell) for cell in self.cells], np.int32)

    def labels_by_track(self) -> Labels:
        """A label image, of uint32, in which a cell keeps its number through time: its track id modulo 2^32. Cells without one are
        left out."""
        self._must_be_segmented()
        if self._label_by_track and self.message.segmentation.HasField("label_image"):
            return self._label_image.astype(np.uint32)
        tracked = [(cell.track_id % 2**32, cell) for cell in self.cells if cell.track_id is not None]
        if self.message.segmentation.HasField("label_image"):
            ids = np.zeros(max((cell.label for cell in self.cells), default=0) + 1, np.uint32)
            for track_id, cell in tracked:
                ids[cell.label] = track_id
            return ids[self.labels]
        return self._painted(tracked, np.uint32)

    @property
    def summary(self) -> pb.FrameSummary:
        """Numbers for the whole frame: count, confluence (0..1), density_per_mm2, drift, growth, ..."""
        return self.message.segmentation.summary

    @property
    def timing_ms(self) -> dict[str, float]:
        """Where the time went, milliseconds: "queued", "preprocess", "infer", ..., "total"."""
        timing = self.message.timing
        return {field.name: getattr(timing, field.name) / 1000 for field in timing.DESCRIPTOR.fields if field.name != "tiles"}

    @property
    def notices(self) -> list[tuple[str, str]]:
        """What somebody should know about this answer: ("NO_PIXEL_SIZE", with the values), ..."""
        return [(pb.Notice.Code.Name(it.code).removeprefix("CODE_"), it.message) for it in self.message.notices]

    def records(self) -> list[dict[str, Any]]:
        """A flat dict a cell, with units in the names, ready for `pandas.DataFrame`. Coordinates are numpy's: row, column, a
        pixel's centre is whole (`centroid_y`, `centroid_x`, `bbox_...`); what was measured is named as in the table of cells."""
        where: dict[str, Any] = {
            name: self.metadata[name] for name in ("plate", "well", "field", "position", "channel") if name in self.metadata
        }
        where |= {axis: i for axis, i in self.metadata.get("index", {}).items()}
        if "elapsed_ms" in self.metadata:
            where["elapsed_h"] = self.metadata["elapsed_ms"] / 3_600_000
        if self.outcome == "measured":
            return [
                {
                    "frame_id": self.id,
                    **where,
                    "measured_on": self.measured_on,
                    "label": it.label,
                    "track_id": it.track_id,
                    **it.measures,
                }
                for it in self.measured
            ]
        return [{"frame_id": self.id, **where, **self._record(cell)} for cell in self.cells]

    def raise_for_outcome(self) -> Result:
        """Itself, if the frame was segmented or measured; else FrameError with the reason."""
        if self.outcome in ("dropped", "failed"):
            raise FrameError(f"frame {self.id} {self.outcome}: {self.reason}", self.id)
        return self

    def __repr__(self) -> str:
        of = f" {len(self.cells)} cells" if self.outcome == "segmented" else f" {self.reason}" if self.reason else ""
        return f"<Result {self.id} {self.outcome}{of}>"

    def _record(self, cell: Cell) -> dict[str, Any]:
        (top, left, bottom, right) = cell.bbox
        row: dict[str, Any] = {
            "label": cell.label,
            "class": cell.class_name,
            "score": cell.score,
            "track_id": cell.track_id,
            "parent_id": cell.parent_id,
            "touches_border": cell.touches_border,
            "bbox_min_row": top,
            "bbox_min_col": left,
            "bbox_max_row": bottom,
            "bbox_max_col": right,
        }
        measures = cell.measures
        if measures or cell.has_mask:
            row["centroid_y"], row["centroid_x"] = cell.centroid_yx
            row["area_px"] = cell.area_px
        return row | measures

    def _class_name(self, index: int) -> str:
        return self.classes[index] if index < len(self.classes) else ""

    @cached_property
    def _label_image(self) -> npt.NDArray[Any]:
        image = self.message.segmentation.label_image
        data = image.data
        if image.compression == pb.COMPRESSION_ZLIB:
            data = zlib.decompress(data)
        elif image.compression != pb.COMPRESSION_NONE:
            raise ValueError("the label image is compressed with LZ4: ask for zlib or none")
        return np.frombuffer(data, "<u4" if image.bytes_per_pixel == 4 else "<u2").reshape(self.shape)

    def _painted(self, cells: Sequence[tuple[int, Cell]], dtype: npt.DTypeLike) -> Labels:
        if any(cell.message.WhichOneof("mask") is None for _, cell in cells):
            raise ValueError('the session sends neither masks nor label images: ask for outputs="cells" or "labels"')
        return masks.paint([(value, cell.message) for value, cell in cells], *self.shape, dtype)

    def _must_be_segmented(self) -> None:
        if self.outcome != "segmented":
            raise ValueError(f"frame {self.id} was {self.outcome}, not segmented: it has no label image")
