"""The command line: what is written, what is said, and the exit status."""

import csv
import json
import os
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from daemon import BIN, BUNDLED_MODEL, environment, run
from frames import demo_file_copies, demo_files, discs
from models import tiny, wrong_head

SYSEXITS_CONFIG = 78


def said(done) -> str:
    return (done.stdout + done.stderr).lower()


def test_a_reader_that_is_gone_is_no_panic():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([BIN, "models"], env=environment(), stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, "panicked" in done.stderr) == (0, False), done.stderr


def test_a_broken_file_does_not_stop_the_others(tmp_path):
    good = demo_file_copies(tmp_path, 2)
    broken = tmp_path / "broken.png"
    broken.write_bytes(good[0].read_bytes()[:500])
    out = tmp_path / "out"
    done = run("segment", good[0], broken, tmp_path / "missing.png", good[1], "--out", out, "--labels", expect=1)
    assert "broken.png" in said(done) and "missing.png" in said(done)
    assert sorted(path.name for path in out.glob("*.labels.png")) == sorted(f"{path.stem}.labels.png" for path in good)
    assert (out / "run.json").exists()


def test_two_inputs_of_one_stem_are_refused_before_anything_is_written(tmp_path):
    first = tmp_path / "a" / "same.png"
    second = tmp_path / "b" / "same.tif"
    for path in (first, second):
        path.parent.mkdir()
        cv2.imwrite(str(path), discs(64, 64))
    out = tmp_path / "out"
    done = run("segment", first, second, "--out", out, "--labels", expect=2)
    assert "same" in said(done)
    assert not out.exists()


def test_every_output_is_written_and_agrees(tmp_path):
    [file] = demo_file_copies(tmp_path, 1)
    out = tmp_path / "out"
    run("segment", file, "--out", out, "--labels", "--overlay", "--json", "--csv")
    stem = file.stem
    assert {path.name for path in out.iterdir()} == {
        "run.json", "frames.jsonl", *(f"{stem}.{end}" for end in ("labels.png", "overlay.png", "json", "csv"))
    }  # fmt: skip
    labels = cv2.imread(str(out / f"{stem}.labels.png"), cv2.IMREAD_UNCHANGED)
    overlay = cv2.imread(str(out / f"{stem}.overlay.png"), cv2.IMREAD_UNCHANGED)
    assert overlay.shape[:2] == labels.shape
    assert np.ptp(overlay.astype(int), axis=2).max() > 0, "cells are drawn in colour"
    with (out / f"{stem}.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == labels.max() == len(json.loads((out / f"{stem}.json").read_text()))
    areas = np.bincount(labels.ravel())[1:]
    area = next(column for column in rows[0] if column.startswith("area"))
    assert [int(float(row[area])) for row in rows] == list(areas)


def keys(value, prefix="") -> set[str]:
    if not isinstance(value, dict):
        return set()
    return {prefix + name for name in value} | {
        each for name in value for each in keys(value[name], f"{prefix}{name}.")
    }


def test_run_json_says_where_the_masks_come_from(tmp_path):
    [file] = demo_file_copies(tmp_path, 1)
    run("segment", file, "--out", tmp_path / "out", "--json", "--confidence", "0.4")
    text = (tmp_path / "out/run.json").read_text()
    provenance = json.loads(text)
    names = {name.rsplit(".")[-1] for name in keys(provenance)}
    for part in ("cellsegd", "model", "sha256", "precision", "backend", "device", "confidence", "dropped", "failed"):
        assert any(part in name for name in names), f"{part} is not among {sorted(names)}"
    assert "0.4" in text


def test_a_server_gives_the_same_bytes(tmp_path, daemon):
    files = demo_file_copies(tmp_path, 2)
    options = ["--labels", "--json", "--normalization", "percentile:1,99", "--confidence", "0.4"]
    for name, extra in {"here": [], "tcp": ["--server", f"http://{daemon.address}"]}.items():
        run("segment", *files, "--out", tmp_path / name, *options, *extra, CELLSEGD_ENGINE__KIND="rten")
    for file in files:
        for end in ("labels.png", "json"):
            here, there = (tmp_path / name / f"{file.stem}.{end}" for name in ("here", "tcp"))
            if end == "labels.png":
                # The file names its run too, which is another.
                assert np.array_equal(*(cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (here, there)))
            else:
                assert here.read_bytes() == there.read_bytes(), end


def test_the_demo_shows_cells_and_latency(tmp_path):
    done = run("demo", "--out", tmp_path / "out")
    stems = {path.stem for path in demo_files()}
    for end in ("labels.png", "overlay.png"):
        assert {path.name.removesuffix(f".{end}") for path in (tmp_path / "out").glob(f"*.{end}")} == stems
    assert list((tmp_path / "out").glob("*.csv")) and (tmp_path / "out/run.json").exists()
    for word in ("frames", "cells", "p50", "p95"):
        assert word in said(done), word


def test_bench_prints_percentiles(daemon):
    done = run(
        "bench",
        "--server",
        f"http://{daemon.address}",
        "--frame",
        "320x240:Mono8",
        "--sessions",
        2,
        "--window",
        2,
        "--seconds",
        2,
    )
    for word in ("p50", "p95", "p99"):
        assert word in said(done), word


def test_bench_compares_models(tiny_model, tiny_end_to_end):
    models = ["--model", tiny_model, "--model", tiny_end_to_end]
    few = ["--frame", "320x240:Mono8", "--seconds", 1, "--engine", "rten"]
    done = run("bench", *models, *few)
    heading, first, second = done.stdout.splitlines()[-3:]
    assert heading.split() == ["model", "precision", "images/s", "ms/image", "network", "device", "backend"]
    for line, model in ((first, tiny_model), (second, tiny_end_to_end)):
        name, _, images_per_s, ms_per_image, network, *_ = line.split()
        assert name == model.stem
        assert float(images_per_s) > 0 and float(ms_per_image) > float(network) > 0
    reports = json.loads(run("bench", *models, *few, "--json").stdout)
    assert [report["speed"]["model"] for report in reports] == [tiny_model.stem, tiny_end_to_end.stem]
    assert json.loads(run("bench", *models[:2], *few, "--json").stdout)["speed"]["device"].startswith("cpu")


def test_models_lists_the_bundled_one():
    done = run("models")
    for word in ("cells_640", "640", "cell", "nucleus"):
        assert word in done.stdout, word


# name: file, what the message names.
BAD_SETTINGS = {
    "unknown key": ("no_such_key = 1\n", "no_such_key"),
    "wrong type": ("lanes = 'many'\n", "lanes"),
    "no lanes": ("lanes = 0\n", "lanes"),
    "bad address": ("listen = ['tcp://nowhere']\n", "listen"),
    "relative socket": ("listen = ['unix://relative']\n", "listen"),
    "unknown engine": ("[engine]\nkind = 'quantum'\n", "kind"),
    "open to the network": ("listen = ['tcp://0.0.0.0:50051']\n", "insecure"),
    "no such model": ("models = ['/does/not/exist.onnx']\n", "/does/not/exist.onnx"),
    "no such library": ("[engine]\nkind = 'onnxruntime'\nonnxruntime = '/does/not/exist.so'\n", "/does/not/exist.so"),
    "not TOML": ("listen = [\n", "toml"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
@pytest.mark.parametrize("check", [["--check"], []], ids=["check", "serve"])
def test_bad_settings_are_named_before_a_socket_is_bound(tmp_path, name, check):
    text, word = BAD_SETTINGS[name]
    config = tmp_path / "cellsegd.toml"
    config.write_text(text)
    done = run("serve", "--config", config, *check, expect=SYSEXITS_CONFIG, timeout=60)
    assert word.lower() in said(done), said(done)
    assert "panicked" not in said(done)


def test_a_bad_environment_is_named(tmp_path):
    done = run("serve", "--check", expect=SYSEXITS_CONFIG, timeout=60, CELLSEGD_LIMITS__MAX_SIDE="wide")
    assert "max_side" in said(done)


def test_good_settings_check_out(tmp_path):
    config = tmp_path / "cellsegd.toml"
    config.write_text("lanes = 2\n[limits]\nsessions = 3\n")
    run("serve", "--config", config, "--check", timeout=120)


def bad_models(folder) -> dict:
    whole = tiny(folder / "whole.onnx").read_bytes()
    files = {
        "notonnx": (b"this is no model\n" * 50, ["onnx"]),
        "empty": (b"", []),
        "truncated": (whole[: len(whole) // 2], []),
        "truncated_bundled": (BUNDLED_MODEL.read_bytes()[:200_000], []),
        # What was found, and what would be understood.
        "wronghead": (wrong_head(folder / "wh.onnx").read_bytes(), ["output0", "yolo"]),
    }
    for name, (data, _) in files.items():
        (folder / f"{name}.onnx").write_bytes(data)
    return {name: words for name, (_, words) in files.items()}


def test_a_file_that_is_no_model_is_refused_with_a_reason(tmp_path, engine):
    image = tmp_path / "frame.png"
    cv2.imwrite(str(image), discs(64, 64))
    for name, words in bad_models(tmp_path).items():
        model = tmp_path / f"{name}.onnx"
        done = run("segment", image, "--model", model, "--out", tmp_path / "out", expect=None, timeout=60, **engine)
        assert done.returncode > 0, f"{name}: {done.returncode}"
        assert "panicked" not in said(done), name
        for word in [f"{name}.onnx", *words]:
            assert word in said(done), f"{name}: {said(done)}"


def test_a_model_that_does_not_match_its_manifest_is_refused(tmp_path):
    model = tmp_path / BUNDLED_MODEL.name
    shutil.copy(BUNDLED_MODEL.with_suffix(".toml"), model.with_suffix(".toml"))
    shutil.copy(BUNDLED_MODEL, model)
    image = tmp_path / "frame.png"
    cv2.imwrite(str(image), discs(64, 64))
    run("segment", image, "--model", model, "--out", tmp_path / "out")
    tiny(model)
    done = run("segment", image, "--model", model, "--out", tmp_path / "out", expect=None)
    assert done.returncode > 0 and "sha256" in said(done)


def test_an_unreachable_server_is_an_error_and_not_a_wait(tmp_path):
    [file] = demo_file_copies(tmp_path, 1)
    done = run("segment", file, "--server", "http://127.0.0.1:1", "--out", tmp_path / "out", expect=None, timeout=60)
    assert done.returncode > 0 and "127.0.0.1:1" in said(done)
