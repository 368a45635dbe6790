"""What each way to export a model costs: cells and processor time, of a network that was trained for some minutes."""

import json
import subprocess
import sys
import time

import cv2
import pytest
from conftest import EPOCHS
from frames import ROOT, frame, labels
from ours import Daemon, run
from theirs import IOU, MOST

# Of each file: how it is exported.
WAYS = {
    "fp32": {},
    "dynamic": {"dynamic": True},
    "quantize_16": {"quantize": 16},
    "quantize_8": {"quantize": 8},
    "side_320": {"imgsz": 320},
}
# Low, for a network that is not sure of anything yet.
CONFIDENCE = 0.1
FRAMES = 5


@pytest.fixture(scope="module")
def files(ultralytics, trained):
    """One file a way, and what tools/onnx-fp16 makes of the first."""
    data = {"data": str(ultralytics.data)}
    files = {
        name: ultralytics.exported(trained, name, **options, **(data if options.get("quantize") == 8 else {}))
        for name, options in WAYS.items()
    }
    files["onnx_fp16"] = files["fp32"].with_name("onnx_fp16.onnx")
    command = [sys.executable, ROOT / "tools/onnx-fp16", files["fp32"], files["onnx_fp16"]]
    subprocess.run(command, check=True, timeout=120)
    return files


def test_cells_that_each_way_finds(tmp_path, files, onnxruntime_library):
    for part, image in (("images", frame(5)), ("masks", labels(5))):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "t05.png"), image)
    models = [option for file in files.values() for option in ("--model", file)]
    arguments = ["eval", "--images", tmp_path / "images", "--masks", tmp_path / "masks", "--confidence", CONFIDENCE, "--worst", 0]
    environment = {"CELLSEGD_ENGINE__KIND": "onnxruntime", "ORT_DYLIB_PATH": onnxruntime_library}
    out = tmp_path / "out"
    print(f"\nyolov8n-seg after {EPOCHS} epochs of 16 images:")
    print(run(*arguments, *models, "--out", out, **environment).stdout)
    report = json.loads((out / "eval.json").read_text())
    first, *others = report["models"]
    f1 = {name: model["agreement"]["at"][0]["f1"] for name, model in zip(list(files)[1:], others, strict=True)}
    assert first["all"]["found"] >= 20, "a test without cells proves nothing"
    # The same numbers; halves; and what 8 bits and another size leave is for the table to say.
    assert f1["dynamic"] > 0.99
    assert f1["onnx_fp16"] > 0.9 and f1["quantize_16"] > 0.9
    assert f1["quantize_8"] > 0.3


def test_processor_time_of_a_frame_beside_ultralytics(tmp_path, ultralytics, files, onnxruntime_library):
    predict, image = ultralytics.predictor(files["fp32"]), frame(5)
    predict(image)
    began = time.process_time()
    for _ in range(FRAMES):
        theirs = predict(image)
    theirs_s = (time.process_time() - began) / FRAMES
    environment = {"CELLSEGD_ENGINE__KIND": "onnxruntime", "ORT_DYLIB_PATH": onnxruntime_library}
    with Daemon(tmp_path / "daemon", [files["fp32"]], **environment) as daemon:
        daemon.segment("fp32", image, 0.25, IOU, MOST)
        began = daemon.cpu_s()
        for _ in range(FRAMES):
            ours = daemon.segment("fp32", image, 0.25, IOU, MOST)
        ours_s = (daemon.cpu_s() - began) / FRAMES
    print(f"\nprocessor time of a 1024x1022 frame: ours {ours_s * 1000:.0f} ms, {len(ours)} cells; ", end="")
    print(f"ultralytics' predict {theirs_s * 1000:.0f} ms, {len(theirs.classes)} cells")
    assert ours and len(theirs.classes)
