"""The whole path from a file to masks against the reference, with both engines and both heads."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from client import iou
from daemon import BUNDLED_MODEL, run
from frames import demo_frame, discs
from pycocotools import mask as coco
from reference import Reference, percentile_window

CONFIDENCE, IOU = 0.35, 0.6
# A score this near to the threshold may fall on either side.
SCORE_TOLERANCE = 1e-3


def crops() -> dict[str, np.ndarray]:
    """Demo frames whole and in parts: wide, tall, small enough to be scaled up, and in 8 bits."""
    frame = demo_frame()
    small = frame[300:556, 200:520]
    return {
        "first": frame,
        "last": demo_frame(-1),
        "wide": frame[100:300, :],
        "tall": frame[:, 411:644],
        "small": small,
        "mono8": (small >> 8).astype(np.uint8),
        "rgb8": np.dstack([(small >> 8).astype(np.uint8)] * 3),
    }


def segment(folder: Path, images: dict[str, np.ndarray], *options, **environment) -> dict[str, list[dict]]:
    """`cellsegd segment --json --raw-masks` on `images`: each one's COCO results."""
    files = []
    for name, image in images.items():
        files.append(folder / f"{name}.png")
        cv2.imwrite(str(files[-1]), image)
    out = folder / "out"
    run("segment", *files, "--out", out, "--json", "--raw-masks", *options, **environment)
    return {name: json.loads((out / f"{name}.json").read_text()) for name in images}


def decoded(result: dict) -> np.ndarray:
    return coco.decode(result["segmentation"]).astype(bool)


def same_instances(ours: list[dict], theirs, least_iou: float, confidence: float):
    """One to one: every instance has a partner of its class, with its score and its pixels."""
    sure = [i for i in theirs if i["score"] > confidence + SCORE_TOLERANCE]
    masks = [decoded(i) for i in ours]
    assert len(sure) <= len(ours) <= len(theirs) + len([i for i in ours if i["score"] < confidence + SCORE_TOLERANCE])
    free = set(range(len(ours)))
    for their in sure:
        near = [i for i in free if abs(ours[i]["score"] - their["score"]) <= SCORE_TOLERANCE]
        assert near, f"nobody has score {their['score']}"
        best = max(near, key=lambda i: iou(masks[i], their["mask"]))
        assert iou(masks[best], their["mask"]) >= least_iou, f"score {their['score']}"
        assert ours[best]["category"] == their["category"]
        free.remove(best)


def as_results(instances, classes: list[str]) -> list[dict]:
    return [{"score": i.score, "mask": i.mask, "category": classes[i.class_index]} for i in instances]


def test_the_bundled_model_gives_the_references_instances(tmp_path, engine):
    images = crops()
    ours = segment(
        tmp_path, images,
        "--confidence", CONFIDENCE, "--iou", IOU, "--class-agnostic", "--normalization", "percentile:0.5,99.5",
        **engine,
    )  # fmt: skip
    reference = Reference(BUNDLED_MODEL)
    for name, image in images.items():
        theirs = reference.segment(image, percentile_window(image), CONFIDENCE, IOU, agnostic=True)
        assert theirs or image.shape[0] < 512, f"{name}: a test without cells proves nothing"
        same_instances(ours[name], as_results(theirs, ["cell", "nucleus"]), 0.99, CONFIDENCE)


@pytest.mark.parametrize("head", ["tiny_model", "tiny_end_to_end"])
@pytest.mark.parametrize("agnostic", [True, False], ids=["agnostic", "by class"])
def test_both_heads_give_the_references_instances(tmp_path, engine, request, head, agnostic):
    model = request.getfixturevalue(head)
    images = {f"{w}x{h}": discs(w, h, seed=w) for w, h in [(64, 64), (160, 120), (100, 150), (1000, 60), (33, 47)]}
    options = ["--model", model, "--confidence", 0.3, "--iou", 0.3, "--normalization", "full"]
    ours = segment(tmp_path, images, *options, *(["--class-agnostic"] if agnostic else []), **engine)
    reference = Reference(model, end_to_end=head == "tiny_end_to_end")
    found = 0
    for name, image in images.items():
        theirs = reference.segment(image, (0, 255), 0.3, 0.3, agnostic)
        same_instances(ours[name], as_results(theirs, ["cell", "nucleus"]), 0.99, 0.3)
        found += len(theirs)
    assert found > 10, "a test without cells proves nothing"


def test_both_engines_give_the_same_cells(tmp_path, onnxruntime_library):
    images = crops()
    results = {}
    for kind in ("rten", "onnxruntime"):
        (tmp_path / kind).mkdir()
        results[kind] = segment(tmp_path / kind, images, CELLSEGD_ENGINE__KIND=kind, ORT_DYLIB_PATH=onnxruntime_library)
    for name in images:
        theirs = [i | {"mask": decoded(i)} for i in results["onnxruntime"][name]]
        same_instances(results["rten"][name], theirs, 0.999, CONFIDENCE)


def test_at_most_max_cells_are_kept_and_they_are_the_best(tmp_path):
    image = {"frame": demo_frame()}
    (tmp_path / "all").mkdir(), (tmp_path / "few").mkdir()
    everything = segment(tmp_path / "all", image)["frame"]
    few = segment(tmp_path / "few", image, "--max-cells", 5)["frame"]
    assert len(everything) > 5
    assert [i["score"] for i in few] == [i["score"] for i in everything[:5]]
