"""`cellsegd export`: each format read back by the tool it is for. The runs are made by other means (runs.py)."""

import csv
import importlib
import json
import re
import struct
import zipfile

import cv2
import numpy as np
import pytest
from conftest import skip
from daemon import run
from runs import RunFolder

FORMATS = ["ctc", "geojson", "roi", "ome", "parquet", "coco", "csv", "tiff", "overlay", "plot"]


def tool(module: str):
    """Who reads the format."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        skip(f"{module} cannot be imported: {error}")


def blob(shape, y, x, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def four_cells() -> np.ndarray:
    """A ring with a hole, a disc, one pixel in a corner, and a ragged cell."""
    labels = np.zeros((120, 160), np.uint16)
    labels[blob(labels.shape, 40, 50, 20)] = 1
    labels[blob(labels.shape, 40, 50, 8)] = 0
    labels[blob(labels.shape, 80, 110, 17)] = 2
    labels[0, 0] = 3
    ragged = np.zeros(labels.shape, np.uint8)
    cv2.fillPoly(ragged, [np.array([[10, 90], [40, 80], [35, 110], [60, 115], [12, 118]])], 1)
    # The largest piece without diagonal steps only: as the daemon's cells are.
    _, pieces = cv2.connectedComponents(ragged, connectivity=4)
    labels[(pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1) & (labels == 0)] = 4
    return labels


INTENSITY = {"channel": "GFP", "mean": 100.5, "min": 1.0, "max": 200.0, "std": 3.0, "integrated": 5e6, "background": None,
             "weighted_centroid_px": [50.5, 40.5]}  # fmt: skip
MEASURES = {"centroid_px": [50.5, 40.5], "shape": None, "hull": None, "intensity": [INTENSITY], "neighbours": None}


@pytest.fixture
def stills(tmp_path):
    """Two frames that have nothing to do with one another: four cells, and none."""
    folder = RunFolder(tmp_path / "run")
    folder.segmented("a", four_cells(), {"pixel_size_um": 0.5}, classes={2: 1}, measures={1: MEASURES})
    folder.segmented("b", np.zeros((50, 60), np.uint16))
    return folder.folder


def squares(ids: list[int], shape=(64, 96)) -> tuple[np.ndarray, dict[int, dict]]:
    """A square a cell, at a place of its own."""
    labels = np.zeros(shape, np.uint16)
    tracks = {}
    for label, track in enumerate(ids, 1):
        x = 4 + 14 * (track - 1)
        labels[10 : 20 + track, x : x + 10] = label
        tracks[label] = {"id": track, "parent_id": 1 if track in (3, 4) else None}
    return labels, tracks


@pytest.fixture
def series(tmp_path):
    """Cell 2 misses a frame, a frame was dropped, and 1 divides into 3 and 4."""
    folder = RunFolder(tmp_path / "run")
    for t, ids in enumerate([[1, 2], [1], [1, 2], None, [3, 4, 2], [4, 3, 2]]):
        metadata = {"index": {"t": t}, "position": "A/1", "pixel_size_um": 2.0, "elapsed_ms": t * 1.8e6}
        if ids is None:
            folder.lost(f"t{t}", metadata=metadata)
            continue
        labels, tracks = squares(ids)
        # Counts in the frame where it is: what an overlay is drawn on.
        image = tmp_path / f"t{t}.png"
        cv2.imwrite(str(image), np.full(labels.shape, 90, np.uint8))
        folder.segmented(f"t{t}", labels, metadata, tracks, file=image)
    return folder.folder


def export(folder, name):
    run("export", folder, "--as", name)
    out = folder / name
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["cellsegd"] == "9.8.7" and provenance["model"]["sha256"] == "ab" * 32
    assert provenance["options"]["thresholds"]["iou"] == pytest.approx(0.6)
    return out


def pixels(labels, label):
    return {(int(x), int(y)) for y, x in np.argwhere(labels == label)}


def test_label_tiffs_are_ome_with_the_pixel_size(stills):
    tifffile = tool("tifffile")
    ome_types = tool("ome_types")
    out = export(stills, "tiff")
    with tifffile.TiffFile(out / "a.labels.ome.tif") as tif:
        assert tif.is_ome
        assert np.array_equal(tif.asarray(), four_cells()) and tif.asarray().dtype == np.uint16
        ome = ome_types.from_xml(tif.ome_metadata)
    assert ome.images[0].pixels.physical_size_x == 0.5
    assert ome.images[0].pixels.physical_size_x_unit.value == "µm"
    assert "ab" * 32 in ome.images[0].description
    with tifffile.TiffFile(out / "b.labels.ome.tif") as tif:
        assert tif.asarray().max() == 0
        assert "PhysicalSizeX" not in tif.ome_metadata


def test_the_coco_dataset_is_read_by_pycocotools(stills):
    coco_module = tool("pycocotools.coco")
    path = export(stills, "coco") / "coco.json"
    coco = coco_module.COCO(str(path))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["a.png", "b.png"]
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == ["cell", "nucleus"]
    labels = four_cells()
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert len(annotations) == 4 and not coco.getAnnIds(imgIds=[2])
    for annotation in annotations:
        mask = coco.annToMask(annotation)
        assert np.array_equal(mask == 1, labels == annotation["label"])
        assert annotation["area"] == mask.sum()
    assert coco.loadAnns([2])[0]["category_id"] == 2
    assert coco.dataset["info"]["cellsegd"]["model"]["sha256"] == "ab" * 32


def test_geojson_is_valid_and_covers_the_pixels(stills):
    shapely = tool("shapely")
    out = export(stills, "geojson")
    collection = json.loads((out / "a.geojson").read_text())
    assert collection["type"] == "FeatureCollection" and collection["cellsegd"]["cellsegd"] == "9.8.7"
    labels = four_cells()
    for label, feature in enumerate(collection["features"], 1):
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.is_valid and feature["geometry"]["type"] == "Polygon"
        assert shape.exterior.is_ccw, "RFC 7946"
        assert shape.area == (labels == label).sum()
        inside = {(x, y) for y in range(120) for x in range(160) if shape.covers(shapely.Point(x + 0.5, y + 0.5))}
        assert inside == pixels(labels, label)
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["measurements"]["area_um2"] == pytest.approx(shape.area * 0.25)
        assert all(isinstance(value, int | float) for value in properties["measurements"].values())
    assert len(collection["features"][0]["geometry"]["coordinates"]) == 2, "the ring has a hole"
    assert collection["features"][0]["properties"]["measurements"]["GFP_mean_counts"] == 100.5
    assert collection["features"][1]["properties"]["classification"]["name"] == "nucleus"
    assert json.loads((out / "b.geojson").read_text())["features"] == []


def test_geojson_names_tracks_and_planes_of_stacks(tmp_path):
    folder = RunFolder(tmp_path / "run")
    for page in range(2):
        labels, tracks = squares([1, 3])
        folder.segmented(f"s{page}", labels, {"index": {"t": page, "z": 4}}, tracks, file="stack.tif", page=page)
    [first, second] = json.loads((export(folder.folder, "geojson") / "s1.geojson").read_text())["features"]
    assert second["properties"]["metadata"] == {"label": "2", "track_id": "3", "parent_id": "1"}
    assert first["properties"]["name"] == "1"
    assert first["geometry"]["plane"] == {"c": -1, "z": 4, "t": 1}


def polygon_pixels(rings, shape):
    """Pixels whose centre lies inside, by the even-odd rule: matplotlib's and shapely's own, not ours."""
    shapely = tool("shapely")
    region = shapely.Polygon()
    for ring in rings:
        region = region.symmetric_difference(shapely.Polygon(ring))
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    inside = shapely.contains_xy(region, xs + 0.5, ys + 0.5)
    return {(int(x), int(y)) for y, x in np.argwhere(inside)}


def test_imagej_regions_hold_exactly_the_pixels(stills):
    roifile = tool("roifile")
    labels = four_cells()
    rois = roifile.roiread(export(stills, "roi") / "a.rois.zip")
    assert len(rois) == 4
    for label, roi in enumerate(rois, 1):
        rings = roi.coordinates(multi=True)
        assert polygon_pixels([ring for ring in rings if len(ring) > 2], labels.shape) == pixels(labels, label)
        ys, xs = np.nonzero(labels == label)
        assert (roi.left, roi.top, roi.right, roi.bottom) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert f"label: {label}\n" in roi.props and "ab" * 32 in roi.props
        assert roi.name == f"a-{label:04}"
    assert rois[0].composite and not rois[1].composite
    assert roifile.roiread(export(stills, "roi") / "b.rois.zip") == []


def test_imagej_positions_count_from_1_in_one_zip_a_series(series):
    roifile = tool("roifile")
    [path] = (export(series, "roi")).glob("*.zip")
    rois = roifile.roiread(path)
    assert [roi.t_position for roi in rois] == [1, 1, 2, 3, 3, 5, 5, 5, 6, 6, 6]
    assert {roi.z_position for roi in rois} == {0}
    assert "track_id: 3\nparent_id: 1\n" in rois[5].props
    with zipfile.ZipFile(path) as archive:
        assert b"ab" * 32 in archive.comment


def test_ome_regions_are_valid(stills):
    ome_types = tool("ome_types")
    labels = four_cells()
    text = (export(stills, "ome") / "a.ome.xml").read_text()
    ome = ome_types.from_xml(text, validate=True)
    assert len(ome.rois) == 4
    assert [ref.id for ref in ome.images[0].roi_refs] == [roi.id for roi in ome.rois]
    assert "ab" * 32 in ome.images[0].description
    for label, roi in enumerate(ome.rois, 1):
        [shape] = roi.union
        assert (shape.the_c, shape.the_z, shape.the_t) == (0, 0, 0)
        if label == 1:
            bits = np.unpackbits(np.frombuffer(shape.bin_data.value, np.uint8))[: int(shape.width * shape.height)]
            ys, xs = np.nonzero(bits.reshape(int(shape.height), int(shape.width)))
            found = {(int(shape.x) + int(x), int(shape.y) + int(y)) for x, y in zip(xs, ys, strict=True)}
        else:
            ring = [tuple(map(float, corner.split(","))) for corner in shape.points.split()]
            found = polygon_pixels([ring], labels.shape)
        assert found == pixels(labels, label)


def test_ome_planes_of_stacks_count_from_0(tmp_path):
    ome_types = tool("ome_types")
    folder = RunFolder(tmp_path / "run")
    for page in range(3):
        labels, tracks = squares([1, 2])
        folder.segmented(f"s{page}", labels, {"index": {"t": page, "c": 1}}, tracks, file="µ stack.tif", page=page)
    ome = ome_types.from_xml((export(folder.folder, "ome") / "s2.ome.xml").read_text(), validate=True)
    shape = ome.rois[0].union[0]
    assert (shape.the_c, shape.the_z, shape.the_t) == (1, 0, 2)
    assert (ome.images[0].pixels.size_c, ome.images[0].pixels.size_t) == (2, 3)


def test_csv_and_parquet_are_one_table(stills):
    parquet = tool("pyarrow.parquet")
    table = parquet.read_table(export(stills, "parquet") / "cells.parquet")
    with (export(stills, "csv") / "cells.csv").open() as text:
        rows = list(csv.DictReader(text))
    assert list(rows[0]) == table.column_names
    labels = four_cells()
    for row, exact in zip(rows, table.to_pylist(), strict=True):
        for name, value in exact.items():
            match value:
                case None:
                    assert row[name] == "", name
                case bool():
                    assert row[name] == str(value).lower()
                case float():
                    assert float(row[name]) == pytest.approx(value, rel=1e-8), name
                case _:
                    assert row[name] == str(value), name
        assert exact["area_px"] == (labels == exact["label"]).sum()
        assert exact["area_um2"] == exact["area_px"] * 0.25
        if exact["label"] != 1:
            ys, xs = np.nonzero(labels == exact["label"])
            assert exact["centroid_x_px"] == pytest.approx(xs.mean() + 0.5)
            assert exact["centroid_y_px"] == pytest.approx(ys.mean() + 0.5)
    assert table.to_pylist()[0]["GFP_mean_counts"] == 100.5
    assert json.loads(table.schema.metadata[b"cellsegd"])["model"]["sha256"] == "ab" * 32


def test_micrometres_are_empty_without_a_pixel_size(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.segmented("a", four_cells())
    with (export(folder.folder, "csv") / "cells.csv").open() as text:
        for row in csv.DictReader(text):
            assert {row[name] for name in row if re.search("_um2?$", name)} == {""}
            assert row["area_px"] != ""


def test_tracks_have_a_table(series):
    parquet = tool("pyarrow.parquet")
    tracks = {row["track_id"]: row for row in parquet.read_table(export(series, "parquet") / "tracks.parquet").to_pylist()}
    assert sorted(tracks) == [1, 2, 3, 4]
    assert (tracks[1]["daughters"], tracks[1]["first_frame"], tracks[1]["last_frame"]) == (2, 0, 2)
    assert (tracks[3]["parent_id"], tracks[3]["lineage"], tracks[3]["generation"]) == (1, "1/3", 1)
    assert (tracks[2]["frames_seen"], tracks[2]["frames_missing"], tracks[2]["duration_h"]) == (4, 2, 2.5)


def test_the_ctc_layout_is_valid_and_true(series):
    tifffile = tool("tifffile")
    validate = tool("ctc_metrics.scripts.validate")
    out = export(series, "ctc") / "01_RES"
    assert sorted(path.name for path in out.iterdir()) == [*(f"mask{t:03}.tif" for t in range(6)), "res_track.txt"]
    assert bool(validate.validate_sequence(str(out))["Valid"])
    tracks = {int(label): tuple(map(int, rest)) for label, *rest in map(str.split, (out / "res_track.txt").read_text().splitlines())}
    # 2 misses frame 1, and nobody was seen in the dropped frame 3.
    assert tracks == {1: (0, 2, 0), 2: (0, 0, 0), 3: (4, 5, 1), 4: (4, 5, 1), 5: (2, 2, 2), 6: (4, 5, 5)}
    masks = [tifffile.imread(out / f"mask{t:03}.tif") for t in range(6)]
    assert all(mask.dtype == np.uint16 for mask in masks)
    assert [sorted(set(np.unique(mask)) - {0}) for mask in masks] == [[1, 2], [1], [1, 5], [], [3, 4, 6], [3, 4, 6]]
    labels, _ = squares([4, 3, 2])
    assert np.array_equal(masks[5], np.array([0, 4, 3, 6])[labels])


def test_ctc_refuses_what_it_cannot_hold(tmp_path, stills):
    folder = RunFolder(tmp_path / "many")
    labels, tracks = squares([1])
    folder.segmented("a", labels, {"index": {"t": 0}}, {1: {"id": 65536}})
    done = run("export", folder.folder, "--as", "ctc", expect=1)
    assert "65536" in done.stderr and "65535" in done.stderr
    done = run("export", stills, "--as", "ctc", expect=2)
    assert "--track" in done.stderr


def test_a_tracked_run_without_cells_is_not_called_untracked(tmp_path):
    image = tmp_path / "empty.png"
    cv2.imwrite(str(image), np.full((64, 64), 90, np.uint8))
    run("segment", image, "--track", "--engine", "rten", "--out", tmp_path / "out")
    done = run("export", tmp_path / "out", "--as", "ctc", expect=2)
    assert "no cell was found" in done.stderr and "--track" not in done.stderr


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        [length] = struct.unpack(">I", png[at : at + 4])
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def test_overlays_and_their_film(series):
    out = export(series, "overlay")
    assert sorted(path.name for path in out.glob("*.overlay.png")) == [f"t{t}.overlay.png" for t in (0, 1, 2, 4, 5)]
    [film] = out.glob("*.timelapse.png")
    names = [name for name, _ in chunks(film.read_bytes())]
    assert names.count(b"fcTL") == 5 and b"acTL" in names
    assert cv2.imread(str(film)).shape == (64, 96, 3)
    described = [data for name, data in chunks((out / "t0.overlay.png").read_bytes()) if name == b"iTXt"]
    assert any(b"ab" * 32 in data for data in described)


def test_outlines_are_the_outermost_pixels_of_the_cells(tmp_path):
    labels = np.zeros((300, 400), np.uint16)
    labels[blob(labels.shape, 150, 200, 90)] = 1
    cv2.imwrite(str(tmp_path / "a.png"), np.full(labels.shape, 90, np.uint8))
    folder = RunFolder(tmp_path / "run")
    folder.segmented("a", labels, {"pixel_size_um": 0.5}, file=tmp_path / "a.png")
    picture = cv2.imread(str(export(folder.folder, "overlay") / "a.overlay.png")).astype(int)
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    cell = labels.astype(np.uint8)
    [outline] = np.unique(picture[(cell == 1) & (cv2.erode(cell, cross) == 0)], axis=0)
    assert np.ptp(outline) > 150, "a colour"
    [beyond] = np.unique(picture[(cell == 0) & (cv2.dilate(cell, cross) == 1)], axis=0)
    assert beyond.tolist() == [90, 90, 90], "the image as it is"
    # 400 pixels are 200 um: a fifth is 40, the bar 20 um, 40 pixels.
    bar = (picture[260:] == 255).all(axis=2).sum(axis=1)
    assert bar.max() == 40
    assert picture[140:160, 190:210].min(axis=2).max() > 200, "the id, white"


def test_images_that_moved_are_found_with_a_folder(series, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in tmp_path.glob("t*.png"):
        path.rename(moved / path.name)
    done = run("export", series, "--as", "overlay", expect=1)
    assert "t0.png" in done.stderr and "--images" in done.stderr
    run("export", series, "--as", "overlay", "--images", moved)


def test_the_growth_plot_draws_counts_over_hours(series, stills):
    out = export(series, "plot")
    [path] = out.glob("*.growth.png")
    picture = cv2.imread(str(path))
    assert picture.shape[1] > 800 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


def test_a_plot_without_times_says_what_is_missing(stills):
    assert "elapsed_ms" in run("export", stills, "--as", "plot", expect=2).stderr


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("ctc", "overlay", "plot")])
def test_no_cell_one_pixel_a_whole_frame_and_5_000_cells(tmp_path, name):
    folder = RunFolder(tmp_path / "run")
    folder.segmented("none", np.zeros((40, 40), np.uint16))
    pixel = np.zeros((1, 1), np.uint16)
    pixel[0, 0] = 1
    folder.segmented("pixel", pixel)
    folder.segmented("full", np.ones((30, 700), np.uint16))
    many = np.zeros((300, 1000), np.uint16)
    for label in range(5000):
        y, x = divmod(label, 100)
        many[6 * y : 6 * y + 4, 10 * x : 10 * x + 7] = label + 1
    folder.segmented("many", many)
    out = export(folder.folder, name)
    written = list(out.iterdir())
    assert len(written) >= 2
    if name == "csv":
        with (out / "cells.csv").open() as text:
            assert sum(1 for _ in csv.DictReader(text)) == 5002


def test_a_run_that_was_killed_is_exported_as_far_as_it_came(series):
    with (series / "frames.jsonl").open("a") as lines:
        lines.write('{"image_id": "t6", "file": "t6.p')
    with (export(series, "csv") / "cells.csv").open() as text:
        assert {row["image_id"] for row in csv.DictReader(text)} == {"t0", "t1", "t2", "t4", "t5"}


def test_folders_that_are_no_runs_are_refused_by_name(tmp_path, stills):
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "nowhere"):
        done = run("export", folder, "--as", "csv", expect=2)
        assert "run.json" in done.stderr and folder.name in done.stderr
        assert not (folder / "csv").exists()
    whole = (stills / "run.json").read_text()
    (stills / "run.json").write_text(whole[:100])
    assert "run.json" in run("export", stills, "--as", "csv", expect=1).stderr
    (stills / "run.json").write_text(whole)
    cells = (stills / "a.json").read_text()
    for damaged, word in [
        (cells[:200], "a.json"),
        (cells.replace('"label": 2', '"label": 9'), "label 9"),
        (cells.replace('"label": 1', '"old": 1'), "--raw-masks"),
        (cells.replace("[120, 160]", "[9999999, 160]"), "9999999"),
        ("[]", "0 cells"),
    ]:
        (stills / "a.json").write_text(damaged)
        done = run("export", stills, "--as", "csv", expect=1)
        assert "a.json" in done.stderr and word in done.stderr
        assert "panicked" not in done.stderr
    (stills / "a.json").unlink()
    assert "a.json" in run("export", stills, "--as", "csv", expect=1).stderr


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.line({"image_id": "../../evil", "file": "a.png", "dropped": "deadline"})
    assert "../../evil" in run("export", folder.folder, "--as", "csv", expect=1).stderr
