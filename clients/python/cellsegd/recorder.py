"""A live run on disk: the folder that `cellsegd segment --out` writes, so that `cellsegd export` and `--missing` work on it.

The folder is whole at every moment: each file is written beside and renamed, and the line of a frame comes after its files.
"""

from __future__ import annotations

import csv
import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from cellsegd import contract as pb
from cellsegd import masks, run_record
from cellsegd.cell_table import COLUMNS, rows
from cellsegd.frame import Frame, as_frame
from cellsegd.metadata import Metadata, from_message, to_message
from cellsegd.result import Result
from cellsegd.tiff import write_tiff
from cellsegd.version import VERSION

# Frames that another channel may still be measured on.
_REMEMBERED = 10_000
_FATES = ("segmented", "measured", "dropped", "failed")


class Recorder:
    """Writes what became of each frame as it comes. May be used from several threads.

    with client.session(...) as session, Recorder("run1", session.opened) as recorder:
        ...
        recorder.write(frame, result)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        opened: pb.SessionOpened,
        *,
        url: str = "",
        keep: Literal["unsegmented", "all", "none"] = "unsegmented",
        flat_field: npt.NDArray[Any] | None = None,
        dark: npt.NDArray[Any] | None = None,
    ) -> None:
        """`opened`: `Session.opened`. `keep`: which frames' pixels are kept as IMAGE_ID.tif; those that were not segmented can be
        filled in from them by `cellsegd segment --missing`. `flat_field`, `dark`: those of the session's options, where it has
        them. FileExistsError where the folder holds a run already."""
        settled = opened.settled
        if settled.outputs.masks == pb.MASK_ENCODING_NONE and not settled.outputs.label_image:
            raise ValueError('the session sends no masks, so nothing could be exported: ask for outputs="cells"')
        if settled.HasField("flat_field") and flat_field is None:
            raise ValueError("the session corrects its frames: give the recorder its flat_field too, and its dark")
        self.folder = Path(folder).absolute()
        """Where everything is written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / "run.json").exists():
            raise FileExistsError(f"{self.folder} holds a run already: name another folder")
        self._keep = keep
        self._lock = threading.Lock()
        # By what became of them, the last word about each frame; and its cells.
        self._fates: dict[str, tuple[str, int]] = {}
        self._image_ids: OrderedDict[int, str] = OrderedDict()
        self._closed = False
        images = {"flat": self._image("flat_field", flat_field), "dark": self._image("dark", dark)}
        recorded = images if flat_field is not None else None
        self._header = run_record.header(opened, url, _now(), VERSION, recorded)
        self._lines: IO[bytes] = (self.folder / "frames.jsonl").open("wb")
        self._table: IO[str] = (self.folder / "cells.csv").open("w", encoding="utf-8", newline="")
        self._rows = csv.DictWriter(self._table, COLUMNS, extrasaction="ignore")
        self._rows.writeheader()
        self._table.flush()
        self._write_header()

    def write(
        self,
        frame: Frame | npt.NDArray[Any] | bytes | None,
        result: Result,
        *,
        image_id: str | None = None,
        file: str = "",
        page: int = 0,
    ) -> str:
        """Records one answer and gives its image_id. `frame` is needed where its pixels are to be kept. `image_id` names its files;
        None: made of its place and time, else of its id. `file`, `page`: where its pixels lie, if somebody else keeps them."""
        with self._lock:
            image_id = self._new_id(image_id, result.metadata, result.id)
            on = self._image_ids.get(result.measured_on or 0)
            fate = run_record.fate(result, on)
            n_cells = 0
            if result.outcome == "segmented":
                cells = run_record.cells_list(image_id, result)
                n_cells = len(cells)
                self._write_json(f"{image_id}.json", cells)
                labels = result.labels
                dtype = np.uint16 if len(cells) < 2**16 else np.uint32
                write_tiff(self.folder / f"{image_id}.labels.tif", labels.astype(dtype), compress=True)
                self._image_ids[result.id] = image_id
                if len(self._image_ids) > _REMEMBERED:
                    self._image_ids.popitem(last=False)
            elif result.outcome == "measured" and on is not None:
                self._add_intensities(on, result)
            if result.outcome in ("segmented", "measured"):
                self._rows.writerows(rows(image_id, result))
                self._table.flush()
            file = self._kept(image_id, frame, next(iter(fate)) in ("segmented", "measured")) or file
            self._line(image_id, file, page, result.metadata, fate, n_cells)
            return image_id

    def unsegmented(
        self,
        metadata: Metadata | pb.FrameMetadata | None,
        why: str,
        *,
        image_id: str | None = None,
        file: str = "",
        page: int = 0,
        failed: bool = False,
        frame: Frame | npt.NDArray[Any] | bytes | None = None,
    ) -> str:
        """Records a frame that never came to the daemon, and gives its image_id."""
        with self._lock:
            known = from_message(to_message(metadata))
            image_id = self._new_id(image_id, known, len(self._fates) + 1)
            file = self._kept(image_id, frame, False) or file
            self._line(image_id, file, page, known, {"failed" if failed else "dropped": why}, 0)
            return image_id

    def close(self) -> None:
        """The run has ended: its totals are written. More than once does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            fates = list(self._fates.values())
            totals = {"frames": len(fates)} | {fate: sum(kind == fate for kind, _ in fates) for fate in _FATES}
            self._header["totals"] = totals | {"cells": sum(n for _, n in fates)}
            self._header["ended_at"] = _now()
            self._write_header()
            self._lines.close()
            self._table.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _line(
        self, image_id: str, file: str, page: int, metadata: Mapping[str, Any], fate: Mapping[str, Any], n_cells: int
    ) -> None:
        known = dict(metadata)
        if "captured_at" in known:
            known["captured_at"] = _rfc3339(known["captured_at"])
        # A name that no file has: two frames of one file would be pages of a stack.
        record = {"image_id": image_id, "file": file or f"{image_id}.tif", "page": page, "metadata": known, **fate}
        self._lines.write(_json(record) + b"\n")
        self._lines.flush()
        self._fates[image_id] = (next(iter(fate)), n_cells)

    def _kept(self, image_id: str, frame: Frame | npt.NDArray[Any] | bytes | None, answered: bool) -> str | None:
        """The name of the file with the frame's pixels, if they are to be kept."""
        if frame is None or self._keep == "none" or (answered and self._keep == "unsegmented"):
            return None
        frame = as_frame(frame)
        if not isinstance(frame.pixels, np.ndarray):
            name = f"{image_id}{_ending(bytes(frame.pixels[:4]))}"
            (self.folder / name).write_bytes(frame.pixels)
            return name
        pixels = frame.array()
        if pixels.ndim == 3:
            order = slice(2, None, -1) if (frame.format or "").startswith("BGR") else slice(0, 3)
            pixels = pixels[..., order]
        name = f"{image_id}.tif"
        write_tiff(self.folder / name, pixels[:: -1 if frame.flip_vertical else 1, :: -1 if frame.flip_horizontal else 1])
        return name

    def _add_intensities(self, on: str, result: Result) -> None:
        """Another channel's counts go to the cells that they were measured in."""
        path = self.folder / f"{on}.json"
        cells = json.loads(path.read_bytes())
        by_label = {cell["label"]: cell for cell in cells if "label" in cell}
        for measured in result.measured:
            cell = by_label.get(measured.label)
            if cell is not None:
                measures = cell.setdefault("measures", _no_measures(cell))
                measures["intensity"] += run_record.intensities(measured.message.intensity)
        self._write_json(path.name, cells)

    def _new_id(self, image_id: str | None, metadata: Mapping[str, Any], frame_id: int) -> str:
        if image_id is None:
            image_id = _name_of(metadata) or f"frame{frame_id:06}"
            if image_id in self._fates:
                image_id = f"{image_id}_{frame_id:06}"
        if not image_id or image_id != Path(image_id).name or re.search(r'[/\\:*?"<>|\0]', image_id) or image_id.startswith("."):
            raise ValueError(f"image_id {image_id!r}: must be the name of a file, without a folder and its ending")
        return image_id

    def _image(self, name: str, pixels: npt.NDArray[Any] | None) -> str | None:
        if pixels is None:
            return None
        path = self.folder / f"{name}.tif"
        write_tiff(path, Frame(pixels).array())
        return str(path)

    def _write_header(self) -> None:
        self._write_json("run.json", self._header, indent=2)

    def _write_json(self, name: str, value: object, indent: int | None = None) -> None:
        beside = self.folder / f".{name}.new"
        beside.write_bytes(_json(value, indent) + b"\n")
        beside.replace(self.folder / name)


def _json(value: object, indent: int | None = None) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False).encode()


def _no_measures(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Of a cell whose session measured only other channels: nothing but where it is."""
    height, width = cell["segmentation"]["size"]
    image = masks.image_of_counts(cell["segmentation"]["counts"].encode(), height, width)
    ys, xs = np.nonzero(image)
    centroid = [float(xs.mean()) + 0.5, float(ys.mean()) + 0.5]
    return {"centroid_px": centroid, "intensity": [], "shape": None, "hull": None, "neighbours": None}


def _name_of(metadata: Mapping[str, Any]) -> str:
    """As "B03_t0012_z001_Phase"; "" where neither place nor time is known."""
    index = metadata.get("index", {})
    place = metadata.get("position") or metadata.get("well") or (f"p{index['p']:03}" if "p" in index else "")
    axes = [f"{axis}{index[axis]:0{digits}}" for axis, digits in (("g", 3), ("t", 4), ("z", 3)) if axis in index]
    if not place and not axes:
        return ""
    parts = [place, *axes, metadata.get("channel", "")]
    return "_".join(re.sub(r"[^\w.-]+", "-", part).strip(".-") for part in parts if part)


def _ending(magic: bytes) -> str:
    """Of an image file, by its first bytes."""
    if magic.startswith(b"\x89PNG"):
        return ".png"
    return ".jpg" if magic.startswith(b"\xff\xd8") else ".tif"


def _now() -> str:
    return _rfc3339(datetime.now(timezone.utc))


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
