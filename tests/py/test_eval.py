"""`cellsegd eval` against pycocotools, and against the formulas of the papers on joint histograms of scikit-image."""

import hashlib
import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from daemon import BUNDLED_MODEL, run
from frames import demo_file_copies, discs
from models import tiny
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.optimize import linear_sum_assignment
from skimage.metrics import contingency_table

CLASSES = {3: "nucleus", 8: "Cell"}
RTEN = {"CELLSEGD_ENGINE__KIND": "rten"}
# Low, so that there is much to be wrong about.
CONFIDENCE = ["--confidence", 0.15]


def evaluated(*arguments) -> dict:
    """The report, and the one model's part of it."""
    return json.loads(run("eval", "--json", *arguments, **RTEN).stdout)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Two frames of cells and two of bright discs, which are nuclei to the bundled model."""
    folder = tmp_path_factory.mktemp("images")
    demo_file_copies(folder, 2)
    for seed in (1, 2):
        many = np.block([[discs(160, 120, seed * 10 + i * 3 + j, peak=200 - 30 * j) for j in range(3)] for i in range(2)])
        cv2.imwrite(str(folder / f"u{seed}.tif"), many)
    return folder


@pytest.fixture(scope="module")
def cells(tmp_path_factory, images) -> dict[str, list[dict]]:
    """What the bundled model finds, by the image's name."""
    out = tmp_path_factory.mktemp("cells")
    run("segment", *sorted(images.iterdir()), "--out", out, "--json", *CONFIDENCE, **RTEN)
    found = {path.stem: json.loads((out / f"{path.stem}.json").read_text()) for path in sorted(images.iterdir())}
    assert all(len(each) > 3 for each in found.values()), {name: len(each) for name, each in found.items()}
    return found


def disturbed(cells: list[dict], random) -> list[tuple[str, np.ndarray]]:
    """Labels that agree with the cells more or less: moved, grown, shrunk, left out, added."""
    labels = []
    for cell in cells:
        if random.random() < 0.15:
            continue
        mask = masks.decode(cell["segmentation"])
        size = int(random.integers(1, 6))
        change = random.choice(["dilate", "erode", "keep"])
        if change != "keep":
            mask = getattr(cv2, change)(mask, np.ones((size, size), np.uint8))
        mask = np.roll(mask, tuple(random.integers(-3, 4, 2)), (0, 1))
        labels.append((cell["category"], mask.astype(bool)))
    height, width = labels[0][1].shape
    for _ in range(4):
        centre = (int(random.integers(width)), int(random.integers(height)))
        mask = cv2.ellipse(np.zeros((height, width), np.uint8), centre, (17, 9), 30, 0, 360, 1, -1)
        labels.append(("cell", mask.astype(bool)))
    return labels


@pytest.fixture(scope="module")
def coco_file(tmp_path_factory, images, cells) -> Path:
    """Labels of every kind that COCO knows: polygons, run lengths as numbers and as text, crowds; ids in no order."""
    random = np.random.default_rng(5)
    ids = {name: 100 - 7 * i for i, name in enumerate(cells)}
    category = {name.lower(): i for i, name in CLASSES.items()}
    truth = {"images": [], "annotations": [], "categories": [{"id": i, "name": name} for i, name in CLASSES.items()]}
    for path in sorted(images.iterdir()):
        labels = disturbed(cells[path.stem], random)
        height, width = labels[0][1].shape
        truth["images"].append({"id": ids[path.stem], "file_name": path.name, "width": width, "height": height})
        crowd = np.zeros((height, width), bool)
        crowd[: height // 3, : width // 4] = True
        for kind, (name, mask) in enumerate([*labels, ("cell", crowd), ("nucleus", crowd)]):
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": ids[path.stem],
                    "category_id": category[name],
                    "segmentation": written(mask, kind % 3 if mask is not crowd else 1),
                    "area": int(mask.sum()),
                    "bbox": [0, 0, width, height],
                    "iscrowd": int(mask is crowd),
                }
            )
    random.shuffle(truth["images"])
    file = tmp_path_factory.mktemp("coco") / "annotations.json"
    file.write_text(json.dumps(truth))
    return file


def written(mask: np.ndarray, kind: int):
    text = masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    text["counts"] = text["counts"].decode()
    if kind == 2:
        return text
    if kind == 1:
        column = mask.ravel(order="F").astype(int)
        edges = np.flatnonzero(np.diff(column, prepend=0, append=1 - column[-1]))
        return {"size": list(mask.shape), "counts": [int(n) for n in np.diff(edges, prepend=0)]}
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    polygons = [(0.37 + outline.ravel() * 1.003).tolist() for outline in outlines if len(outline) >= 3]
    return polygons or text


def cocoeval(truth: Path, detections: Path, **only) -> tuple[float, float]:
    """mAP at 0.5 and over 0.5 to 0.95; cells of every size, however many."""
    with redirect_stdout(io.StringIO()):
        labels = COCO(str(truth))
        evaluation = COCOeval(labels, labels.loadRes(str(detections)), "segm")
        evaluation.params.maxDets = [1, 10, 100_000]
        for name, value in only.items():
            setattr(evaluation.params, name, value)
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    mean = lambda part: part[part > -1].mean() if (part > -1).any() else None  # noqa: E731
    return mean(precision[0]), mean(precision)


@pytest.fixture(scope="module")
def held_against_coco(tmp_path_factory, images, coco_file):
    out = tmp_path_factory.mktemp("out")
    report = evaluated("--images", images, "--coco", coco_file, "--out", out, *CONFIDENCE)
    return report, out / "detections-bundled.json", out / "truth.json"


def test_map_is_that_of_pycocotools(coco_file, held_against_coco):
    report, detections, _ = held_against_coco
    [model] = report["models"]
    expected = {"all": cocoeval(coco_file, detections)}
    actual = {"all": model["all"]}
    for i, name in CLASSES.items():
        expected[name] = cocoeval(coco_file, detections, catIds=[i])
        actual |= {each["name"]: each["scores"] for each in model["by_class"]}
    for image in json.loads(coco_file.read_text())["images"]:
        expected[image["file_name"]] = cocoeval(coco_file, detections, imgIds=[image["id"]])
        [own] = [each["scores"] for each in model["by_image"] if each["name"] == Path(image["file_name"]).stem]
        actual[image["file_name"]] = own
    assert len(expected) == 7
    for what, (map50, map50_95) in expected.items():
        assert actual[what]["map50"] == pytest.approx(map50, abs=1e-9), what
        assert actual[what]["map50_95"] == pytest.approx(map50_95, abs=1e-9), what
    # Something to tell apart.
    assert all(0.1 < each[1] < each[0] < 0.999 for each in list(expected.values())[:3]), expected


def test_labels_written_by_eval_are_the_labels_that_it_read(coco_file, held_against_coco):
    _, detections, truth = held_against_coco
    assert cocoeval(truth, detections) == pytest.approx(cocoeval(coco_file, detections), abs=1e-12)
    read, own = (json.loads(file.read_text())["annotations"] for file in (coco_file, truth))
    assert len(read) == len(own)
    assert sum(each["iscrowd"] for each in own) == 8


@pytest.fixture(scope="module")
def label_images(tmp_path_factory, cells) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    random = np.random.default_rng(6)
    for i, (name, found) in enumerate(cells.items()):
        labels = disturbed(found, random)
        image = np.zeros(labels[0][1].shape, np.uint16)
        for number, (_, mask) in enumerate(labels):
            # Numbers with gaps, past 8 bits.
            image[mask] = 1 + 97 * number
        cv2.imwrite(str(folder / (f"{name}.labels.tif" if i % 2 else f"{name}.png")), image)
    return folder


def labels_of(folder: Path, name: str) -> np.ndarray:
    """Numbered without gaps."""
    [file] = folder.glob(f"{name}.*")
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    return np.unique(image, return_inverse=True)[1].reshape(image.shape)


def painted(detections: list[dict], shape) -> np.ndarray:
    image = np.zeros(shape, np.int64)
    for number, cell in enumerate(detections, 1):
        mask = masks.decode(cell["segmentation"]).astype(bool)
        assert not image[mask].any(), "masks are disjoint"
        image[mask] = number
    return image


class Reference:
    """One image by the papers' formulas; background has number 0 in both images."""

    def __init__(self, truth: np.ndarray, found: np.ndarray):
        shared = contingency_table(truth, found).toarray()
        both = np.add.outer(np.bincount(truth.ravel()), np.bincount(found.ravel())) - shared
        self.shared, self.iou = shared[1:, 1:], (shared / both)[1:, 1:]
        self.truth_areas, self.found_areas = np.bincount(truth.ravel())[1:], np.bincount(found.ravel())[1:]

    def pairs(self, is_match) -> np.ndarray:
        """IoUs of the most pairs that there can be."""
        rows, columns = linear_sum_assignment(np.where(is_match(self.iou), 1 + self.iou, 0), maximize=True)
        ious = self.iou[rows, columns]
        return ious[is_match(ious)]

    def aji(self) -> float:
        """Kumar et al. 2017, algorithm 1."""
        shared = united = 0
        used = set()
        for i, area in enumerate(self.truth_areas):
            best = int(np.argmax(self.iou[i]))
            if self.shared[i, best] == 0:
                united += area
                continue
            shared += self.shared[i, best]
            united += area + self.found_areas[best] - self.shared[i, best]
            used.add(best)
        united += sum(area for j, area in enumerate(self.found_areas) if j not in used)
        return shared / united


def test_label_images_are_scored_by_the_papers_formulas(tmp_path, images, label_images):
    report = evaluated("--images", images, "--masks", label_images, "--out", tmp_path, "--match-iou", "0.6,0.5,0.8", *CONFIDENCE)
    [model] = report["models"]
    detections = json.loads((tmp_path / "detections-bundled.json").read_text())
    ids = {Path(each["file_name"]).stem: each["id"] for each in json.loads((tmp_path / "truth.json").read_text())["images"]}
    references = []
    for image in model["by_image"]:
        truth = labels_of(label_images, image["name"])
        own = [cell for cell in detections if cell["image_id"] == ids[image["name"]]]
        references.append(Reference(truth, painted(own, truth.shape)))
        assert image["scores"]["aji"] == pytest.approx(references[-1].aji(), abs=1e-12)
    n_truth = sum(len(each.truth_areas) for each in references)
    n_found = sum(len(each.found_areas) for each in references)
    scores = model["all"]
    assert (report["labelled"], scores["labelled"], scores["found"]) == (n_truth, n_truth, n_found)
    for at, iou in zip(scores["at"], [0.6, 0.5, 0.8], strict=True):
        right = sum(len(each.pairs(lambda v: v >= iou)) for each in references)  # noqa: B023
        assert (at["iou"], at["right"]) == (iou, right)
        expected = (right / n_found, right / n_truth, 2 * right / (n_found + n_truth))
        assert (at["precision"], at["recall"], at["f1"]) == pytest.approx(expected, abs=1e-12)
    at_half = np.concatenate([each.pairs(lambda v: v >= 0.5) for each in references])
    assert scores["mean_iou"] == pytest.approx(at_half.mean(), abs=1e-12)
    assert scores["aji"] == pytest.approx(np.mean([each.aji() for each in references]), abs=1e-12)
    # Kirillov et al. 2019, equations 1 and 2.
    pairs = np.concatenate([each.pairs(lambda v: v > 0.5) for each in references])
    weight = len(pairs) + (n_found - len(pairs)) / 2 + (n_truth - len(pairs)) / 2
    expected = (pairs.sum() / weight, pairs.mean(), len(pairs) / weight)
    assert (scores["pq"], scores["sq"], scores["rq"]) == pytest.approx(expected, abs=1e-12)
    assert 0.2 < scores["pq"] < 0.95, "labels are disturbed enough"
    worst = [image["name"] for image in sorted(model["by_image"], key=lambda image: image["scores"]["at"][0]["f1"])]
    assert model["worst_images"] == worst[:3]
    for rank, name in enumerate(worst[:3], 1):
        picture = cv2.imread(str(tmp_path / f"worst-bundled-{rank}-{name}.png"))
        green, magenta = ((picture == colour[::-1]).all(axis=2).any() for colour in ([40, 230, 70], [255, 60, 230]))
        assert green and magenta, name


def sweep_equals_runs(asked: list) -> dict:
    """Holds a sweep against runs at some of its confidences; the sweep."""
    [model] = evaluated(*asked, "--sweep", "--confidence", 0.4)["models"]
    swept = {round(at["confidence"], 2): at["scores"] for at in model["sweep"]["at"]}
    assert len(swept) == 19
    for confidence in (0.05, 0.4, 0.7):
        [alone] = evaluated(*asked, "--confidence", confidence)["models"]
        assert swept[confidence] == alone["all"], confidence
    assert swept[0.4] == model["all"]
    f1 = {confidence: scores["at"][0]["f1"] or 0 for confidence, scores in swept.items()}
    assert f1[round(model["sweep"]["best_confidence"], 2)] == max(f1.values())
    assert swept[0.05]["found"] > swept[0.4]["found"] > swept[0.7]["found"], "there is something to sweep over"
    return swept


def test_a_sweep_equals_runs_at_each_confidence(images, coco_file):
    sweep_equals_runs(["--images", images, "--coco", coco_file])


def test_a_sweep_over_frames_in_tiles_does_too(tmp_path):
    """The tiny model with a scale of its own, on frames that need many tiles: what lies on a seam is merged."""
    model = tiny(tmp_path / "tiny.onnx")
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    model.with_suffix(".toml").write_text(f'sha256 = "{sha256}"\ntrained_um_per_px = 4.0\n')
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for seed in range(3):
        frame = discs(400, 300, seed)
        labels = cv2.connectedComponents((frame > 100).astype(np.uint8))[1]
        cv2.imwrite(str(tmp_path / "images" / f"{seed}.png"), frame)
        cv2.imwrite(str(tmp_path / "labels" / f"{seed}.png"), labels.astype(np.uint16))
    asked = ["--images", tmp_path / "images", "--masks", tmp_path / "labels", "--model", model]
    in_tiles = sweep_equals_runs([*asked, "--pixel-size", 2])
    whole = sweep_equals_runs(asked)
    assert in_tiles[0.05]["found"] != whole[0.05]["found"], "frames were cut into tiles"


def test_models_side_by_side_are_held_against_the_first(tmp_path, images, label_images, tiny_model):
    copy = tmp_path / "copy.onnx"
    shutil.copy(BUNDLED_MODEL, copy)
    shutil.copy(BUNDLED_MODEL.with_suffix(".toml"), copy.with_suffix(".toml"))
    asked = ["--images", images, "--masks", label_images]
    models = ["--model", BUNDLED_MODEL, "--model", copy, "--model", tiny_model]
    first, same, other = evaluated(*asked, *models)["models"]
    assert "agreement" not in first
    assert same["all"] == first["all"] and same["label"] == "copy.onnx"
    agreement = same["agreement"]
    assert (agreement["labelled"], agreement["found"]) == (first["all"]["found"],) * 2
    assert (agreement["at"][0]["f1"], agreement["pq"], agreement["mean_iou"]) == (1, 1, 1)
    assert other["agreement"]["at"][0]["f1"] < 0.5
    text = run("eval", *asked, *models, "--sweep", "--per-image", **RTEN).stdout
    for word in ("copy.onnx", "agreement with", "precision@0.5", "F1@0.75", "mAP50-95", "AJI", "PQ", "best", "u1", "worst"):
        assert word in text, text


def bad_inputs(folder: Path) -> dict:
    """name: arguments, what the message names."""

    def made(name: str, **files: np.ndarray) -> Path:
        made = folder / name
        made.mkdir()
        for stem, image in files.items():
            cv2.imwrite(str(made / f"{stem}.png"), image)
        return made

    grey, labels = np.zeros((40, 50), np.uint8), np.zeros((40, 50), np.uint16)
    good = made("good", a=grey, b=grey)
    empty = made("empty")
    twice = made("twice", a=grey)
    stack = made("stack", b=labels)
    tifffile.imwrite(stack / "a.tif", np.stack([labels, labels]))
    shutil.copy(twice / "a.png", twice / "a.PNG")
    coco = folder / "c.json"
    coco.write_text(json.dumps({"images": [{"id": 1, "file_name": "z.png", "width": 50, "height": 40}], "annotations": [], "categories": []}))
    other = folder / "o.json"
    image = {"id": 1, "file_name": "a.png", "width": 50, "height": 40}
    other.write_text(json.dumps({"images": [image], "annotations": [], "categories": [{"id": 1, "name": "yeast"}]}))
    broken = folder / "broken.json"
    broken.write_text("{")
    return {
        "no labels for an image": (["--masks", made("half", a=labels)], 2, ["good/b.png", "half"]),
        "no image for labels": (["--masks", made("more", a=labels, b=labels, c=labels)], 2, ["more/c.png", "good"]),
        "no labels": (["--masks", empty], 2, ["empty", "png"]),
        "no folder": (["--masks", folder / "nowhere"], 1, ["nowhere"]),
        "one name twice": (["--masks", twice], 2, ["a.png", "a.PNG"]),
        "another size": (["--masks", made("size", a=labels.T, b=labels)], 1, ["good/a.png", "size/a.png", "50x40", "40x50"]),
        "colour labels": (["--masks", made("colour", a=np.zeros((40, 50, 3), np.uint8), b=labels)], 1, ["colour/a.png", "Rgb8"]),
        "a stack of labels": (["--masks", stack], 1, ["stack/a.tif", "2 pages"]),
        "no image of COCO's": (["--coco", coco], 2, ["z.png"]),
        "other classes": (["--coco", other], 2, ["yeast", "nucleus", "--one-class"]),
        "no JSON": (["--coco", broken], 1, ["broken.json", "COCO"]),
        "nothing to hold against": ([], 2, ["--masks"]),
        "a series": (["--coco", other, "--smoothing", "0.5"], 2, ["--smoothing"]),
        "an impossible IoU": (["--coco", other, "--match-iou", "1.5"], 2, ["1.5", "at most 1"]),
    }  # fmt: skip


def test_bad_inputs_are_named(tmp_path):
    for name, (arguments, status, words) in bad_inputs(tmp_path).items():
        done = run("eval", "--images", tmp_path / "good", *arguments, expect=status, timeout=60, **RTEN)
        for word in words:
            assert word in done.stderr, f"{name}: {done.stderr}"
        assert "panicked" not in done.stderr, name


def test_images_without_a_cell_have_no_figures(tmp_path):
    for name, dtype in {"images": np.uint8, "labels": np.uint16}.items():
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), np.zeros((40, 50), dtype))
    asked = ["--images", tmp_path / "images", "--masks", tmp_path / "labels"]
    [model] = evaluated(*asked, "--sweep", "--out", tmp_path / "out")["models"]
    assert model["all"]["found"] == 0
    assert [model["all"][name] for name in ("map50", "map50_95", "mean_iou", "aji", "pq")] == [None] * 5
    assert model["worst_images"] == [] and model["sweep"]["best_confidence"] is None
    assert " - " in run("eval", *asked, **RTEN).stdout
