"""tools/train as far as it needs no PyTorch: data, crops, folds, calibration, manifests. The rest: tools/train/tests."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import cv2
import models
import numpy as np
import onnx
import onnxruntime
import pytest
import reference
from contract import ROOT
from daemon import BIN, BUNDLED_MODEL, run
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(ROOT / "tools/train"))

from cellnet import accuracy, augment, contract, crops, folds, frames, gather, half, manifest, pack, quantize, straight, tiles, trials  # noqa: E402


def field(seed: int = 0, side: int = 320, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs on a darker ground, 16 bit, and their labels."""
    rng = np.random.default_rng(seed)
    image = rng.normal(2000, 60, (side, side)).astype(np.float32)
    labels = np.zeros((side, side), np.uint16)
    for label in range(1, n + 1):
        x, y = rng.integers(0, side, 2).tolist()
        cv2.circle(labels, (x, y), int(rng.integers(6, 15)), label, -1)
    image[labels > 0] += 3000
    return image.astype(np.uint16), labels


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A few fields and nuclei, laid out as the real ones."""
    folder = tmp_path_factory.mktemp("data")
    fields = [("usiigaci_t98g", "train", f"set{number:02}") for number in (7, 8, 10, 30, 31, 33, 40)]
    nuclei = [("dsb2018_fluo", "train", name) for name in ("0a", "0b", "0c")]
    for seed, (source, part, name) in enumerate([*fields, *nuclei, ("usiigaci_t98g", "val", "set03")]):
        for kind, pixels in zip(("images", "masks"), field(seed), strict=True):
            path = folder / source / part / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)
    return folder


@pytest.fixture(scope="module")
def packed(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "data.zip"
    assert len(pack.pack(data, out)) == 10
    return out


@pytest.fixture(scope="module")
def samples(packed) -> list[pack.Sample]:
    return pack.load(packed)


def test_tiles_of_one_field_are_known_by_their_borders():
    whole = cv2.GaussianBlur(field(1, side=256)[0].astype(np.float32), (0, 0), 2)
    images = {f"a{x}{y}": whole[y * 128 : (y + 1) * 128, x * 128 : (x + 1) * 128] for x in (0, 1) for y in (0, 1)}
    images |= {f"b{seed}": field(seed, side=128)[0] for seed in (2, 3)}
    images |= {"dark1": np.zeros((128, 128), np.uint8), "dark2": np.zeros((128, 128), np.uint8), "small": whole[:64, 128:192]}
    found = tiles.fields_of(images)
    assert {name: its for name, its in found.items() if its != name} == {"a01": "a00", "a10": "a00", "a11": "a00"}


def test_what_is_packed_comes_back(data, samples):
    assert len(samples) == 10
    for sample in samples:
        entry = sample.entry
        original, labels = (
            cv2.imread(str(data / entry.source / "train" / kind / f"{entry.name}.png"), cv2.IMREAD_UNCHANGED)
            for kind in ("images", "masks")
        )
        assert (sample.labels == pack.without_strays(labels)).all() and sample.areas.sum() == labels.size
        # What the daemon would make of the frame, up to 8 bits.
        low, high = reference.percentile_window(original)
        shown = np.clip((original - low) / (high - low), 0, 1)
        ours = np.clip((sample.image / pack.MOST - entry.low) / (entry.high - entry.low), 0, 1)
        assert abs(shown - ours).max() < 2 / 255
        assert entry.class_index == contract.CLASSES.index("cell" if entry.source == "usiigaci_t98g" else "nucleus")


def test_an_image_and_labels_of_different_sizes_are_refused(tmp_path):
    for kind, side in (("images", 8), ("masks", 9)):
        path = tmp_path / "dsb2018_fluo/train" / kind / "x.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.zeros((side, side), np.uint8))
    with pytest.raises(ValueError, match=r"\(8, 8\).*\(9, 9\)"):
        pack.pack(tmp_path, tmp_path / "data.zip")
    with pytest.raises(FileNotFoundError, match="no images"):
        pack.pack(tmp_path / "nothing", tmp_path / "data.zip")
    assert not (tmp_path / "data.zip").exists(), "whole or not at all"


def test_data_is_laid_out_from_its_sources(tmp_path):
    image, labels = field(4)
    usiigaci, dsb, nucleus = tmp_path / "usiigaci", tmp_path / "dsb", tmp_path / "dsb/stage1_train/0a1b2c3d4e5f6789"
    folder = usiigaci / "Mask R-CNN/train/set07"
    for path in (folder, nucleus / "images", nucleus / "masks"):
        path.mkdir(parents=True)
    cv2.imwrite(str(folder / "raw.tif"), image)
    cv2.imwrite(str(folder / "instances_ids.png"), labels)
    eight = cv2.cvtColor((image >> 8).astype(np.uint8), cv2.COLOR_GRAY2BGRA)
    cv2.imwrite(str(nucleus / "images" / f"{nucleus.name}.png"), eight)
    for label in (1, 2):
        cv2.imwrite(str(nucleus / "masks" / f"{label}.png"), np.where(labels == label, 255, 0).astype(np.uint8))
    parts = {"usiigaci_t98g": {"train": ["set07"]}, "dsb2018_fluo": {"val": ["0a1b2c3d4e5f"]}}
    assert gather.gather(usiigaci, dsb, tmp_path / "out", parts) == 2
    written = {
        path.relative_to(tmp_path / "out").as_posix(): cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        for path in (tmp_path / "out").rglob("*.png")
    }
    assert (written["usiigaci_t98g/train/images/set07.png"] == image).all()
    assert (written["usiigaci_t98g/train/masks/set07.png"] == labels).all()
    assert (written["dsb2018_fluo/val/images/0a1b2c3d4e5f.png"] == image >> 8).all()
    assert (written["dsb2018_fluo/val/masks/0a1b2c3d4e5f.png"] == np.where(labels < 3, labels, 0)).all()
    parts["dsb2018_fluo"]["val"] = ["ffff"]
    with pytest.raises(FileNotFoundError, match="ffff"):
        gather.gather(usiigaci, dsb, tmp_path / "out", parts)


def test_no_image_is_trained_on_and_judged_by():
    for source, names in gather.parts().items():
        assert not set(names["train"]) & set(names["val"]), source
        groups = {part: {pack.group_of(name) for name in names[part]} for part in names}
        assert not groups["train"] & groups["val"], source
    counts = {source: [len(names[part]) for part in ("train", "val")] for source, names in gather.parts().items()}
    assert counts == {"usiigaci_t98g": [36, 4], "dsb2018_fluo": [438, 30]}


def test_fields_that_overlap_are_never_on_both_sides(samples):
    for pair in pack.OVERLAPPING:
        assert len({pack.group_of(f"set{number:02}") for number in pair}) == 1, pair
    assert pack.group_of("set30") == pack.group_of("set33") and pack.group_of("set40") == "set40"
    seen = []
    for k in range(3):
        kept, left_out = folds.split(samples, f"{k}/3")
        assert not {s.entry.group for s in kept} & {s.entry.group for s in left_out}
        assert {s.entry.source for s in left_out} == {"usiigaci_t98g", "dsb2018_fluo"}
        seen += [s.entry.name for s in left_out]
    assert sorted(seen) == sorted(s.entry.name for s in samples)
    for fold in ("3/3", "1", "x", "-1/3", "0/1"):
        with pytest.raises(ValueError, match=f"fold {fold}: wanted k/n"):
            folds.split(samples, fold)


def test_overlaps_and_tiles_make_one_group():
    whole = cv2.GaussianBlur(field(1, side=256)[0].astype(np.float32), (0, 0), 2)
    images = {"set05": whole[:, :128], "set09": whole[:, 128:], "set10": field(2, side=128)[0], "set40": field(3, side=128)[0]}
    groups = pack.groups_of(images)
    assert len({groups[name] for name in ("set05", "set09", "set10")}) == 1 and groups["set40"] == "set40"


def test_a_fold_is_laid_out_for_eval(data, samples, tmp_path):
    _, left_out = folds.split(samples, "0/3")
    folds.place(data, tmp_path, left_out)
    images = sorted(tmp_path.glob("*/images/*.png"))
    assert len(images) == len(left_out)
    assert all((path.parents[1] / "masks" / path.name).is_file() and path.is_file() for path in images)


def test_a_crop_is_the_same_each_time(samples):
    one, other, another = (crops.Crops(samples, crops.Mix(side=96, seed=seed)) for seed in (1, 1, 2))
    for i in (0, 5, 123_456):
        assert all((getattr(one[i], name) == getattr(other[i], name)).all() for name in ("image", "boxes", "coverage"))
    assert any(one[i].image.shape != another[i].image.shape or (one[i].image != another[i].image).any() for i in range(3))


def test_crops_hold_what_their_masks_say(samples):
    made = crops.Crops(samples, crops.Mix(side=160, nothing=0.2))
    n_empty = n_cells = 0
    for i in range(60):
        crop = made[i]
        assert crop.image.shape == (160, 160) and crop.image.dtype == np.float32
        assert 0 <= crop.image.min() and crop.image.max() <= 1
        assert len(crop.boxes) == len(crop.classes) == len(crop.coverage)
        n_empty += not len(crop.boxes)
        for box, coverage in zip(crop.boxes, crop.coverage, strict=True):
            n_cells += 1
            assert 0 <= box[0] < box[2] <= 160 and 0 <= box[1] < box[3] <= 160
            ys, xs = np.nonzero(coverage)
            assert (xs.min(), ys.min()) == (box[0] // 4, box[1] // 4)
            assert (xs.max(), ys.max()) == ((box[2] - 1) // 4, (box[3] - 1) // 4)
            assert coverage.max() <= 16 and coverage.sum() >= crops.MIN_AREA
    assert n_empty > 6 and n_cells > 100


def test_image_and_labels_stay_together_under_every_view():
    _, labels = field()
    image = np.where(labels > 0, pack.MOST, 0).astype(np.uint8)
    rng = np.random.default_rng(3)
    for _ in range(20):
        place = augment.view(image.shape, 2 ** rng.uniform(-0.5, 1.0), 96, rng)
        shown, inside = place.image(image)
        seen = place.labels(labels)
        assert not seen[~inside].any()
        # Where labels are, the image is bright, but for the blur of half a pixel along outlines.
        differs = (shown > 0.5) != (seen > 0)
        assert differs[inside].mean() < 0.05


def test_pieces_of_a_label_image():
    labels = np.zeros((16, 16), np.uint16)
    labels[2:5, 3:9] = 7
    labels[10, 12] = 7
    labels[15, 0] = 900
    assert pack.pieces(labels) == [(7, (3, 2, 13, 11), 19), (900, (0, 15, 1, 16), 1)]
    assert pack.pieces(np.zeros((4, 4), np.uint16)) == []


def test_slips_of_the_pen_are_no_part_of_a_cell():
    labels = np.zeros((40, 40), np.uint16)
    labels[2:12, 2:12] = 3
    labels[30, 30:34] = 3
    labels[20:30, 2:12] = 4
    labels[20:30, 20:22] = 4
    cleaned = pack.without_strays(labels)
    assert pack.pieces(cleaned) == [(3, (2, 2, 12, 12), 100), (4, (2, 20, 22, 30), 120)]
    assert labels[30, 30] == 3, "what was given stays"


def test_five_of_eight_crops_show_cells(samples):
    made = crops.Crops(samples, crops.Mix(side=160, nothing=0.0))
    for i in range(16):
        assert set(made[i].classes) <= {0 if i % 8 < 5 else 1}


def test_an_empty_part_has_the_grain_of_its_scale(samples):
    rng = np.random.default_rng(0)
    stripes = np.tile(np.array([0, 0, 0, 0, 250, 250, 250, 250], np.uint8), (320, 40))
    sample = pack.Sample(samples[0].entry, stripes, np.zeros(stripes.shape, np.uint16), np.array([1]))
    for input, width in ((320, 4), (640, 8)):
        part = augment.empty_part(sample, crops.Mix(side=96, input=input, near=1.0), rng)
        assert part.shape == (96, 96)
        n_edges = (np.diff((part[48] > 0.5).astype(int)) != 0).sum()
        assert 96 / width / 1.4 < n_edges < 96 / width * 1.4, input


def test_what_an_edge_leaves_over_is_neither_cell_nor_background():
    _, labels = field()
    sample = pack.Sample(pack.Entry("a", "b", 1, 0, 1, "a"), labels, labels, np.array([0, 400, 400]))
    cut = np.zeros((32, 32), np.uint16)
    cut[4:14, 0:3] = 1
    cut[4:24, 8:28] = 2
    crop = crops.crop_of(cut.astype(np.float32), cut, sample)
    assert crop.boxes.tolist() == [[8, 4, 28, 24]] and crop.classes.tolist() == [1]
    assert crop.coverage.shape == (1, 8, 8) and crop.coverage.sum() == 400
    assert crop.ignored.sum() == 3 and crop.ignored[1:4, 0].all()


def test_frames_for_calibration_are_what_the_daemon_shows():
    for shape in ((200, 200), (120, 300), (301, 77)):
        frame = cv2.resize(field(1)[0], shape[::-1])
        expected = reference.Letterbox(shape, 160).apply(frame, *reference.percentile_window(frame))
        assert abs(frames.network_input(frame, 160)[0] - expected).max() < 1e-5
    flat = np.full((50, 50), 900, np.uint16)
    flat[0, 0] = 905
    assert abs(frames.network_input(flat, 64) - 0.5).max() < 1e-3


def small_network(path: Path) -> Path:
    """Two convolutions with a ReLU between them, one after it."""
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.normal(0, 0.3, shape).astype(np.float32) for i, shape in enumerate([(8, 3, 3, 3), (4, 8, 1, 1)])}
    nodes = [
        helper.make_node("Conv", ["images", "w0"], ["a"], "first", kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w1"], ["c"], "last", kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["c"], ["output0"], "sigmoid"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4, 64, 64])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"names": "{0: 'cell'}"})
    onnx.save(model, str(path))
    return path


def test_an_eight_bit_version_answers_nearly_the_same(data, tmp_path):
    model, out = small_network(tmp_path / "small.onnx"), tmp_path / "small_int8.onnx"
    paths = frames.frames_of(data / "usiigaci_t98g/train/images")
    quantize.quantize(model, out, paths)
    quantized = onnx.load(str(out))
    assert {prop.key: prop.value for prop in quantized.metadata_props} == {"names": "{0: 'cell'}"}
    int8 = [w.name for w in quantized.graph.initializer if w.data_type == TensorProto.INT8 and len(w.dims) == 4]
    assert int8 == ["w0_quantized"], "the last convolution stays in float"
    frame = frames.network_input(frames.read(paths[0]), 64)
    exact, near = (onnxruntime.InferenceSession(str(path)).run(None, {"images": frame})[0] for path in (model, out))
    assert 0 < abs(exact - near).mean() < 0.01 and abs(exact - near).max() < 0.25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.onnx", "small_int8.onnx"]
    with pytest.raises(ValueError, match="would replace"):
        quantize.quantize(model, model, paths)


def test_weights_stored_in_half_answer_nearly_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(half, "LEAST", 100)
    path = small_network(tmp_path / "small.onnx")
    model = onnx.load(str(path))
    half.store_half(model)
    assert [weight.data_type for weight in model.graph.initializer] == [TensorProto.FLOAT16, TensorProto.FLOAT]
    image = {"images": np.random.default_rng(0).random((1, 3, 64, 64), np.float32)}
    whole, halved = (
        onnxruntime.InferenceSession(each).run(None, image)[0] for each in (path.read_bytes(), model.SerializeToString())
    )
    assert 0 < abs(whole - halved).max() < 1e-3
    model = onnx.load(str(path))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((8, 3, 3, 3), 1e5, np.float32), "w0"))
    with pytest.raises(ValueError, match="w0: 100000.0"):
        half.store_half(model)


FACTS = manifest.Facts("my cells", "3", "fp32", 0.87, 0.4, 0.55, "Trained for a test.")


AT = {"confidence": 0.4, "iou": 0.55, "class_agnostic": True}


def report(path: Path, sha256: str) -> Path:
    scores = {"at": [{"iou": 0.5, "f1": 0.91}, {"iou": 0.75, "f1": 0.46}], "mean_iou": 0.777}
    models = [{"sha256": sha256, "all": scores, "thresholds": AT}]
    path.write_text(json.dumps({"n_images": 4, "labelled": 1247, "models": models}))
    return path


def test_the_bundled_manifest_and_card_are_what_describe_writes(tmp_path):
    written, card = BUNDLED_MODEL.with_suffix(".toml").read_text(), BUNDLED_MODEL.with_suffix(".md").read_text()
    model = shutil.copy(BUNDLED_MODEL, tmp_path)
    # Figures need reports of `cellsegd eval`; the rest is said by README's command.
    training = re.search(r"^From scratch with .*$", card, re.MULTILINE)[0]
    command = ["describe", model, "--bundled", "--version", tomllib.loads(written)["version"], "--training", training]
    subprocess.run([sys.executable, ROOT / "tools/train", *command], check=True)
    made = tomllib.loads((tmp_path / "cells_640.toml").read_text())
    assert made == tomllib.loads(written) | {"metrics": "Not measured yet."}
    rest = re.sub(r"^\| (T98G|DSB).*\n", "", card, flags=re.MULTILINE).replace(f"{manifest.OF_FOLDS}\n\n", "")
    assert (tmp_path / "cells_640.md").read_text() == rest


def test_a_model_says_no_origin_that_it_does_not_have(tmp_path):
    model = models.tiny(tmp_path / "mine.onnx")
    values = tomllib.loads(manifest.manifest_text(model, FACTS, []))
    assert values["data"] == values["licence"] == manifest.NOT_SAID
    proto = onnx.load(str(model))
    helper.set_model_props(proto, {contract.BEGAN_WITH: "ab12"})
    onnx.save(proto, str(model))
    facts = replace(FACTS, origin=manifest.Origin(("our fields, in house",), "in house"))
    for text in (manifest.manifest_text(model, facts, []), manifest.card_text(model, facts, [])):
        assert "our fields, in house" in text and "sha256 ab12" in text and "cellsegd project" not in text


def test_a_manifest_is_one_the_daemon_takes(tmp_path):
    model = models.tiny(tmp_path / "mine.onnx")
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    figures = [manifest.measured("fields", report(tmp_path / "r.json", sha256), sha256, FACTS)]
    text = manifest.manifest_text(model, FACTS, figures)
    values = tomllib.loads(text)
    assert "fields, 4 images, 1,247 cells: 0.910 / 0.460 / 0.777" in values["metrics"]
    assert values["sha256"] == sha256 and values["thresholds"] == {"confidence": 0.4, "iou": 0.55, "class_agnostic": True}
    assert tomllib.loads(manifest.manifest_text(model, FACTS, []))["metrics"] == "Not measured yet."
    (tmp_path / "mine.toml").write_text(text)
    said = run("models", "--model", model).stdout
    assert "my cells" in said and "nucleus" in said
    card = manifest.card_text(model, FACTS, figures)
    assert "| fields | 4 / 1,247 | 0.910 | 0.460 | 0.777 |" in card and "64 x 64" in card and FACTS.training in card


def test_figures_of_another_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not of the model"):
        manifest.measured("fields", report(tmp_path / "r.json", "00"), "11", FACTS)


def test_figures_at_other_thresholds_are_refused(tmp_path):
    facts = replace(FACTS, confidence=0.9)
    with pytest.raises(ValueError, match=r"r.json: at confidence 0.4, the manifest is to say 0.9"):
        manifest.measured("fields", report(tmp_path / "r.json", "00"), "00", facts)
    with pytest.raises(ValueError, match="at confidence 0.4"):
        manifest.cross_validated("fields", [report(tmp_path / "r.json", "00")], facts)
    with pytest.raises(ValueError, match="no reports"):
        manifest.cross_validated("fields", [], FACTS)


def test_figures_of_folds_are_counted_together(tmp_path):
    reports = []
    for images, labelled, found, right_50, right_75, mean_iou in ((3, 30, 20, 20, 10, 0.8), (1, 10, 30, 10, 5, 0.7), (2, 5, 0, 0, 0, None)):
        at = [{"iou": 0.5, "right": right_50}, {"iou": 0.75, "right": right_75}]
        scores = {"labelled": labelled, "found": found, "at": at, "mean_iou": mean_iou}
        reports.append(tmp_path / f"{len(reports)}.json")
        reports[-1].write_text(json.dumps({"n_images": images, "models": [{"sha256": "any", "all": scores, "thresholds": AT}]}))
    line = manifest.cross_validated("fields", reports, FACTS)
    assert str(line) == "fields, cross-validated, 6 images, 45 cells: 0.632 / 0.316 / 0.767"
    model = models.tiny(tmp_path / "mine.onnx")
    own = replace(line, of_folds=False)
    metrics = tomllib.loads(manifest.manifest_text(model, FACTS, [own, line]))["metrics"]
    assert metrics.splitlines()[1:] == [str(own), manifest.OF_FOLDS, str(line)], "nobody takes other models' figures for this one's"
    assert manifest.OF_FOLDS in manifest.card_text(model, FACTS, [own, line])
    assert manifest.OF_FOLDS not in manifest.card_text(model, FACTS, [own])


def test_the_bundled_manifest_says_what_training_assumes():
    values = tomllib.loads(BUNDLED_MODEL.with_suffix(".toml").read_text())
    assert tuple(values["classes"]) == contract.CLASSES
    assert (values["normalization"]["low"], values["normalization"]["high"]) == contract.SHOWN
    assert values["normalization"]["min_span_of_full_range"] == contract.MIN_SPAN_OF_FULL_RANGE


def test_each_trial_changes_what_it_says(data, tmp_path):
    folder = data / "usiigaci_t98g/train"
    originals = {path.name: frames.read(path).astype(float) for path in frames.frames_of(folder / "images")}
    for trial in trials.TRIALS:
        made = trials.write(trial, folder / "images", folder / "masks", tmp_path)
        for name, original in originals.items():
            image, labels = (cv2.imread(str(made / kind / name), cv2.IMREAD_UNCHANGED) for kind in ("images", "masks"))
            truth = cv2.imread(str(folder / "masks" / name), cv2.IMREAD_UNCHANGED)
            assert image.dtype == np.uint16 and image.shape == labels.shape
            assert image.shape[0] == round(original.shape[0] * trial.scale)
            if trial.empty:
                assert not labels.any()
                continue
            shares = [(values > 0).mean() for values in (labels, truth)]
            assert abs(shares[0] - shares[1]) < 0.02, trial.name
            # Cells stay brighter than the ground, the more so the more contrast there is.
            apart = (image[labels > 0].mean() - image[labels == 0].mean()) / 65535
            assert 0.05 < apart < 0.1 if trial.name == "flat" else apart > 0.3, (trial.name, apart)
    plain = cv2.imread(str(tmp_path / "plain/images" / name), cv2.IMREAD_UNCHANGED)
    assert np.corrcoef(plain.ravel(), original.ravel())[0, 1] > 0.99


def test_a_mask_that_was_cut_has_a_straight_side():
    disc = cv2.circle(np.zeros((80, 80), np.uint8), (40, 40), 20, 1, -1)
    assert straight.is_straight(disc > 0) is False
    for cut in (np.s_[:32], np.s_[48:], np.s_[:, :32], np.s_[:, 48:]):
        half = disc.copy()
        half[cut] = 0
        assert straight.is_straight(half > 0) is True
    assert straight.is_straight(disc[30:] > 0) is None, "cut by the frame"
    assert straight.is_straight(cv2.circle(np.zeros((80, 80), np.uint8), (40, 40), 4, 1, -1) > 0) is None, "small"


def test_tables_hold_what_eval_says(data, tmp_path):
    """Of the bundled model on made discs; the same run by hand gives the same figures."""
    wanted = tuple(trial for trial in trials.TRIALS if trial.name in ("plain", "noise"))
    val = tmp_path / "data"
    for source in accuracy.SETS.values():
        (val / source).mkdir(parents=True)
        (val / source / "val").symlink_to(data / "usiigaci_t98g/val")
    text = accuracy.tables(BIN, val, [BUNDLED_MODEL], wanted)
    made = trials.write(wanted[0], val / "usiigaci_t98g/val/images", val / "usiigaci_t98g/val/masks", tmp_path)
    scores = json.loads(run("eval", "--images", made / "images", "--masks", made / "masks", "--json").stdout)["models"][0]["all"]
    at = {each["iou"]: each["f1"] for each in scores["at"]}
    assert text.count(f"| as recorded | {at[0.5]:.3f} / {at[0.75]:.3f} / {scores['mean_iou']:.3f} |") == 2
    assert text.count("| noise and nothing else | ") == 2
    assert text.count("Masks with a straight side: 0.0 % of those labelled, ") == 2
    twins = [tmp_path / folder / "twin.onnx" for folder in "ab"]
    for twin in twins:
        twin.parent.mkdir()
        shutil.copy(BUNDLED_MODEL, twin)
    assert "| images | twin | twin |" in accuracy.tables(BIN, val, twins, wanted[:1])
    with pytest.raises(FileNotFoundError, match="no program"):
        accuracy.tables(tmp_path / "none", val, twins, wanted)
    with pytest.raises(RuntimeError, match="no-such.onnx"):
        accuracy.tables(BIN, val, [tmp_path / "no-such.onnx"], wanted)
