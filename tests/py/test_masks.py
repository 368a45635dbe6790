"""Masks in all their forms against the libraries that people read them with."""

import json
import subprocess

import cv2
import numpy as np
import pytest
from client import Session, corners, fill_rings, labels, pixels, raw
from contract import pb
from daemon import STAGES, run
from frames import demo_files, demo_frame
from pycocotools import mask as coco
from shapely.geometry import MultiPolygon, Polygon
from skimage.measure import label as connected


def random_labels(seed: int) -> np.ndarray:
    """Label images with holes, pieces, single pixels, diagonals and pixels on every edge."""
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 90, 2)
    coarse = random.integers(0, 4, (height // 3 + 1, width // 3 + 1))
    image = np.kron(coarse, np.ones((3, 3), int))[:height, :width]
    speckle = random.random(image.shape) < 0.1
    return np.where(speckle, random.integers(0, 4, image.shape), image).astype(np.uint16)


LABEL_IMAGES = [random_labels(seed) for seed in range(20)] + [
    np.ones((1, 1), np.uint16),
    np.ones((40, 70), np.uint16),
    np.eye(33, dtype=np.uint16),
    np.zeros((5, 7), np.uint16),
    (np.indices((32, 64)).sum(axis=0) % 2).astype(np.uint16),
]


def stage(name: str, folder, image: np.ndarray) -> dict[int, dict]:
    path = folder / "labels.png"
    cv2.imwrite(str(path), image)
    done = subprocess.run([STAGES, name, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    masks = {each["label"]: each["mask"] for each in json.loads(done.stdout)}
    assert set(masks) == set(np.unique(image)) - {0}
    return masks


def polygons(rings: list[tuple[np.ndarray, bool]]) -> MultiPolygon:
    """Outer rings, each followed by its holes; corners [n, 2]."""
    shapes: list[tuple[np.ndarray, list]] = []
    for ring, hole in rings:
        if hole:
            shapes[-1][1].append(ring)
        else:
            shapes.append((ring, []))
    return MultiPolygon([Polygon(outer, holes) for outer, holes in shapes])


def check_rings(rings: list[tuple[np.ndarray, bool]], mask: np.ndarray):
    shape = polygons(rings)
    assert shape.is_valid
    assert shape.area == np.count_nonzero(mask)
    assert np.array_equal(fill_rings([ring for ring, _ in rings], mask.shape[1], mask.shape[0]), mask)
    for ring, hole in rings:
        x, y = ring.T
        twice_area = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)
        assert (twice_area < 0) == hole, "outer rings are clockwise on screen, holes the other way"
        along_x = np.diff(ring, axis=0, append=ring[:1])[:, 0] != 0
        assert not (along_x == np.roll(along_x, 1)).any(), "corners only: directions take turns"


@pytest.mark.parametrize("image", LABEL_IMAGES, ids=range(len(LABEL_IMAGES)))
def test_run_lengths_are_pycocotools_own(tmp_path, image):
    for value, form in stage("rle", tmp_path, image).items():
        mask = image == value
        theirs = coco.encode(np.asfortranarray(mask, np.uint8))
        assert form["counts"].encode() == theirs["counts"]
        assert np.array_equal(coco.decode({"size": list(mask.shape), "counts": form["counts"]}), mask)


@pytest.mark.parametrize("image", LABEL_IMAGES, ids=range(len(LABEL_IMAGES)))
def test_a_label_image_comes_back_from_its_rings(tmp_path, image):
    back = np.zeros_like(image)
    for value, form in stage("rings", tmp_path, image).items():
        rings = [(np.array(ring["corners"]), ring["hole"]) for ring in form["rings"]]
        check_rings(rings, image == value)
        back[fill_rings([ring for ring, _ in rings], image.shape[1], image.shape[0])] = value
    assert np.array_equal(back, image)


def test_rings_of_a_stream_are_valid_polygons_of_the_cells(daemon):
    frame = demo_frame()
    outputs = pb.Outputs(masks=pb.MASK_ENCODING_RINGS, label_image=True)
    with Session(daemon, outputs=outputs) as session:
        segmentation = session.segment(raw(frame)).segmentation
    assert len(segmentation.instances) > 10
    image = labels(segmentation)
    for instance in segmentation.instances:
        rings = [(corners(ring), ring.hole) for ring in instance.rings.rings]
        check_rings(rings, image == instance.label)
        assert sum(not hole for _, hole in rings) == 1, "a cell is in one piece"


def test_every_label_is_one_piece_and_holes_are_kept(daemon):
    with Session(daemon, outputs=pb.Outputs(label_image=True)) as session:
        segmentation = session.segment(raw(demo_frame())).segmentation
    image = labels(segmentation)
    for instance in segmentation.instances:
        _, pieces = connected(image == instance.label, connectivity=1, return_num=True)
        assert pieces == 1, f"label {instance.label} has {pieces} pieces"


def test_the_files_of_one_frame_tell_one_truth(tmp_path):
    file = demo_files()[0]
    run("segment", file, "--out", tmp_path, "--labels", "--json", "--csv")
    image = cv2.imread(str(tmp_path / f"{file.stem}.labels.png"), cv2.IMREAD_UNCHANGED)
    results = json.loads((tmp_path / f"{file.stem}.json").read_text())
    assert image.dtype == np.uint16 and image.shape == demo_frame().shape
    assert image.max() == len(results) > 10
    for index, result in enumerate(results, start=1):
        # Both ways: their decoder reads ours, their encoder writes the same bytes from uncompressed runs.
        mask = coco.decode(result["segmentation"]).astype(bool)
        assert np.array_equal(mask, image == index)
        height, width = result["segmentation"]["size"]
        flat = mask.ravel(order="F").astype(np.int8)
        edges = np.flatnonzero(np.diff(flat, prepend=0))
        runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
        theirs = coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)
        assert theirs["counts"].decode() == result["segmentation"]["counts"]
        assert result["area"] == np.count_nonzero(mask)
        assert result["bbox"] == list(coco.toBbox(theirs))
        assert set(result) >= {"image_id", "category_id", "category", "score"}
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)


def test_a_label_image_is_the_same_however_it_is_compressed(daemon):
    frame = demo_frame()
    images = []
    for compression in (pb.COMPRESSION_UNSPECIFIED, pb.COMPRESSION_NONE, pb.COMPRESSION_ZLIB, pb.COMPRESSION_LZ4):
        outputs = pb.Outputs(masks=pb.MASK_ENCODING_NONE, label_image=True, label_compression=compression)
        with Session(daemon, outputs=outputs) as session:
            segmentation = session.segment(raw(frame)).segmentation
        # 1024x1022 of 16 bits is over 1 MiB: compressed by default.
        assert segmentation.label_image.compression == (compression or pb.COMPRESSION_ZLIB)
        images.append(labels(segmentation))
    assert images[0].max() > 0
    assert all(np.array_equal(image, images[0]) for image in images)


def test_every_encoding_is_of_the_same_pixels(daemon):
    frame = demo_frame()[200:840, 100:740]
    replies = {}
    with Session(daemon, outputs=pb.Outputs(label_image=True)) as session:
        for encoding in (
            pb.MASK_ENCODING_COCO_RLE,
            pb.MASK_ENCODING_BITS,
            pb.MASK_ENCODING_RINGS,
            pb.MASK_ENCODING_NONE,
        ):
            session.send(update=pb.SessionUpdate(outputs=pb.Outputs(masks=encoding)))
            assert session.receive("changed").settled.outputs.masks == encoding
            replies[encoding] = session.segment(raw(frame, id=encoding)).segmentation
    none = replies.pop(pb.MASK_ENCODING_NONE)
    assert none.instances and all(i.WhichOneof("mask") is None for i in none.instances)
    height, width = frame.shape
    for encoding, segmentation in replies.items():
        image = labels(segmentation)
        assert image.shape == frame.shape
        assert len(segmentation.instances) == segmentation.summary.count == len(none.instances)
        for instance, bare in zip(segmentation.instances, none.instances):
            mask = pixels(instance, width, height)
            assert np.array_equal(mask, image == instance.label), pb.MaskEncoding.Name(encoding)
            y, x = np.nonzero(mask)
            box = instance.box
            assert (box.x0, box.y0, box.x1, box.y1) == (x.min(), y.min(), x.max() + 1, y.max() + 1)
            at_edge = mask[[0, -1]].any() or mask[:, [0, -1]].any()
            assert instance.touches_border == at_edge
            assert (instance.label, instance.score, instance.box) == (bare.label, bare.score, bare.box)
        assert segmentation.summary.confluence == pytest.approx(np.count_nonzero(image) / image.size)


def test_raw_masks_hold_the_settled_ones(daemon):
    frame = demo_frame()
    height, width = frame.shape
    with Session(daemon, outputs=pb.Outputs(raw_masks=True)) as session:
        decoded = session.segment(raw(frame)).segmentation
        session.send(update=pb.SessionUpdate(outputs=pb.Outputs(raw_masks=False)))
        session.receive("changed")
        settled = session.segment(raw(frame, id=2)).segmentation
    assert len(decoded.instances) >= len(settled.instances) > 10
    by_box = {str(i.detected_box) + str(i.score): pixels(i, width, height) for i in decoded.instances}
    covered = np.zeros(frame.shape, bool)
    for instance in settled.instances:
        mask = pixels(instance, width, height)
        assert not (mask & ~by_box[str(instance.detected_box) + str(instance.score)]).any()
        assert not (mask & covered).any(), "settled masks are disjoint"
        covered |= mask
