"""`segment --options FILE`: the same file for a lane in the program and for a server, and what is wrong with it said."""

import json
import subprocess
import sys

import pytest
from contract import ROOT
from daemon import run
from frames import demo_file_copies

OPTIONS = """
model = "cells_640"
window = 3
priority = "BACKGROUND"
name = "from a file"

[thresholds]
confidence = 0.45
min_area_px = 30
min_area_um2 = 10
border = "DROP"
[thresholds.class_confidence]
0 = 0.5

[normalization.percentiles]
low = 1
high = 99
min_span = 12

[measurements]
shape = true

[tracking]
max_gap = 4
"""


def segmented(out, files, *flags, **more):
    run("segment", *files, "--out", out, "--json", "--pixel-size", "0.87", *flags, CELLSEGD_ENGINE__KIND="rten", **more)
    return json.loads((out / "run.json").read_text()), [(out / f"{file.stem}.json").read_bytes() for file in files]


def test_a_file_means_the_same_here_at_a_server_and_as_flags(tmp_path, daemon):
    files = demo_file_copies(tmp_path, 2)
    options = tmp_path / "options.toml"
    options.write_text(OPTIONS)
    here, cells_here = segmented(tmp_path / "here", files, "--options", options)
    there, cells_there = segmented(tmp_path / "there", files, "--options", options, "--server", f"tcp://{daemon.address}")
    assert cells_here == cells_there
    for settled in (here["options"], there["options"]):
        thresholds, normalization = settled["thresholds"], settled["normalization"]
        assert thresholds["confidence"] == pytest.approx(0.45)
        assert (thresholds["min_area_px"], thresholds["min_area_um2"], thresholds["border"]) == (30, 10, "drop")
        assert thresholds["class_confidence"] == {"0": 0.5}
        assert (normalization["low"], normalization["high"], normalization["min_span_counts"]) == (1, 99, 12)
        assert settled["measurements"]["shape"] and settled["tracking"]["max_gap"] == 4
    flags = "--confidence 0.9 --normalization full --track --max-gap 1 --measure hull".split()
    over, _ = segmented(tmp_path / "over", files, "--options", options, *flags)
    over = over["options"]
    assert over["thresholds"]["confidence"] == pytest.approx(0.9)
    assert (over["normalization"]["policy"], over["tracking"]["max_gap"]) == ("full_range", 1)
    assert over["measurements"]["shape"] and over["measurements"]["hull"]


@pytest.mark.parametrize(
    "text, status, words",
    [
        ("[thresholds]\nconfidense = 0.4", 2, ["options.toml, line 2", "thresholds.confidense", "confidence, iou"]),
        ("\n\nwindow = 'four'", 2, ["line 3", 'window "four"', "whole number"]),
        ("delivery = 'NEWEST'", 2, ["line 1", '"LATEST"']),
        ("[thresholds", 2, ["line 1"]),
        ("[flat_field.flat_encoded]\ndata = 'AAAA'", 2, ["flat_field", "--flat"]),
        ("[tracking]\nmax_gap = 99", 2, ["tracking.max_gap 99", "0 to 50"]),
        ("model = 'other'", 2, ['"other"', "--model"]),
        ("[thresholds]\nconfidence = 2", 2, ["thresholds.confidence 2", "0 to 1"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, status, words):
    (tmp_path / "options.toml").write_text(text)
    files = demo_file_copies(tmp_path, 1)
    flags = ("--out", tmp_path / "out", "--options", tmp_path / "options.toml")
    done = run("segment", *files, *flags, expect=status, CELLSEGD_ENGINE__KIND="rten")
    for word in words:
        assert word in done.stderr, done.stderr


def test_what_a_run_of_files_does_otherwise_is_said(tmp_path):
    (tmp_path / "options.toml").write_text("delivery = 'LATEST'\nfollow_reload = true\n[outputs]\nmasks = 'BITS'\n")
    files = demo_file_copies(tmp_path, 1)
    flags = ("--out", tmp_path / "out", "--options", tmp_path / "options.toml", "--json")
    done = run("segment", *files, *flags, CELLSEGD_ENGINE__KIND="rten")
    for word in ("LATEST", "follow_reload", "outputs"):
        assert word in done.stderr


SAVE = """
import sys
import cellsegd
import numpy as np
corners = np.array([[0, 0], [0, 600], [600, 600], [600, 0]])
cellsegd.Options(
    model="cells_640", confidence=0.4, iou=0.5, class_agnostic=False, max_cells=100, min_area_um2=5, min_area_px=3,
    max_area_um2=1e5, border="unbiased", classes=(0, 1), class_confidence={1: 0.6}, window=3, priority="background",
    normalization=cellsegd.percentiles(1, 99), tiling="auto", measure="all", track=True, growth=True, region_yx=[corners],
    name='a "b" \u00e9',
).save(sys.argv[1])
"""


def test_what_the_python_client_saves_is_read(tmp_path):
    """As a script of its own writes it, with most of its options."""
    options = tmp_path / "options.toml"
    subprocess.run([sys.executable, "-c", SAVE, options], check=True, timeout=60, cwd=ROOT / "clients/python")
    files = demo_file_copies(tmp_path, 1)
    record, _ = segmented(tmp_path / "out", files, "--options", options)
    settled = record["options"]
    thresholds = settled["thresholds"]
    assert (thresholds["confidence"], thresholds["iou"]) == (pytest.approx(0.4), pytest.approx(0.5))
    assert (thresholds["classes"], thresholds["class_confidence"]) == ([0, 1], {"1": pytest.approx(0.6)})
    assert (thresholds["max_cells"], thresholds["min_area_px"], thresholds["border"]) == (100, 3, "unbiased")
    assert (settled["normalization"]["low"], settled["normalization"]["high"]) == (1, 99)
    assert all(settled["measurements"][group] for group in ("shape", "hull", "intensity", "background", "neighbours"))
    assert settled["tracking"]["max_gap"] == 2 and settled["growth"]["min_points"] == 5
    [ring] = settled["region"]
    assert len(ring) == 4


def test_models_are_held_against_labels_with_a_file_of_options(tmp_path):
    """Of cells that were found with the same options every one is found again; with others they are not."""
    (tmp_path / "images").mkdir()
    files = demo_file_copies(tmp_path / "images", 1)
    options, out = tmp_path / "options.toml", tmp_path / "out"
    options.write_text("[thresholds]\nconfidence = 0.6\n[normalization.percentiles]\nlow = 1\nhigh = 99\n")
    run("segment", *files, "--out", out, "--options", options, "--labels", CELLSEGD_ENGINE__KIND="rten")
    flags = ("--images", tmp_path / "images", "--masks", out, "--json")
    for more, is_same in ((("--options", options), True), ((), False)):
        report = json.loads(run("eval", *flags, *more, CELLSEGD_ENGINE__KIND="rten").stdout)
        of_all = report["models"][0]["all"]
        assert (of_all["found"] == report["labelled"] and of_all["mean_iou"] == 1) == is_same, of_all
