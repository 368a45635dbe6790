"""What a client keeps of its answers, so that identities go on after a lost connection: the daemon remembers nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cellsegd import contract as pb
from cellsegd import masks
from cellsegd.metadata import series_of
from cellsegd.result import Result

_DEFAULT_MAX_GAP = 2
# Of a frame whose cells have no identities.
_NOT_FOLLOWED = (pb.Notice.Code.Value("CODE_OUT_OF_ORDER"), pb.Notice.Code.Value("CODE_Z_NOT_TRACKED"))


@dataclass
class _Series:
    metadata: pb.FrameMetadata
    width: int = 0
    height: int = 0
    next_id: int = 1
    cells: dict[int, pb.ResumedInstance] = field(default_factory=dict)


class Tracks:
    """The last state of each series. Answers are told in their order."""

    def __init__(self, tracking: pb.Tracking | None = None) -> None:
        """`tracking`: what the session asks for, an earlier session's end included."""
        tracking = pb.Tracking() if tracking is None else tracking
        self._max_gap = tracking.max_gap if tracking.HasField("max_gap") else _DEFAULT_MAX_GAP
        self._series: dict[tuple[object, ...], _Series] = {}
        for earlier in tracking.resume.series:
            again = pb.ResumedSeries()
            again.CopyFrom(earlier)
            cells = {cell.track.id: cell for cell in again.instances}
            known = _Series(again.metadata, again.width, again.height, max(1, again.next_id), cells)
            self._series[series_of(again.metadata)] = known

    def heard(self, result: Result, metadata: pb.FrameMetadata) -> None:
        """One answer; `metadata` is that of its frame, which a dropped frame's answer lacks."""
        outcome = result.outcome
        series = self._series.get(series_of(metadata))
        if outcome in ("dropped", "failed"):
            if series is not None:
                self._missed(series, dropped=True)
        elif outcome == "segmented" and not any(notice.code in _NOT_FOLLOWED for notice in result.message.notices):
            if series is None:
                series = self._series[series_of(metadata)] = _Series(metadata)
            self._seen(series, result, metadata)

    def forget(self, positions: Iterable[str]) -> None:
        """These positions' series start afresh, with ids that were never given."""
        names = set(positions)
        for (place, *_), series in self._series.items():
            if str(place) in names:
                series.cells.clear()

    def forget_cells(self) -> bool:
        """Every cell will be new; ids that were given are not given again. False: there was none to forget."""
        cells = any(series.cells for series in self._series.values())
        for series in self._series.values():
            series.cells.clear()
        return cells

    def resume(self) -> pb.Resume | None:
        """For the next session; None before there is an identity."""
        series = [
            pb.ResumedSeries(
                metadata=it.metadata, width=it.width, height=it.height, next_id=it.next_id, instances=it.cells.values()
            )
            for it in self._series.values()
            if it.next_id > 1
        ]
        return pb.Resume(series=series) if series else None

    def _seen(self, series: _Series, result: Result, metadata: pb.FrameMetadata) -> None:
        segmentation = result.message.segmentation
        series.metadata = metadata
        if (series.width, series.height) != (segmentation.width, segmentation.height):
            series.width, series.height = segmentation.width, segmentation.height
            series.cells.clear()
        drift = segmentation.summary.drift
        self._missed(series, dropped=False, drift=drift)
        for cell in result.cells:
            track = cell.message.track
            if not cell.message.HasField("track"):
                continue
            series.next_id = max(series.next_id, track.id + 1)
            if track.HasField("parent_id"):
                series.cells.pop(track.parent_id, None)
            sent = cell.message.WhichOneof("mask") is not None
            again = masks.resumed(cell.message, cell.tight_mask() if cell.has_mask and not sent else None)
            if again is not None:
                series.cells[track.id] = again

    def _missed(self, series: _Series, dropped: bool, drift: pb.Drift | None = None) -> None:
        gone = []
        for track_id, cell in series.cells.items():
            cell.missing += 1
            cell.dropped += dropped
            if drift is not None:
                cell.drifted.x_px += drift.x_px
                cell.drifted.y_px += drift.y_px
            if cell.missing - cell.dropped > self._max_gap:
                gone.append(track_id)
        for track_id in gone:
            del series.cells[track_id]
