"""Folders that are recorded, read by the program itself."""

import csv
import json
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tifffile
from conftest import TINY_OPTIONS, demo_files, discs
from real_daemon import BUNDLED, run
from skimage.io import imread

from cellsegd import Frame, Recorder, Result
from cellsegd import contract as pb
from cellsegd.tiff import write_tiff

FORMATS = ("ctc", "geojson", "roi", "ome", "parquet", "coco", "csv", "tiff", "overlay", "plot")
UM = 0.8708
WANTED = {"measure": "all", "track": True, "growth": True}


def lines(folder):
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]


def frame(i: int, t: int | None = None) -> Frame:
    t = i if t is None else t
    metadata = {"t": t, "pixel_size_um": UM, "elapsed_ms": t * 600_000.0}
    return Frame(imread(demo_files()[i]), metadata=metadata)


@pytest.fixture(scope="module")
def recorded(client, tmp_path_factory):
    """Every demo frame, named as the program would name it."""
    folder = tmp_path_factory.mktemp("recorded") / "run"
    with client.session(**WANTED) as session, Recorder(folder, session.opened, url=client.url) as recorder:
        answers = session.results()
        for t, file in enumerate(demo_files()):
            # Numbered as the files are.
            session.submit(frame(t, t + 1))
            recorder.write(None, next(answers), image_id=file.stem, file=str(file))
    return folder


@pytest.fixture(scope="module")
def by_program(daemon, tmp_path_factory):
    """The same frames by `cellsegd segment`."""
    folder = tmp_path_factory.mktemp("program") / "run"
    flags = ["--measure", "all", "--track", "--growth", "--interval", "10min", "--pixel-size", UM]
    run("segment", "--server", daemon.url, "--out", folder, "--pattern", r"t(?<t>\d+)", *flags, *demo_files())
    return folder


def test_the_record_is_that_of_the_program(recorded, by_program):
    ours, theirs = (json.loads((folder / "run.json").read_text()) for folder in (recorded, by_program))
    assert set(ours) == set(theirs)
    for key in ("server", "model", "backend", "device", "totals"):
        assert ours[key] == theirs[key], key
    assert ours["ended_at"].endswith("Z")
    for key, value in theirs["options"].items():
        mine = ours["options"][key]
        if key == "thresholds":
            # Floats of 32 bits, in as many digits as they have.
            assert set(mine) == set(value)
            assert all(np.float32(mine[name]) == np.float32(value[name]) for name in ("confidence", "iou"))
            mine, value = ({name: it[name] for name in it if name not in ("confidence", "iou")} for it in (mine, value))
        assert mine == value, key
    for mine, yours in zip(lines(recorded), lines(by_program), strict=True):
        assert set(mine) == set(yours)
        assert mine["file"] == yours["file"] and mine["page"] == yours["page"]
        assert set(mine["segmented"]) == set(yours["segmented"])
        for key, value in yours["segmented"].items():
            if key != "growth":
                assert mine["segmented"][key] == pytest.approx(value), key


def test_the_cells_are_those_of_the_program(recorded, by_program):
    for file in demo_files():
        mine, yours = (json.loads((folder / f"{file.stem}.json").read_text()) for folder in (recorded, by_program))
        assert len(mine) == len(yours) > 20
        for a, b in zip(mine, yours, strict=True):
            assert set(a) == set(b)
            for key, value in b.items():
                if key == "measures":
                    assert set(a[key]) == set(value)
                    for group, numbers in value.items():
                        assert a[key][group] == (pytest.approx(numbers) if group == "centroid_px" else numbers), group
                elif key in ("score", "detected_box"):
                    assert a[key] == pytest.approx(value, rel=1e-6)
                else:
                    assert a[key] == value, key


@pytest.mark.parametrize("format", FORMATS)
def test_every_export_works(recorded, by_program, tmp_path, format):
    for name, folder in (("ours", recorded), ("theirs", by_program)):
        run("export", folder, "--as", format, "--out", tmp_path / name)
    ours, theirs = (
        sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*")) for name in ("ours", "theirs")
    )
    assert ours == theirs and ours
    if format == "csv":
        for name in (name for name in ours if name.suffix == ".csv"):
            mine, yours = (list(csv.DictReader((tmp_path / who / name).open())) for who in ("ours", "theirs"))
            assert len(mine) == len(yours) > 0
            for a, b in zip(mine, yours, strict=True):
                assert a == b
    if format == "tiff":
        for name in (name for name in ours if name.suffix == ".tif"):
            np.testing.assert_array_equal(tifffile.imread(tmp_path / "ours" / name), tifffile.imread(tmp_path / "theirs" / name))


def test_labels_and_table_are_there_beside(recorded):
    rows = list(csv.DictReader((recorded / "cells.csv").open()))
    for line in lines(recorded):
        image_id = line["image_id"]
        labels = tifffile.imread(recorded / f"{image_id}.labels.tif")
        assert labels.dtype == np.uint16 and labels.max() == line["segmented"]["cells"]
        of_frame = [row for row in rows if row["image_id"] == image_id]
        assert [int(row["label"]) for row in of_frame] == list(range(1, labels.max() + 1))
        areas = np.bincount(labels.ravel())[1:]
        assert [int(row["area_px"]) for row in of_frame] == areas.tolist()
        assert all(row["mean_counts"] and row["track_id"] and row["perimeter_um"] for row in of_frame)


def test_the_columns_are_those_of_the_programs_table(by_program):
    from cellsegd.cell_table import COLUMNS

    header = next(csv.reader((by_program / f"{demo_files()[0].stem}.csv").open()))
    generic = [name.replace("intensity_", "") for name in header]
    assert [name for name in COLUMNS if name not in generic] == []


def test_a_recording_that_is_killed_can_be_exported(daemon, tmp_path):
    folder = tmp_path / "run"
    script = textwrap.dedent(f"""
        import itertools, sys
        sys.path.insert(0, {str(__file__).rsplit("/", 1)[0]!r})
        from cellsegd import Client, Recorder
        from test_recorder import frame, WANTED
        with Client({daemon.url!r}) as client, client.session(**WANTED) as session:
            recorder = Recorder({str(folder)!r}, session.opened)
            for t in itertools.count():
                session.submit(frame(t % 6))
                recorder.write(None, next(session.results()))
                print(t, flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.strip() == "3":
            process.send_signal(signal.SIGKILL)
    process.wait(60)
    with (folder / "frames.jsonl").open("a") as file:
        file.write('{"image_id": "cut o')
    record = json.loads((folder / "run.json").read_text())
    assert record["ended_at"] is None and record["totals"] is None
    for format in FORMATS:
        if format != "overlay":
            run("export", folder, "--as", format)
    assert len(list(csv.DictReader((folder / "csv/cells.csv").open()))) > 80


def test_other_channels_and_frames_that_were_not_segmented(client, tmp_path):
    """Measured channels go to the cells they were measured in; what was lost is filled in by the program."""
    folder = tmp_path / "run"
    gfp = imread(demo_files()[1])
    with client.session(measure="intensity", track=True) as session, Recorder(folder, session.opened) as recorder:
        first = session.submit(frame(0))
        session.submit(Frame(gfp, measure_on=first, metadata={"t": 0, "channel": "GFP"}))
        session.close()
        segmented, measured = session.results()
        assert recorder.write(frame(0), segmented) == "t0000"
        assert recorder.write(Frame(gfp), measured) == "t0000_GFP"
        lost = frame(1)
        dropped = Result(pb.FrameReply(id=9, dropped=pb.Dropped(reason="REASON_NEWER_FRAME")), metadata=lost.message().metadata)
        assert recorder.write(lost, dropped) == "t0001"
        assert recorder.unsegmented({"t": 2, "position": "B/3: x"}, "the buffer was full", frame=frame(2)) == "B-3-x_t0002"
        assert recorder.unsegmented({"t": 2, "position": "B/3: x"}, "broken", failed=True) != "B-3-x_t0002"
    assert {path.name for path in folder.glob("*.tif") if ".labels." not in path.name} == {"t0001.tif", "B-3-x_t0002.tif"}
    fates = [set(line) - {"image_id", "file", "page", "metadata"} for line in lines(folder)]
    assert fates == [{"segmented"}, {"measured"}, {"dropped"}, {"dropped"}, {"failed"}]
    for cell in json.loads((folder / "t0000.json").read_text()):
        (_, other) = cell["measures"]["intensity"]
        mask = next(it for it in segmented.cells if it.label == cell["label"])
        assert other["channel"] == "GFP" and other["mean"] == pytest.approx(gfp[mask.slice][mask.image].mean())
    # The one that nobody kept stays failed.
    run("segment", "--missing", folder / "run.json", "--model", BUNDLED, expect=1)
    filled = {line["image_id"]: line for line in lines(folder)}
    assert {name for name, line in filled.items() if "segmented" in line} == {"t0000", "t0001", "B-3-x_t0002"}
    expected = client.segment(imread(demo_files()[1]))
    assert filled["t0001"]["segmented"]["cells"] == len(expected.cells)
    run("export", folder, "--as", "csv")


def test_what_is_kept_of_pixels_is_as_the_daemon_saw_them(client, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    cases = {
        "plain": (Frame(image), image),
        "bgr": (Frame(image, format="BGR8"), image[..., ::-1]),
        "mirrored": (Frame(image, flip_horizontal=True), image[:, ::-1]),
        "sixteen": (Frame(image[..., 0].astype(">u2") * 256), image[..., 0].astype(np.uint16) * 256),
    }
    with client.session(**TINY_OPTIONS) as session, Recorder(tmp_path / "run", session.opened, keep="all") as recorder:
        for name, (frame, expected) in cases.items():
            session.submit(frame)
            recorder.write(frame, next(session.results()), image_id=name)
            np.testing.assert_array_equal(tifffile.imread(tmp_path / f"run/{name}.tif"), expected)


def test_a_mistake_is_named_before_anything_is_written(client, tmp_path):
    with client.session(outputs="boxes", **TINY_OPTIONS) as session, pytest.raises(ValueError, match="no masks"):
        Recorder(tmp_path / "run", session.opened)
    flat = np.full((64, 96), 100, np.uint8)
    with client.session(flat_field=flat, **TINY_OPTIONS) as session:
        with pytest.raises(ValueError, match="flat_field"):
            Recorder(tmp_path / "run", session.opened)
        with Recorder(tmp_path / "run", session.opened, flat_field=flat) as recorder:
            session.submit(discs())
            result = next(session.results())
            for image_id in ("../x", "a/b", "", ".hidden", "a\0b"):
                with pytest.raises(ValueError, match="image_id"):
                    recorder.write(None, result, image_id=image_id)
            recorder.write(None, result)
        recorder.close()
        assert json.loads((tmp_path / "run/run.json").read_text())["options"]["flat_field"]["flat"].endswith("flat_field.tif")
        with pytest.raises(FileExistsError, match="holds a run already"):
            Recorder(tmp_path / "run", session.opened, flat_field=flat)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("uint8", (3, 5)), ("uint16", (7, 4)), (">u2", (7, 4)), ("uint32", (2, 3)), ("uint8", (4, 5, 3)), ("uint16", (4, 5, 3))],
)
def test_tiffs_are_read_by_others(tmp_path, dtype, shape, compress):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    write_tiff(tmp_path / "a.tif", pixels, compress)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), pixels)
    with pytest.raises(TypeError):
        write_tiff(tmp_path / "b.tif", pixels.astype(float))
