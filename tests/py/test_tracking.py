"""Identities, held against the measures of the Cell Tracking Challenge on simulated cells whose truth is known."""

import csv
import io
import os
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from conftest import skip
from contract import ROOT
from crawling import Movie, Simulation
from ctc_metrics.scripts.evaluate import evaluate_sequence
from daemon import TARGET

TRACK_LABELS = Path(os.environ.get("CELLSEGD_TRACK_LABELS", TARGET / "debug/examples/track_labels")).absolute()
TIMELAPSE = Path(os.environ.get("CELLSEGD_TIMELAPSE", ROOT / "tests/data/t98g_tracks"))


def tracked(folder: Path, images: list[np.ndarray | None], *options: str) -> list[dict]:
    """A row for each cell of label images; None is a frame that was dropped."""
    if not TRACK_LABELS.exists():
        skip(f"not built: {TRACK_LABELS}; run: cargo build --example track_labels")
    files = []
    for frame, image in enumerate(images):
        files.append("-" if image is None else str(folder / f"{frame:03}.png"))
        if image is not None:
            cv2.imwrite(files[-1], image)
    done = subprocess.run([TRACK_LABELS, *options, *files], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = csv.DictReader(io.StringIO(done.stdout))
    return [{name: float(value) if "px" in name and value else int(value or 0) for name, value in row.items()} for row in rows]


def write_ctc(folder: Path, images: list[np.ndarray], parents: dict[int, int], image_name: str, table: str):
    """The challenge's layout. A track that is away for some frames goes on as another one, whose parent is its first part."""
    folder.mkdir(parents=True)
    parts: dict[int, tuple[int, int, int, int]] = {}
    next_label = max(max(int(image.max()) for image in images), 0) + 1
    lines = []
    for frame, image in enumerate(images):
        shown = np.zeros_like(image)
        for id in map(int, np.unique(image)[1:]):
            # Of a mother that was away, the last part is the one that divided.
            mother = parts.get(parents.get(id, 0), (0,))[0]
            label, start, end, parent = parts.get(id, (id, frame, frame - 1, mother))
            if end < frame - 1:
                lines.append((label, start, end, parent))
                label, start, parent, next_label = next_label, frame, label, next_label + 1
            parts[id] = (label, start, frame, parent)
            shown[image == id] = label
        tifffile.imwrite(folder / f"{image_name}{frame:03}.tif", shown, compression="zlib")
    lines += parts.values()
    (folder / table).write_text("".join("{} {} {} {}\n".format(*line) for line in sorted(lines)))


def answered(seen: list[np.ndarray], rows: list[dict]) -> list[np.ndarray]:
    """The label images with ids in place of labels."""
    ids = [np.zeros(int(image.max()) + 1, np.uint16) for image in seen]
    for row in rows:
        ids[row["frame"]][row["label"]] = row["track_id"]
    return [table[image] for table, image in zip(ids, seen, strict=True)]


def truth_of(seen: np.ndarray, truth: np.ndarray) -> dict[int, int]:
    """For each label the true cell that has most of its pixels, where those are most of that cell's: a cut cell's larger part."""
    pairs = Counter(zip(seen[seen > 0].tolist(), truth[seen > 0].tolist(), strict=True))
    areas = Counter(truth[truth > 0].tolist())
    return {label: id for (label, id), shared in pairs.items() if id and 2 * shared > areas[id]}


def right_links(movie: Movie, rows: list[dict]) -> tuple[int, int]:
    """Of the cells that are seen in two frames, one after the other, how many keep their id; and how many there are."""
    ids = {(row["frame"], row["label"]): row["track_id"] for row in rows}
    of_truth = [
        {id: ids[frame, label] for label, id in truth_of(seen, truth).items() if (frame, label) in ids}
        for frame, (seen, truth) in enumerate(zip(movie.seen, movie.truth, strict=True))
    ]
    pairs = [(before[id], after[id]) for before, after in zip(of_truth, of_truth[1:], strict=False) for id in before if id in after]
    return sum(before == after for before, after in pairs), len(pairs)


@pytest.fixture(scope="module")
def movies() -> list[Movie]:
    return [Simulation(seed).movie() for seed in (1, 2, 3)]


def test_links_of_simulated_cells_are_right(movies, tmp_path):
    right = total = 0
    for number, movie in enumerate(movies):
        folder = tmp_path / str(number)
        (folder / "in").mkdir(parents=True)
        rows = tracked(folder / "in", movie.seen)
        one_right, one_total = right_links(movie, rows)
        right, total = right + one_right, total + one_total

        write_ctc(folder / "01_GT/TRA", movie.truth, movie.mothers, "man_track", "man_track.txt")
        parents = {row["track_id"]: row["parent_id"] for row in rows}
        write_ctc(folder / "01_RES", answered(movie.seen, rows), parents, "mask", "res_track.txt")
        measures = evaluate_sequence(
            str(folder / "01_RES"), str(folder / "01_GT"), metrics=["Valid", "DET", "LNK", "TRA", "TF", "BC"], threads=1
        )
        shown = {name: round(float(measures[name]), 4) for name in ("DET", "LNK", "TRA", "TF", "BC(0)", "BC(1)")}
        print(f"movie {number}: {one_right}/{one_total} links right, {measures['gt_divisions']} divisions, {shown}")
        assert measures["Valid"] == 1
        # What is not detected cannot be linked, and a cell cut in two looks like two daughters: these count that too.
        assert measures["LNK"] >= 0.95 and measures["TRA"] >= 0.97, shown
        assert measures["BC(1)"] >= 0.6, shown
    print(f"{right}/{total} = {right / total:.4f} of links right")
    assert right >= 0.98 * total


def test_drift_is_that_of_the_stage(movies, tmp_path):
    movie = movies[0]
    drift = {row["frame"]: (row["drift_x_px"], row["drift_y_px"]) for row in tracked(tmp_path, movie.seen) if row["frame"]}
    errors = [np.hypot(*(np.array(drift[frame]) - movie.drift[frame])) for frame in drift]
    print(f"drift off by {np.median(errors):.2f} px in the middle, {max(errors):.2f} px at most")
    assert len(errors) == len(movie.seen) - 1
    assert np.median(errors) < 0.5 and max(errors) < 1.5


def test_dropped_frames_leave_ids_as_they_are(movies, tmp_path):
    movie = movies[1]
    dropped = {5, 11, 12, 25}
    rows = tracked(tmp_path, [None if frame in dropped else image for frame, image in enumerate(movie.seen)])
    assert {row["gap"] for row in rows if row["frame"] == 13} >= {2}
    # Links over the dropped frames: frames 4 to 6, 10 to 13, 24 to 26.
    ids = {(row["frame"], row["label"]): row["track_id"] for row in rows}
    right = total = 0
    for before, after in ((4, 6), (10, 13), (24, 26)):
        first, second = (
            {id: ids[frame, label] for label, id in truth_of(movie.seen[frame], movie.truth[frame]).items()}
            for frame in (before, after)
        )
        both = first.keys() & second.keys()
        right, total = right + sum(first[id] == second[id] for id in both), total + len(both)
    print(f"{right}/{total} links right over dropped frames")
    assert right >= 0.97 * total


def test_a_real_culture_is_followed_as_another_tool_follows_it(tmp_path):
    """Its tracks are not truth: how often both agree that two cells of successive frames are one."""
    images = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(np.uint16) for file in sorted(TIMELAPSE.glob("*.png"))]
    assert len(images) == 20
    rows = tracked(tmp_path, images)
    ids = {(row["frame"], row["label"]): row["track_id"] for row in rows}
    agree = total = 0
    labels_of = defaultdict(set)
    for frame, (before, after) in enumerate(zip(images, images[1:], strict=False)):
        for label in np.intersect1d(before, after)[1:].tolist():
            total += 1
            agree += ids[frame, label] == ids[frame + 1, label]
    for (_, label), id in ids.items():
        labels_of[label].add(id)
    whole = sum(len(found) == 1 for found in labels_of.values())
    print(f"{agree}/{total} = {agree / total:.4f} of links agree; {whole} of {len(labels_of)} tracks are one here too")
    assert agree >= 0.97 * total
