"""`attach`: the runs of a core are segmented from here on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
from psygnal import EmitLoopError, Signal, SignalInstance

from cellsegd import contract
from cellsegd.cell import Cell
from cellsegd.client import Client
from cellsegd.options import Options
from cellsegd.result import Result

from ._metadata import Camera
from ._plan import Channels, Plan, channels_of
from ._room import Room
from ._run import Run
from ._shot import Shot
from ._signals import carries_errors, connect
from ._store import Files, Store

log = logging.getLogger("cellsegd.mmcore")

# Identities, and the place of each cell: what `divided` and a stage need.
DEFAULT_OPTIONS = Options(track=True, measure=("shape",))


def attach(
    core: Any,
    client: Client,
    channels: Channels | str | None = None,
    *,
    options: Options | None = None,
    recorder: str | Path | None = None,
    files: Files | None = None,
    buffer_bytes: int = 2 << 30,
    patience_s: float = 10.0,
    finish_s: float = 60.0,
    grace_s: float = 10.0,
    pixel_to_stage: Sequence[float] | None = None,
) -> Attachment:
    """Segments what `core.mda` acquires from now on, until `detach()` or the end of a `with` block.

    `channels` says what becomes of each channel: a model's name, `Options`, `measure("CHANNEL")`, or None to leave it
    alone. Where a run has one channel a model's name is enough; without any it goes to the daemon's first model. A run
    with channels of which nothing was said raises ValueError before its first frame.

    `options` hold for every session beside the model's name; default: tracked, with shapes. `recorder` is a folder:
    each run is recorded there as `cellsegd segment --out` writes it (docs/run-folder.md), in a folder a model where there
    are several; a second run gets a folder beside it. What was not segmented keeps its pixels there, for `cellsegd segment
    --missing`, unless `files` says in which file, or file and page, the acquisition itself saves the frame of an event.

    Frames wait in at most `buffer_bytes`. Beyond it, or after `patience_s` seconds without a connection, they are given
    up: `dropped` says so, and the record. The end of a run waits at most `finish_s` seconds for answers; a listener that is at
    work then has `grace_s` more to return, and is no longer waited for after that.

    `pixel_to_stage`: 6 numbers in place of the core's own affine, micrometres on the stage from delivered pixels, about the
    middle of the frame.
    """
    options = options if options is not None else DEFAULT_OPTIONS
    if isinstance(channels, str):
        options, channels = replace(options, model=channels), None
    plan = Plan(channels, options)
    return Attachment(
        core,
        client,
        plan,
        recorder=Path(recorder) if recorder is not None else None,
        files=files,
        room=Room(buffer_bytes),
        patience_s=patience_s,
        finish_s=finish_s,
        grace_s=grace_s,
        pixel_to_stage=pixel_to_stage,
    )


class Attachment:
    """What `attach` gives. Its events come from other threads: connect with `thread="main"` where that matters; in a Qt program
    `psygnal.qt.start_emitting_from_queue()` lets the main thread hear them, elsewhere it calls `psygnal.emit_queued()`.

    `dropped` has frames that never got to the daemon, too.
    """

    segmented = Signal(Result, object)
    """(result, event): a frame's cells."""
    measured = Signal(Result, object)
    """(result, event): the intensities of another channel in the cells of a segmented frame."""
    dropped = Signal(Result, object)
    """(result, event): not segmented, by policy; `result.reason` says which."""
    failed = Signal(Result, object)
    """(result, event): not segmented, by error; `result.reason` says which."""
    divided = Signal(int, list, Result, object)
    """(id of the mother, cells of the daughters, result, event): once a division."""
    refused = Signal(str)
    """(why): a run was cancelled before its first frame: nothing was said of one of its channels, or it cannot be recorded. Where
    no QApplication is, `core.mda.run` raises it too."""

    def __init__(
        self,
        core: Any,
        client: Client,
        plan: Plan,
        *,
        recorder: Path | None,
        files: Files | None,
        room: Room,
        patience_s: float,
        finish_s: float,
        grace_s: float,
        pixel_to_stage: Sequence[float] | None,
    ):
        self._core = core
        self._client = client
        self._plan = plan
        self._recorder = recorder
        self._files = files
        self._room = room
        self._patience_s = patience_s
        self._finish_s = finish_s
        self._grace_s = grace_s
        self._pixel_to_stage = pixel_to_stage
        self._run: Run | None = None
        self._last: Run | None = None
        self._n_runs = 0
        self._mothers: set[tuple[object, int]] = set()
        # Opened once now: an unknown model, a daemon that is not there and options that do not fit are said before a run.
        self._opened = [self._try_out(each) for each in plan.sessions]
        for folder in self._folders():
            if (folder / "run.json").exists():
                raise FileExistsError(f"{folder} holds a run already: name another folder")
        events = core.mda.events
        self._connected: list[tuple[Any, Callable[..., Any]]] = [
            (events.sequenceStarted, self._started),
            (events.frameReady, self._frame_ready),
            (events.sequenceFinished, self._finished),
        ]
        for signal, listener in self._connected:
            connect(signal, listener)

    def _try_out(self, options: Options) -> contract.SessionOpened:
        with self._client.session(options) as session:
            return session.opened

    @property
    def counts(self) -> Mapping[str, int]:
        """Of the run that goes on, else of the last: `frames`, and how many were `segmented`, `measured`, `dropped`, `failed`."""
        run = self._run or self._last
        return dict(run.counts) if run is not None else {}

    def detach(self) -> None:
        """Listens no more; a run that goes on is finished as at its end. A listener may call it, and does not wait for that."""
        connected, self._connected = self._connected, []
        run, self._run = self._run, None

        def end() -> None:
            for signal, listener in connected:
                signal.disconnect(listener)
            if run is not None:
                self._end(run)

        last = run or self._last
        if last is not None and last.is_in_its_threads():
            # The core's thread may be waiting for this one, and signals let nobody disconnect meanwhile.
            threading.Thread(target=end, name="cellsegd-detach").start()
        else:
            end()

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def _started(self, sequence: Any, summary: Mapping[str, Any] | None = None) -> None:
        self._finished()
        if not self._connected:
            return
        try:
            self._plan.check(channels_of(sequence))
            self._n_runs += 1
            self._mothers.clear()
            self._run = self._new_run(summary or {})
        except Exception as error:
            log.error("%s", error)
            self._core.mda.cancel()
            self._tell(self.refused, str(error))
            if carries_errors(self._core.mda.events.sequenceStarted):
                raise

    def _new_run(self, summary: Mapping[str, Any]) -> Run:
        camera = Camera.of(self._core, summary, self._pixel_to_stage)
        return Run(self._client, self._plan, camera, self._room, self._stores(), self._report, self._patience_s)

    def _folders(self) -> list[Path]:
        """Of the run that begins, one a session."""
        if self._recorder is None:
            return []
        root = self._recorder
        if self._n_runs > 1:
            root = root.with_name(f"{root.name}-{self._n_runs}")
        if len(self._opened) == 1:
            return [root]
        names = [opened.model.name for opened in self._opened]
        return [root / (name if names.count(name) == 1 else f"{name}-{n}") for n, name in enumerate(names, 1)]

    def _stores(self) -> list[Store | None]:
        folders = self._folders()
        if not folders:
            return [None] * len(self._opened)
        return [
            Store(folder, opened, options, self._files)
            for folder, opened, options in zip(folders, self._opened, self._plan.sessions, strict=True)
        ]

    def _frame_ready(self, image: npt.NDArray[Any], event: Any, meta: Mapping[str, Any]) -> None:
        if self._run is None:
            return
        try:
            self._run.take(image, event, meta, self._core.mda.seconds_elapsed())
        except Exception:  # A defect here must not touch the acquisition.
            log.exception("a frame was not taken")

    def _finished(self, _sequence: Any = None) -> None:
        run, self._run = self._run, None
        if run is not None:
            self._end(run)

    def _end(self, run: Run) -> None:
        self._last = run
        run.finish(self._finish_s, self._grace_s)

    def _report(self, shot: Shot, result: Result) -> None:
        self._tell(getattr(self, result.outcome), result, shot.event)
        if result.outcome == "segmented":
            self._report_divisions(shot, result)

    def _tell(self, signal: SignalInstance, *what: object) -> None:
        try:
            signal.emit(*what)
        except EmitLoopError:
            log.exception("a listener failed")

    def _report_divisions(self, shot: Shot, result: Result) -> None:
        daughters: dict[int, list[Cell]] = {}
        for cell in result.cells:
            if cell.parent_id is not None:
                daughters.setdefault(cell.parent_id, []).append(cell)
        for mother, cells in daughters.items():
            # The mother's id comes with every frame of a daughter; ids count anew in each series.
            key = (series_of(shot), mother)
            if key not in self._mothers:
                self._mothers.add(key)
                self._tell(self.divided, mother, cells, result, shot.event)


def series_of(shot: Shot) -> object:
    """What tells the series of a run apart: everything but time."""
    return shot.channel, tuple((axis, at) for axis, at in shot.moment if axis != "t")
