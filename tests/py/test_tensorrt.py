"""Our TensorRT binding on NVIDIA's own libraries, as far as they go without a GPU: TensorRT-RTX parses and builds, others report.

tools/check puts the wheels' libraries under target/wheels (tools/common.sh); without them these tests say why they do not run.
"""

import hashlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import onnx
import onnxruntime
import numpy as np
import pytest
import shaped
from conftest import skip
from daemon import BUNDLED_MODEL, run
from frames import demo_frame

ROOT = Path(__file__).resolve().parents[2]
WHEELS = Path(os.environ.get("CELLSEGD_TEST_WHEELS", ROOT / "target" / "wheels"))


def library(folder: str) -> Path:
    found = sorted(WHEELS.glob(f"*/{folder}"))
    if not found:
        skip(f"no {folder} under {WHEELS}: tools/check fetches it from PyPI")
    return found[-1]


@pytest.fixture(scope="session")
def rtx() -> Path:
    return library("tensorrt_rtx_libs")


def build(rtx: Path, output: Path, *arguments, expect: int = 0):
    return run("engine", "build", *arguments, "--tensorrt", rtx, "-o", output, expect=expect)


def check_engine(path: Path, precision: str) -> dict:
    """An engine of TensorRT-RTX, and a manifest that is of it."""
    plan = path.read_bytes()
    assert plan[1:4] == b"trt"
    assert int.from_bytes(plan[16:24], "little") == len(plan)
    manifest = tomllib.loads(Path(f"{path}.toml").read_text())
    assert manifest["sha256"] == hashlib.sha256(plan).hexdigest()
    assert manifest["engine"]["tensorrt"].startswith("TensorRT-RTX 1.")
    assert manifest["engine"]["precision"] == precision
    assert "compute_capability" not in manifest["engine"]
    return manifest


def test_the_bundled_model_becomes_an_engine(rtx, tmp_path):
    engine = tmp_path / "pilot.engine"
    done = build(rtx, engine)
    assert "TensorRT-RTX 1." in done.stderr and "building" in done.stderr
    manifest = check_engine(engine, "fp32")
    assert manifest["name"] == "cells_640" and manifest["classes"] == ["cell", "nucleus"]
    assert manifest["engine"]["onnx_sha256"] == hashlib.sha256(BUNDLED_MODEL.read_bytes()).hexdigest()

    # With a GPU it runs here, else not.
    said = run("engine", "inspect", engine, "--tensorrt", rtx, expect=None).stdout
    for words in ("cells_640", "TensorRT-RTX 1.", "fp32", manifest["sha256"], "none: a bare plan"):
        assert words in said, words
    cut = tmp_path / "cut.engine"
    cut.write_bytes(engine.read_bytes()[:100_000])
    assert "cut off: its plan is 100000 of" in run("engine", "inspect", cut, expect=78).stderr


@pytest.mark.parametrize("version", ["v8", "v9", "11"])
@pytest.mark.parametrize("batch", [1, None])
def test_networks_of_every_layout_become_engines(rtx, tmp_path, version, batch):
    model = shaped.write(tmp_path / f"yolo{version}.onnx", version, batch=batch)
    engine = tmp_path / "e.engine"
    build(rtx, engine, model, *(["--batch", "1..4"] if batch is None else []))
    manifest = check_engine(engine, "fp32")
    assert manifest["name"] == f"yolo{version}" and manifest["classes"] == shaped.CLASSES
    assert manifest["engine"]["onnx"] == model.name


def half(source: Path, target: Path) -> Path:
    subprocess.run([sys.executable, ROOT / "tools" / "onnx-fp16", source, target], check=True)
    return target


@pytest.mark.parametrize("version", ["bundled", "v8", "v9", "11"])
def test_half_precision_comes_from_the_file(rtx, tmp_path, version):
    source = BUNDLED_MODEL if version == "bundled" else shaped.write(tmp_path / "m.onnx", version)
    refused = build(rtx, tmp_path / "e.engine", source, "--fp16", expect=2)
    assert f"tools/onnx-fp16 {source}" in refused.stderr
    model = half(source, tmp_path / "m.fp16.onnx")
    build(rtx, tmp_path / "e.engine", model, "--fp16")
    check_engine(tmp_path / "e.engine", "fp16")


def test_a_file_that_cannot_be_halved_is_named(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "cut.onnx").write_bytes(BUNDLED_MODEL.read_bytes()[:5000])
    whole = shaped.write(tmp_path / "m.onnx", "v8")
    twice = half(whole, tmp_path / "m.fp16.onnx")
    for source, target, message in (
        ("text.onnx", "out.onnx", "text.onnx: no ONNX file"),
        ("empty.onnx", "out.onnx", "empty.onnx: no ONNX file"),
        ("cut.onnx", "out.onnx", "cut.onnx: no ONNX file"),
        ("missing.onnx", "out.onnx", "missing.onnx: No such file"),
        (".", "out.onnx", "Is a directory"),
        ("m.onnx", "m.onnx", "m.onnx: would replace the file that it is made of"),
        ("m.onnx", "nowhere/out.onnx", "out.onnx: No such file"),
        (twice.name, "out.onnx", "has float16 weights already"),
    ):
        done = subprocess.run([sys.executable, ROOT / "tools/onnx-fp16", source, target], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr, (source, done.stderr)
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("version", ["bundled", "v8", "v9", "11"])
def test_a_halved_network_answers_as_the_whole_one(tmp_path, version):
    source = BUNDLED_MODEL if version == "bundled" else shaped.write(tmp_path / "m.onnx", version)
    model = half(source, tmp_path / "m.fp16.onnx")
    graph = onnx.load(model).graph
    assert {value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]} == {onnx.TensorProto.FLOAT}
    assert sum(weight.data_type == onnx.TensorProto.FLOAT16 for weight in graph.initializer) > 10
    sessions = [onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in (source, model)]
    shape = sessions[0].get_inputs()[0].shape
    frame = np.random.default_rng(1).random(shape, np.float32)
    if version == "bundled":
        counts = cv2.resize(demo_frame().astype(np.float32), shape[:1:-1])
        low, high = np.percentile(counts, (0.5, 99.5))
        frame[:] = np.clip((counts - low) / (high - low), 0, 1)
    whole, halved = (session.run(["output0", "output1"], {"images": frame}) for session in sessions)
    # A box in pixels, then scores of 0 to 1. Of the bundled model only boxes of cells count: the others say little.
    found = whole[0][0, 4:6].max(0) > 0.35 if version == "bundled" else slice(None)
    assert np.abs(whole[0][0, :4] - halved[0][0, :4])[:, found].max() < (0.1 if version == "bundled" else 0.5)
    assert np.abs(whole[0][:, 4:6] - halved[0][:, 4:6]).max() < 0.01
    assert np.abs(whole[1] - halved[1]).max() < 0.01 * np.abs(whole[1]).max()


def test_a_fixed_batch_cannot_be_changed(rtx, tmp_path):
    model = shaped.write(tmp_path / "m.onnx", "v8")
    done = build(rtx, tmp_path / "e.engine", model, "--batch", "4", expect=2)
    assert "takes exactly 1 frame at a time" in done.stderr


def test_the_onnx_file_is_never_overwritten(rtx, tmp_path):
    model = shaped.write(tmp_path / "m.onnx", "v8")
    before = model.read_bytes()
    done = build(rtx, model, model, expect=2)
    assert "would be overwritten" in done.stderr and model.read_bytes() == before


def test_what_cannot_be_parsed_is_said_in_tensorrts_words(rtx, tmp_path):
    model = onnx.load(shaped.write(tmp_path / "m.onnx", "v8"))
    model.graph.node[0].op_type = "Convolve"
    onnx.save(model, tmp_path / "m.onnx")
    done = build(rtx, tmp_path / "e.engine", tmp_path / "m.onnx", expect=78)
    assert "cannot parse the ONNX file: node 0" in done.stderr and "Convolve" in done.stderr
    assert not (tmp_path / "e.engine").exists()


@pytest.mark.parametrize("kind", ["lean", "dispatch"])
def test_runtimes_without_a_builder_are_named(kind, tmp_path):
    folder = library(f"tensorrt_{kind}_libs")
    done = build(folder, tmp_path / "e.engine", expect=78)
    assert f"TensorRT {kind} runtime 11.4.0" in done.stderr and "install the full TensorRT" in done.stderr
