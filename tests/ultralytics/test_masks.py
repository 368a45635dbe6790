"""Our raw masks against ultralytics' `retina_masks=True`, of the same ONNX files and frames, by the same thresholds."""

import numpy as np
import pytest
from compare import agreement
from conftest import EXPORTS, TRAINED
from frames import CLASSES, ROOT, exact, other
from ours import run
from theirs import CONFIDENCE, IOU, MOST


def test_names_and_sizes_come_from_the_metadata(daemon):
    models = daemon.models()
    for name in EXPORTS.keys() & daemon.served:
        assert models[name]["classes"] == CLASSES
        assert (models[name]["input_width"], models[name]["input_height"]) == (640, 640)


@pytest.mark.parametrize("name", EXPORTS)
def test_instances_and_masks_are_ultralytics_own(daemon, ultralytics, exports, name):
    if name not in daemon.served:
        pytest.skip("the embedded engine refuses it: the next test")
    # Asked anew for each engine: masks of all frames are gigabytes.
    predict = ultralytics.predictor(exports[name])
    n_found, mask_ious = 0, []
    for size, frame in exact().items():
        found = predict(frame)
        held = agreement(daemon.segment(name, frame, CONFIDENCE, IOU, MOST), found)
        n_found += len(found.classes)
        mask_ious.extend(held.mask_ious)
        assert not held.alone, f"{size}: {held.alone}"
        # Single masks beside the padding differ: its prototypes are cropped exactly here and to whole cells there.
        assert held.mask_ious.mean() >= 0.99, f"{size}: {held}"
        # Random weights make much of the last bit of their input.
        assert held.box_pixels.max() < 2, f"{size}: {held}"
    print(f"{name}: {n_found} instances; masks: mean IoU {np.mean(mask_ious):.4f}, least {min(mask_ious):.4f}")
    assert n_found >= 40, "a test without cells proves nothing"


def test_a_graph_with_its_own_suppression_is_refused_on_the_embedded_engine(tmp_path, exports):
    asked = ["--model", exports["yolo11n_nms"], "--engine", "rten", "--out", tmp_path / "out"]
    done = run("segment", ROOT / "demo/t01.png", *asked, expect=None)
    assert done.returncode != 0
    assert "NonMaxSuppression" in done.stderr and "ONNX Runtime" in done.stderr


@pytest.mark.parametrize("name", TRAINED)
def test_where_frames_are_scaled_with_a_rounding_the_same_cells_are_found(daemon, ultralytics, trained_exports, name):
    predict = ultralytics.predictor(trained_exports[name])
    n_found, mask_ious = 0, []
    for size, frame in other().items():
        found = predict(frame)
        held = agreement(daemon.segment(name, frame, CONFIDENCE, IOU, MOST), found)
        print(f"{name} {size}: {held}; alone: {held.alone}")
        n_found += len(found.classes)
        mask_ious.extend(held.mask_ious)
        assert len(held.mask_ious) >= 0.9 * max(held.n_ours, held.n_theirs), f"{size}: {held}"
    assert n_found >= 20, "a test without cells proves nothing"
    assert np.mean(mask_ious) >= 0.97
