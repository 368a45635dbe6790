"""Answers of the bundled model on a real frame, against scikit-image, pycocotools and pandas."""

import numpy as np
import pandas as pd
import pytest
from conftest import demo_files
from pycocotools import mask as coco
from skimage.io import imread
from skimage.measure import regionprops

from cellsegd import Frame, Options, layers, percentiles, reference, window
from cellsegd import contract as pb

METADATA = {"t": 0, "position": "A1", "channel": "Phase", "pixel_size_um": 0.8708, "elapsed_ms": 7_200_000.0, "well": "A1"}


@pytest.fixture(scope="module")
def image():
    return imread(demo_files()[0])


@pytest.fixture(scope="module")
def result(client, image):
    return client.segment(image, measure="all", track=True, metadata=METADATA)


def test_cells_are_where_scikit_image_finds_them(result, image):
    assert len(result.cells) > 20
    props = {p.label: p for p in regionprops(result.labels, intensity_image=image)}
    assert set(props) == {cell.label for cell in result.cells}
    for cell in result.cells:
        p = props[cell.label]
        assert cell.bbox == p.bbox and cell.area_px == p.area
        assert cell.centroid_yx == pytest.approx(p.centroid)
        np.testing.assert_array_equal(cell.image, p.image)
        np.testing.assert_array_equal(cell.mask(), result.labels == cell.label)
        assert cell.slice == p.slice
        assert cell.class_name == "cell" and 0.3 < cell.score <= 1
        measures = cell.measures
        assert measures["perimeter_px"] == pytest.approx(p.perimeter)
        assert measures["Phase_mean_counts"] == pytest.approx(p.intensity_mean)
        assert measures["area_um2"] == pytest.approx(p.area * 0.8708**2)
        # Without measurements the mask tells the same.
        bare = pb.Instance()
        bare.CopyFrom(cell.message)
        bare.ClearField("measures")
        from cellsegd import Cell

        assert Cell(bare, result.shape, "").centroid_yx == pytest.approx(p.centroid)


def test_masks_are_those_of_pycocotools(result):
    height, width = result.shape
    for cell in result.cells:
        theirs = coco.decode({"size": [height, width], "counts": cell.message.rle.counts})
        np.testing.assert_array_equal(cell.mask(), theirs.astype(bool))


@pytest.mark.parametrize("outputs", ["labels", "rings", "bits", "labels,rings", "labels,boxes"])
def test_every_form_of_a_mask_is_the_same_mask(client, image, result, outputs):
    other = client.segment(image, measure="all", outputs=outputs, metadata=METADATA)
    np.testing.assert_array_equal(other.labels, result.labels)
    for mine, yours in zip(result.cells, other.cells, strict=True):
        np.testing.assert_array_equal(mine.image, yours.image)
        assert mine.centroid_yx == pytest.approx(yours.centroid_yx)
        assert sum(map(len, mine.contour_yx)) == sum(map(len, yours.contour_yx))
        assert {tuple(corner) for line in mine.contour_yx for corner in line} == {
            tuple(corner) for line in yours.contour_yx for corner in line
        }


def test_labels_by_track_keep_their_numbers(client, image, result):
    ids = result.labels_by_track()
    assert ids.dtype == np.uint32 and result.labels.dtype == np.int32
    for cell in result.cells:
        assert (ids[cell.slice][cell.image] == cell.track_id).all()
    for outputs in ("labels", "cells"):
        by_track = client.segment(image, track=True, outputs=outputs, label_by="track")
        np.testing.assert_array_equal(by_track.labels_by_track(), ids)
    assert client.segment(image, track=False).labels_by_track().max() == 0


def test_without_masks_that_is_said(client, image):
    boxes = client.segment(image, outputs="boxes")
    assert boxes.cells and boxes.cells[0].bbox[2] > 0
    for ask in (lambda: boxes.labels, lambda: boxes.cells[0].image, lambda: boxes.cells[0].centroid_yx):
        with pytest.raises(ValueError, match="outputs="):
            ask()
    assert "centroid_y" not in boxes.records()[0]


def test_records_make_a_table_with_units_in_the_names(result):
    table = pd.DataFrame(result.records())
    assert len(table) == len(result.cells)
    assert table["well"].unique().tolist() == ["A1"] and table["elapsed_h"].unique().tolist() == [2.0]
    assert table["t"].unique().tolist() == [0] and table["track_id"].is_unique
    props = pd.DataFrame({"label": p.label, "y": p.centroid[0], "x": p.centroid[1]} for p in regionprops(result.labels))
    joined = table.merge(props, on="label")
    np.testing.assert_allclose(joined["centroid_y"], joined["y"])
    np.testing.assert_allclose(joined["centroid_x"], joined["x"])
    units = ("_px", "_um", "_um2", "_rad", "_counts", "_h")
    plain = {
        "frame_id", "well", "position", "channel", "t", "label", "class", "score", "track_id", "parent_id", "touches_border",
        "bbox_min_row", "bbox_min_col", "bbox_max_row", "bbox_max_col", "centroid_y", "centroid_x", "eccentricity", "extent",
        "circularity", "euler_number", "solidity", "neighbours_within_radius",
    }  # fmt: skip
    assert {name for name in table.columns if not name.endswith(units)} <= plain


def test_another_channel_is_measured_in_the_cells_of_the_first(client, image):
    with client.session(measure="intensity", track=True) as session:
        first = session.submit(Frame(image, metadata=METADATA))
        session.submit(Frame(image // 2, measure_on=first, metadata=METADATA | {"channel": "GFP"}))
        session.close()
        segmented, measured = session.results()
    assert (measured.outcome, measured.measured_on) == ("measured", first)
    for mine, yours in zip(segmented.cells, measured.measured, strict=True):
        assert (mine.label, mine.track_id) == (yours.label, yours.track_id)
        assert yours.measures["GFP_mean_counts"] == pytest.approx((image // 2)[mine.slice][mine.image].mean())
    assert len(pd.DataFrame(measured.records())) == len(segmented.cells)


def test_what_was_asked_for_is_what_holds(client, image):
    y, x = 200.5, 300.5
    region = [[[y, x], [y, x + 400], [y + 500, x + 400], [y + 500, x]]]
    options = Options(
        confidence=0.5,
        border="drop",
        normalization=window(1000, 50_000),
        tiling="off",
        region_yx=region,
        measure="shape,neighbours",
        min_area_px=50,
        classes=[0],
        class_confidence={1: 0.9},
        priority="urgent",
        delivery="lossless",
        window=3,
        growth=True,
        track=True,
    )
    with client.session(options) as session:
        settled = session.opened.settled
        session.submit(image)
        session.close()
        (result,) = session.results()
    assert settled.thresholds.confidence == 0.5 and settled.thresholds.border == pb.BORDER_RULE_DROP
    assert settled.normalization.window.high == 50_000 and settled.tiling.mode == pb.Tiling.Mode.Value("MODE_OFF")
    assert settled.priority == pb.PRIORITY_URGENT and settled.HasField("growth")
    inside = np.zeros(image.shape, bool)
    inside[201:701, 301:701] = True
    assert result.summary.analysed_px == inside.sum()
    assert not result.labels[~inside].any() and result.labels.any()
    # Corners at pixels' centres: the first pixel belongs to it, the last does not.
    square = [[[10, 20], [10, 30], [20, 30], [20, 20]]]
    assert client.segment(image, region_yx=square).summary.analysed_px == 100
    assert (
        client.segment(np.zeros((40, 40), np.uint8), region_yx=[[[0, 0], [0, 39], [39, 39], [39, 0]]]).summary.analysed_px
        == 39 * 39
    )
    # A contour is a region.
    contour = [line for cell in result.cells[:1] for line in cell.contour_yx]
    again = client.segment(image, region_yx=contour, confidence=0.01)
    assert again.summary.analysed_px == result.cells[0].area_px


def test_brightness_by_one_image_and_light_that_is_uneven(client, image):
    with client.session(normalization=reference(image, 0.5, 99.5)) as session:
        opened = session.opened
    low, high = np.percentile(image, [0.5, 99.5])
    assert opened.settled.normalization.window.low == pytest.approx(low)
    assert opened.settled.normalization.window.high == pytest.approx(high)
    flat = np.full(image.shape, 1000, np.uint16)
    even = client.segment(image, flat_field=flat, normalization=percentiles(1, 99))
    np.testing.assert_array_equal(even.labels, client.segment(image, normalization=percentiles(1, 99)).labels)


def test_a_flipped_frame_is_answered_as_mirrored(client, image, result):
    mirrored = client.segment(Frame(image[:, ::-1], flip_horizontal=True), measure="all", metadata=METADATA)
    np.testing.assert_array_equal(mirrored.labels, result.labels)
    flipped = client.segment(Frame(image[::-1], flip_vertical=True))
    np.testing.assert_array_equal(flipped.labels, result.labels)


def test_times_and_notices_are_told(client, image, result):
    assert 0 < result.timing_ms["infer"] <= result.timing_ms["total"] < 60_000
    noted = client.segment(image, min_area_um2=5)
    assert "NO_PIXEL_SIZE" in dict(noted.notices)
    assert result.summary.count == len(result.cells)


def test_layers_are_what_napari_takes(client, image, result):
    (labels, shown, kind), (centres, points, other) = layers(result)
    assert (kind, other) == ("labels", "points")
    np.testing.assert_array_equal(labels, result.labels_by_track())
    assert shown["scale"] == (0.8708, 0.8708) and shown["features"]["index"] == [cell.track_id for cell in result.cells]
    np.testing.assert_allclose(centres, [p.centroid for p in regionprops(result.labels)])
    assert len(pd.DataFrame(points["features"])) == len(centres)
    plain = layers(client.segment(image, confidence=0.99))
    assert plain[0][0].max() == 0 and plain[1][0].shape == (0, 2) and "scale" not in plain[0][1]
