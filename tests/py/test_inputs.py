"""What `segment` reads: stacks as tifffile writes them, names by pattern, Micro-Manager's folders, files that come while it runs."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from daemon import BIN, environment, run
from frames import demo_file_copies, discs

WAIT_S = 60


def header(out: Path) -> dict:
    return json.loads((out / "run.json").read_text())


def lines(out: Path) -> dict[str, dict]:
    """The last word about each frame; a line that was cut off does not count."""
    whole = (out / "frames.jsonl").read_text().rpartition("\n")[0]
    return {line["image_id"]: line for line in map(json.loads, whole.splitlines())}


def stack(n: int, side: int = 64) -> np.ndarray:
    return np.stack([discs(side, side, seed) for seed in range(n)])


def images(folder: Path, names) -> None:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, discs(64, 64, seed))


@pytest.fixture
def segment(tiny_model, tmp_path):
    def segment(*arguments, out="out", expect=0):
        folder = tmp_path / out
        done = run("segment", *arguments, "--model", tiny_model, "--out", folder, expect=expect)
        return done, folder

    return segment


def test_an_ome_stack_is_frames_with_channel_time_and_pixel_size(segment, tmp_path):
    file = tmp_path / "scan.ome.tif"
    axes = {"axes": "TCYX", "Channel": {"Name": ["Phase", "GFP"]}, "PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "µm"}
    axes |= {"PhysicalSizeY": 0.65, "PhysicalSizeYUnit": "µm", "TimeIncrement": 600, "TimeIncrementUnit": "s"}
    tifffile.imwrite(file, stack(6).reshape(3, 2, 64, 64), metadata=axes, ome=True)
    done, out = segment(file)
    frames = lines(out)
    assert len(frames) == 6 and "Phase, GFP" in done.stderr
    last = frames["scan_0005"]["metadata"]
    assert (last["index"]["t"], last["channel"], last["pixel_size_um"]) == (2, "GFP", 0.65)
    assert last["elapsed_ms"] == 1_200_000


@pytest.mark.parametrize("how", [{"imagej": True, "resolution": (2, 2), "metadata": {"axes": "TYX", "unit": "um"}}, {"bigtiff": True}])
def test_stacks_are_frames_in_their_order(segment, tmp_path, how):
    file = tmp_path / "scan.tif"
    tifffile.imwrite(file, stack(3), photometric="minisblack", **how)
    _, out = segment(file, "--track", "--interval", "10min", "--labels")
    frames = lines(out)
    assert [frames[f"scan_{page:04}"]["metadata"]["index"]["t"] for page in range(3)] == [0, 1, 2]
    assert frames["scan_0002"]["metadata"].get("pixel_size_um") == (0.5 if "imagej" in how else None)
    single = tmp_path / "single.tif"
    tifffile.imwrite(single, stack(3)[1])
    _, alone = segment(single, "--labels", out="alone")
    pages = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in (out / "scan_0001.labels.png", alone / "single.labels.png")]
    assert pages[0].max() > 0 and np.array_equal(*pages)


def test_what_is_whole_of_a_cut_off_stack_is_segmented(segment, tmp_path):
    file = tmp_path / "scan.tif"
    with tifffile.TiffWriter(file) as writer:
        for image in stack(4):
            writer.write(image, contiguous=False)
    offsets = [page.dataoffsets[0] for page in tifffile.TiffFile(file).pages]
    file.write_bytes(file.read_bytes()[: max(offsets) + 100])
    done, out = segment(file, expect=1)
    fates = [next(key for key in ("segmented", "failed") if key in line) for line in lines(out).values()]
    assert "failed" in fates and "segmented" in fates, done.stderr


def test_a_pattern_says_time_and_place(segment, tmp_path):
    images(tmp_path / "in", [f"{well}_t{t}.tif" for well in ("A01", "B02") for t in (2, 10)])
    pattern = r"(?P<well>[A-H]\d\d)_t(?P<t>\d+)"
    done, out = segment(tmp_path / "in", "--pattern", pattern, "--pixel-size", "0.5")
    frames = list(lines(out).values())
    assert [frame["metadata"]["index"]["t"] for frame in frames] == [2, 2, 10, 10], "in the order of time"
    assert [frame["metadata"]["well"] for frame in frames] == ["A01", "B02"] * 2
    assert {frame["metadata"]["pixel_size_um"] for frame in frames} == {0.5}
    assert header(out)["totals"]["segmented"] == 4, done.stderr


def test_names_that_do_not_match_are_said_before_anything_is_written(segment, tmp_path):
    images(tmp_path / "in", ["t1.tif", "t2.tif", "thumbnail.tif"])
    done, out = segment(tmp_path / "in", "--pattern", r"^t(?P<t>\d+)", expect=2)
    assert "thumbnail.tif" in done.stderr and "--skip-unmatched" in done.stderr
    assert not out.exists()
    done, out = segment(tmp_path / "in", "--pattern", r"^t(?P<t>\d+)", "--skip-unmatched")
    assert set(lines(out)) == {"t1", "t2"}


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["--pattern", r"(?P<time>\d+)"], "time"),
        (["--pattern", r"x(?P<t>\d+)"], "matches none"),
        (["--segment", "Phase"], "there is no frame of that channel"),
        (["--pixel-size", "0"], "micrometres"),
        (["--pixel-size", "1e-300"], "0.000001 to 1000000"),
        (["--region", "0,0,0,5"], "at least 1"),
        (["--overlap", "0.6"], "0 to 0.5"),
        (["--min-area", "50"], "unit"),
    ],
)
def test_what_cannot_be_meant_is_refused(segment, tmp_path, arguments, word):
    images(tmp_path / "in", ["t1.tif"])
    done, out = segment(tmp_path / "in", *arguments, expect=2)
    assert word in done.stderr and not out.exists()


@pytest.mark.parametrize("name, word", [("a.nd2", "Nikon"), ("a.czi", "Zeiss")])
def test_other_makers_formats_are_refused_by_name(segment, tmp_path, name, word):
    (tmp_path / name).write_bytes(b"x")
    done, _ = segment(tmp_path / name, expect=2)
    assert word in done.stderr and "OME-TIFF" in done.stderr


def micromanager(folder: Path, version: int) -> None:
    """Two time points of two channels, as Micro-Manager 1.4 and 2.0 write them."""
    summary = {"ChNames": ["Phase", "GFP"], "Slices": 1, "Channels": 2, "Frames": 2, "PixelSize_um": 0.65}
    frames = {"Summary": summary}
    for t in range(2):
        for c, channel in enumerate(summary["ChNames"]):
            coords = {"Frame": t, "FrameIndex": t, "ChannelIndex": c, "Slice": 0, "SliceIndex": 0, "PositionIndex": 0}
            more = {"ElapsedTime-ms": 600_000.0 * t + c, "XPositionUm": 10.0, "YPositionUm": -5.0, "PixelSizeUm": 0.65}
            more |= {"PositionName": "Pos0", "Exposure-ms": 20, "PixelSizeAffine": "0.65;0.0;0.0;0.0;0.65;0.0"}
            if version == 1:
                name = f"img_{t:09}_{channel}_000.tif"
                frames[f"FrameKey-{t}-{c}-0"] = coords | more | {"FileName": name, "Channel": channel}
            else:
                name = f"img_channel{c:03}_position000_time{t:09}_z000.tif"
                frames[f"Coords-Pos0/{name}"] = coords
                frames[f"Metadata-Pos0/{name}"] = more
            images(folder / "Pos0", [name])
    (folder / "Pos0" / "metadata.txt").write_text(json.dumps(frames, indent=1))


@pytest.mark.parametrize("version", [1, 2])
def test_micromanagers_folders_say_all_of_it_and_channels_are_measured(segment, tmp_path, version):
    micromanager(tmp_path / "in", version)
    chosen = ["--segment", "Phase", "--measure-on", "GFP"]
    done, out = segment(tmp_path / "in", *chosen, "--track", "--csv")
    frames = list(lines(out).values())
    segmented = [frame for frame in frames if "segmented" in frame]
    assert [frame["metadata"]["elapsed_ms"] for frame in segmented] == [0, 600_000]
    metadata = segmented[0]["metadata"]
    assert (metadata["x_um"], metadata["pixel_size_um"], metadata["position"]) == (10, 0.65, "Pos0")
    measured = [frame["measured"]["on"] for frame in frames if "measured" in frame]
    assert measured == [frame["image_id"] for frame in segmented], done.stderr
    cells = json.loads((out / f"{segmented[0]['image_id']}.json").read_text())
    assert cells and [of["channel"] for of in cells[0]["measures"]["intensity"]] == ["Phase", "GFP"]


@pytest.mark.parametrize("flag", ["--segment", "--measure-on"])
def test_a_mistyped_channel_is_named_with_those_that_are_there(segment, tmp_path, flag):
    micromanager(tmp_path / "in", 2)
    chosen = {"--segment": "Phase", "--measure-on": "GFP"} | {flag: "Gfp"}
    done, out = segment(tmp_path / "in", *(word for pair in chosen.items() for word in pair), expect=2)
    assert f"{flag} Gfp: there is no frame of that channel" in done.stderr and "Phase" in done.stderr and not out.exists()


def test_a_server_measures_channels_as_a_lane_does(segment, tmp_path, daemon, tiny_model):
    micromanager(tmp_path / "in", 2)
    chosen = [tmp_path / "in", "--segment", "Phase", "--measure-on", "GFP", "--measure", "all", "--track"]
    # As the daemon of the tests: another engine's last digits differ.
    _, here = segment(*chosen, "--engine", "rten")
    there = tmp_path / "there"
    run("segment", *chosen, "--server", f"tcp://{daemon.address}", "--model", "tiny", "--out", there)
    for line in lines(here).values():
        if "segmented" in line:
            name = f"{line['image_id']}.json"
            assert json.loads((here / name).read_text()) == json.loads((there / name).read_text())


def ended(out: Path) -> bool:
    return (out / "run.json").exists() and header(out)["ended_at"] is not None


class Watch:
    def __init__(self, *arguments):
        command = [BIN, "segment", *map(str, arguments)]
        self.process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)

    def until(self, out: Path, *image_ids: str):
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if (out / "frames.jsonl").exists() and set(image_ids) <= set(lines(out)):
                return
            assert self.process.poll() is None, self.process.stderr.read()
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"{image_ids} not there after {WAIT_S} s: {self.process.stderr.read()}")

    def end(self, how=signal.SIGINT) -> str:
        self.process.send_signal(how)
        said = self.process.communicate(timeout=WAIT_S)[1]
        assert self.process.returncode == (0 if how == signal.SIGINT else -how), said
        return said


def test_a_watched_folder_is_segmented_as_files_come_and_gone_on_with(tmp_path, tiny_model):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    images(tmp_path, [f"t{i}.tif" for i in range(4)])
    flags = ["--watch", folder, "--out", out, "--model", tiny_model, "--settle", "0.3", "--track"]
    watch = Watch(*flags)
    shutil.copy(tmp_path / "t0.tif", folder)
    # A slow copy: half of it, and the rest later.
    whole = (tmp_path / "t1.tif").read_bytes()
    with (folder / "t1.tif").open("wb") as file:
        file.write(whole[: len(whole) // 2])
        file.flush()
        watch.until(out, "t0")
        time.sleep(1)
        assert "t1" not in lines(out), "half a file is not taken"
        file.write(whole[len(whole) // 2 :])
    watch.until(out, "t0", "t1")
    # Killed: the record is whole all the same.
    watch.end(signal.SIGKILL)
    assert header(out)["ended_at"] is None and set(lines(out)) == {"t0", "t1"}
    with (out / "frames.jsonl").open("a") as record:
        record.write('{"image_id": "t1", "fi')
    highest = max((cell["track"]["id"] for cell in json.loads((out / "t1.json").read_text())), default=0)
    shutil.copy(tmp_path / "t2.tif", folder)
    watch = Watch(*flags)
    watch.until(out, "t2")
    said = watch.end()
    assert "going on after 2 frames" in said and "3 of 3 frames segmented" in said
    frames = lines(out)
    assert [frames[f"t{i}"]["metadata"]["index"]["t"] for i in range(3)] == [0, 1, 2]
    assert ended(out) and (out / "frames.jsonl").read_text().count('"t0"') == 1, "nothing is done twice"
    ids = [cell["track"]["id"] for cell in json.loads((out / "t2.json").read_text())]
    known = {cell["track"]["id"] for i in range(2) for cell in json.loads((out / f"t{i}.json").read_text())}
    assert all(id in known or id > highest for id in ids), "ids go on"
    done = run("segment", *flags, "--confidence", "0.9", expect=2)
    assert "another --out" in done.stderr


def test_what_a_run_left_out_is_filled_in(tmp_path, tiny_model, segment):
    images(tmp_path / "in", ["t1.tif", "t2.tif", "t3.tif"])
    good = (tmp_path / "in/t2.tif").read_bytes()
    (tmp_path / "in/t2.tif").write_bytes(good[:300])
    _, out = segment(tmp_path / "in", expect=1)
    assert "failed" in lines(out)["t2"]
    # As after a kill: the last frame is not in the record, and the run has not ended.
    record = (out / "frames.jsonl").read_text().splitlines(keepends=True)
    (out / "frames.jsonl").write_text("".join(line for line in record if '"t3"' not in line))
    (tmp_path / "in/t2.tif").write_bytes(good)
    before = (out / "t1.json").stat().st_mtime_ns
    done = run("segment", "--missing", out / "run.json", "--model", tiny_model)
    assert "3 of 3 frames segmented" in done.stderr and (out / "t1.json").stat().st_mtime_ns == before
    assert all("segmented" in line for line in lines(out).values())
    assert any("filled in" in notice for notice in lines(out)["t3"]["segmented"]["notices"])
    done = run("segment", "--missing", out / "run.json", "--model", tiny_model)
    assert "nothing is missing" in done.stderr


def test_a_gap_is_filled_in_by_the_model_of_the_run_only(tmp_path, segment):
    images(tmp_path / "in", ["t1.tif"])
    (tmp_path / "in/t2.tif").write_bytes(b"")
    _, out = segment(tmp_path / "in", expect=1)
    done = run("segment", "--missing", out / "run.json", expect=2)
    assert "sha256" in done.stderr and "--model" in done.stderr


def test_results_do_not_go_among_the_images(tmp_path, tiny_model):
    images(tmp_path / "in", ["t1.tif"])
    done = run("segment", tmp_path / "in", "--out", tmp_path / "in", "--model", tiny_model, expect=2)
    assert "folder of their own" in done.stderr and os.listdir(tmp_path / "in") == ["t1.tif"]


def test_growth_is_said_of_the_demo_frames_made_hours_apart(tmp_path):
    demo_file_copies(tmp_path, 5)
    out = tmp_path / "out"
    done = run("segment", tmp_path, "--out", out, "--growth", "--interval", "1h", "--tiling", "off")
    growth = lines(out)["t05"]["segmented"]["growth"]
    assert growth["points"] == 5 and growth["count"] is not None
    assert "count" in done.stderr and "confluence" in done.stderr
