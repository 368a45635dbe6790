"""How a session's frames are to be segmented and answered."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cellsegd import contract as pb
from cellsegd import options_file
from cellsegd.frame import Frame
from cellsegd.metadata import adopt
from cellsegd.option_values import number_of, said_of, value_of, word_of, words

_MEASURES = ("shape", "hull", "intensity", "background", "neighbours")
_THRESHOLDS = ("confidence", "iou", "class_agnostic", "max_cells", "min_area_um2", "max_area_um2", "min_area_px")
_MASKS = {
    "cells": pb.MASK_ENCODING_COCO_RLE,
    "bits": pb.MASK_ENCODING_BITS,
    "rings": pb.MASK_ENCODING_RINGS,
    "boxes": pb.MASK_ENCODING_NONE,
}
# Of SessionOptions; the rest stays in `Options.more`.
_HAVE_FIELDS = (
    "model", "name", "window", "follow_reload", "thresholds", "delivery", "priority", "normalization", "tiling", "measurements",
    "tracking", "growth",
)  # fmt: skip
_OUTPUTS = (*_MASKS, "labels", "raw")


def full_range() -> pb.Normalization:
    """0 .. 2^significant_bits - 1 become 0..1."""
    return pb.Normalization(full_range=pb.Normalization.FullRange())


def window(low: float, high: float) -> pb.Normalization:
    """Fixed camera counts become 0 and 1: for brightness that must be comparable through time."""
    return pb.Normalization(window=pb.Normalization.Window(low=low, high=high))


def percentiles(
    low: float = 0.5, high: float = 99.5, smoothing: float | None = None, min_span: float | None = None
) -> pb.Normalization:
    """Percentiles of each frame become 0 and 1, smoothed through time where `smoothing` (below 1) is given; a span narrower than
    `min_span` counts is not stretched."""
    return pb.Normalization(percentiles=pb.Normalization.Percentiles(low=low, high=high, smoothing=smoothing, min_span=min_span))


def reference(image: npt.NDArray[Any], low: float = 0.5, high: float = 99.5) -> pb.Normalization:
    """The percentiles of one image, made into a window once."""
    return pb.Normalization(reference=pb.Normalization.Reference(raw=Frame(image).message().raw, low=low, high=high))


@dataclass
class Options:
    """How a session's frames are to be segmented and answered. None (or "") means the model's or the server's default, which
    `Session.opened.settled` then states."""

    model: str = ""
    """A name from `Client.models`; "": the server's first."""
    confidence: float | None = None
    """A cell's score must be above it; 0..1."""
    iou: float | None = None
    """Boxes overlapping by more than it are one cell; 0..1."""
    class_agnostic: bool | None = None
    """Boxes of different classes suppress each other too."""
    max_cells: int | None = None
    """The highest scores are kept."""
    min_area_um2: float | None = None
    """Smaller cells are hidden; square micrometres; needs the frames' pixel_size_um."""
    max_area_um2: float | None = None
    """Larger cells are hidden; square micrometres; needs the frames' pixel_size_um."""
    min_area_px: int | None = None
    """Smaller cells are hidden; pixels."""
    border: str = ""
    """Cells cut by the edge: "keep", "drop", or "unbiased" (those on the right and bottom edge are hidden)."""
    classes: Sequence[int] = ()
    """Only these class indices; empty means all."""
    class_confidence: Mapping[int, float] = dataclasses.field(default_factory=dict)
    """A class's own confidence."""
    delivery: str = ""
    """"lossless" (default): nothing is dropped, `submit` waits. "latest": live view, older frames give way to newer ones."""
    window: int | None = None
    """Frames in flight asked for; the server may grant fewer."""
    priority: str = ""
    """"background", "normal" or "urgent": whose frame starts first when lanes are scarce."""
    normalization: pb.Normalization | None = None
    """How camera counts become the network's 0..1: `full_range()`, `window(...)`, `percentiles(...)`, `reference(...)`."""
    tiling: str | pb.Tiling | None = None
    """Large frames in pieces: "auto", "off", "on", or the contract's Tiling."""
    measure: str | Iterable[str] | pb.Measurements | None = None
    """What is measured of every cell: "shape", "hull", "intensity", "background", "neighbours", as a list or separated by commas;
    "all"; or the contract's Measurements."""
    track: bool | pb.Tracking = False
    """Identities from frame to frame: True, or the contract's Tracking."""
    growth: bool | pb.GrowthOptions = False
    """Growth rates while the experiment runs: True, or the contract's GrowthOptions."""
    region_yx: Sequence[npt.ArrayLike] = ()
    """Analysed area: closed lines, each (n, 2) corners as row, column in numpy's convention; rounded to whole pixel edges."""
    flat_field: npt.NDArray[Any] | None = None
    """Image of an even field: illumination to divide out of every frame."""
    dark: npt.NDArray[Any] | None = None
    """Image without light, with `flat_field`."""
    outputs: str | Iterable[str] = ""
    """Forms of the answer: "cells" (default: each cell's mask), "rings" or "bits" (masks in those forms), "boxes" (no masks),
    "labels" (a label image; with one of the masks it is painted here, from them), "raw" (masks as decoded). Separated by commas."""
    label_by: str = ""
    """What the integers of a label image without masks mean: "instance" or "track"."""
    name: str = ""
    """What status, logs and the page call this session."""
    follow_reload: bool = False
    """Move to a reloaded model."""
    more: pb.SessionOptions | None = None
    """What has no field here, in the contract's own message; the fields above go before it."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Options:
        """Reads what `save` wrote, or somebody wrote by hand: TOML with the contract's names of SessionOptions. It is the file that
        `cellsegd segment --options FILE` reads. ValueError names what is wrong."""
        return cls.from_message(options_file.read(Path(path)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes TOML with the contract's names; what is unset is left out. ValueError where they hold an image: those are not kept
        in a file."""
        message = self.message()
        if message.HasField("flat_field") or message.normalization.HasField("reference"):
            raise ValueError("flat_field and normalization reference are images: leave them out of options that are saved")
        # Of one experiment, not of the options.
        if message.HasField("tracking"):
            message.tracking.ClearField("resume")
        options_file.write(Path(path), message)

    @classmethod
    def from_message(cls, message: pb.SessionOptions) -> Options:
        """The contract's message, in the fields above as far as they go."""
        more = pb.SessionOptions()
        adopt(message, more)
        thresholds = more.thresholds
        options = cls(model=more.model, name=more.name, follow_reload=more.follow_reload, window=more.window or None)
        for name in _THRESHOLDS:
            if thresholds.HasField(name):
                value = getattr(thresholds, name)
                # A float of 32 bits, as short as it was written.
                setattr(
                    options, name, float(np.format_float_positional(np.float32(value))) if name in ("confidence", "iou") else value
                )
        options.classes = tuple(thresholds.classes)
        options.class_confidence = dict(thresholds.class_confidence)
        options.border = word_of("border", thresholds.border)
        options.delivery, options.priority = word_of("delivery", more.delivery), word_of("priority", more.priority)
        fields = {
            "normalization": "normalization",
            "tiling": "tiling",
            "growth": "growth",
            "measurements": "measure",
            "tracking": "track",
        }
        for name, field in fields.items():
            if more.HasField(name):
                setattr(options, field, copy(getattr(more, name)))
        for name in _HAVE_FIELDS:
            more.ClearField(name)
        options.more = more
        return options

    def message(self) -> pb.SessionOptions:
        """The contract's options; ValueError or TypeError names the field that is wrong and what would be right."""
        message = pb.SessionOptions()
        if self.more is not None:
            with said_of("more", self.more):
                adopt(self.more, message)
        for name in ("model", "name", "window", "follow_reload"):
            if getattr(self, name):
                with said_of(name, getattr(self, name)):
                    setattr(message, name, getattr(self, name))
        for name in ("delivery", "priority"):
            if getattr(self, name):
                setattr(message, name, number_of(name, getattr(self, name)))
        self._thresholds(message)
        self._analysis(message)
        if self.outputs or self.label_by:
            message.outputs.MergeFrom(outputs_message(self.outputs, self.label_by))
        for name, into in (("flat_field", "flat_raw"), ("dark", "dark_raw")):
            image = getattr(self, name)
            if image is not None:
                with said_of(name, image):
                    getattr(message.flat_field, into).CopyFrom(Frame(np.asanyarray(image)).message().raw)
        return message

    def _thresholds(self, message: pb.SessionOptions) -> None:
        thresholds = thresholds_message(
            {name: getattr(self, name) for name in (*_THRESHOLDS, "border", "classes", "class_confidence")}
        )
        if thresholds.ByteSize():
            if thresholds.classes:
                del message.thresholds.classes[:]
            message.thresholds.MergeFrom(thresholds)

    def _analysis(self, message: pb.SessionOptions) -> None:
        if self.normalization is not None:
            with said_of("normalization", self.normalization):
                adopt(self.normalization, message.normalization)
        if isinstance(self.tiling, str):
            message.tiling.mode = value_of(pb.Tiling.Mode, "MODE_", "tiling", self.tiling)
        elif self.tiling is not None:
            with said_of("tiling", self.tiling):
                adopt(self.tiling, message.tiling)
        if isinstance(self.measure, str) or isinstance(self.measure, Iterable):
            for group in words("measure", self.measure, _MEASURES, everything=True):
                setattr(message.measurements, group, True)
        elif self.measure is not None:
            with said_of("measure", self.measure):
                adopt(self.measure, message.measurements)
        for name, into in (("track", "tracking"), ("growth", "growth")):
            given = getattr(self, name)
            if given is True:
                getattr(message, into).SetInParent()
            elif given is not False:
                with said_of(name, given):
                    adopt(given, getattr(message, into))
                getattr(message, into).SetInParent()
        with said_of("region_yx", self.region_yx):
            lines = [np.asarray(line, float) for line in self.region_yx]
        for corners in lines:
            if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
                raise ValueError(f"region_yx has a line of shape {corners.shape}: must be (n, 2), row and column of each corner")
            # Half-way, at a pixel's centre, down: the pixel belongs to what is right of the line, as in the contract.
            edges = np.ceil(corners[:, ::-1]).astype(np.int64)
            message.region.rings.add(xy_delta=np.diff(edges, axis=0, prepend=[[0, 0]]).ravel().tolist())


def merged(options: Options | pb.SessionOptions | None, changes: Mapping[str, Any]) -> pb.SessionOptions:
    """`options` with `changes` of fields of Options, as the contract's message."""
    if options is None:
        options = Options()
    elif not isinstance(options, Options):
        options = Options(more=options)
    known = {field.name for field in dataclasses.fields(Options)}
    for name in changes:
        if name not in known:
            raise TypeError(f"option {name!r}: must be one of {', '.join(sorted(known))}")
    return dataclasses.replace(options, **changes).message()


def merged_update(
    changes: pb.SessionUpdate | None, fields: Mapping[str, Any], forget_positions: Iterable[str] = ()
) -> pb.SessionUpdate:
    """The contract's update of those of Options' fields that may change on the way."""
    update = pb.SessionUpdate(forget_positions=forget_positions)
    if changes is not None:
        adopt(changes, update)
        update.forget_positions.extend(forget_positions)
    known = (*_THRESHOLDS, "border", "classes", "class_confidence", "normalization", "outputs", "label_by")
    for name in fields:
        if name not in known:
            raise TypeError(f"{name!r} cannot change in a session: only {', '.join((*known, 'forget_positions'))} can")
    rest = dict(fields)
    if "normalization" in rest:
        with said_of("normalization", rest["normalization"]):
            adopt(rest.pop("normalization"), update.normalization)
    if "outputs" in rest or "label_by" in rest:
        update.outputs.MergeFrom(outputs_message(rest.pop("outputs", ""), rest.pop("label_by", "")))
    if rest:
        update.thresholds.MergeFrom(thresholds_message(rest))
    return update


def thresholds_message(fields: Mapping[str, Any]) -> pb.Thresholds:
    """The contract's thresholds of Options' fields; None is left out."""
    thresholds = pb.Thresholds()
    for name, value in fields.items():
        if name == "border":
            if value:
                thresholds.border = number_of("border", value)
        elif value is not None:
            with said_of(name, value):
                if name == "classes":
                    thresholds.classes.extend(value)
                elif name == "class_confidence":
                    thresholds.class_confidence.update(value)
                else:
                    setattr(thresholds, name, value)
    return thresholds


def outputs_message(outputs: str | Iterable[str], label_by: str = "") -> pb.Outputs:
    """The contract's outputs of the words that `Options.outputs` takes. With masks no label image is asked for: it is painted from
    them."""
    asked = words("outputs", outputs, _OUTPUTS)
    message = pb.Outputs()
    forms = [word for word in asked if word in _MASKS]
    if len(forms) > 1:
        raise ValueError(f"outputs {', '.join(forms)}: masks come in one form")
    if forms:
        message.masks = _MASKS[forms[0]]
    if "labels" in asked and forms in ([], ["boxes"]):
        message.masks = pb.MASK_ENCODING_NONE
        message.label_image = True
    if "raw" in asked:
        message.raw_masks = True
    if label_by:
        message.label_by = number_of("label_by", label_by)
    return message
