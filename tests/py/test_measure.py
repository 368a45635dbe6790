"""Measurements over the wire: what filters leave alone, colour, the ring around a cell, borders, the largest and the fewest cells.

Definitions are held against scikit-image cell by cell in src/measure/tests.rs, and on a real frame in test_analysis.py.
"""

import sys

import numpy as np
import pytest
from client import Session, labels, raw, tiny_options
from contract import ROOT, pb
from frames import demo_frame, discs
from scipy import spatial
from skimage.measure import regionprops

sys.path.append(str(ROOT / "tests/data"))
from make_measures import background, feret_min  # noqa: E402

ALL = pb.Measurements(shape=True, hull=True, intensity=True, background=True, neighbours=True, neighbour_radius_px=60)
LABELS = pb.Outputs(label_image=True, masks=pb.MASK_ENCODING_NONE)


def answer(daemon, image: np.ndarray, thresholds: pb.Thresholds | None = None, **options) -> pb.Segmentation:
    fields = {"measurements": ALL, "outputs": LABELS} | options
    with Session(daemon, thresholds=thresholds, **fields) as session:
        reply = session.segment(raw(image, frame={"metadata": pb.FrameMetadata(channel="Phase")}))
        session.close()
    return reply.segmentation


@pytest.fixture(scope="module")
def everyone(daemon) -> pb.Segmentation:
    """A demo frame's cells, none hidden."""
    return answer(daemon, demo_frame())


def test_background_calipers_and_circularity_are_those_of_scipy_and_numpy(everyone):
    image, pixels = labels(everyone), demo_frame()
    assert len(everyone.instances) > 20
    for cell, theirs in zip(everyone.instances, regionprops(image)):
        assert cell.label == theirs.label
        [counts] = cell.measures.intensity
        around = counts.background if counts.HasField("background") else None
        assert around == background(image, cell.label, pixels), cell.label
        shape, hull = cell.measures.shape, cell.measures.hull
        assert hull.feret_min_px == pytest.approx(feret_min(theirs), rel=1e-6), cell.label
        assert shape.circularity == pytest.approx(4 * np.pi * theirs.area / theirs.perimeter**2, rel=1e-6)
        assert shape.extent == pytest.approx(theirs.extent, rel=1e-6)
        assert shape.equivalent_diameter_px == pytest.approx(theirs.equivalent_diameter_area, rel=1e-6)


def test_the_frame_says_means_over_all_cells(everyone):
    centroids = [(cell.measures.centroid_x_px, cell.measures.centroid_y_px) for cell in everyone.instances]
    tree = spatial.cKDTree(centroids)
    nearest, within = tree.query(centroids, k=2)[0][:, 1], tree.query_ball_point(centroids, 60, return_length=True) - 1
    assert everyone.summary.nearest_neighbour_mean_px == pytest.approx(nearest.mean())
    assert everyone.summary.neighbours_mean == pytest.approx(within.mean())


def test_filters_hide_cells_and_change_no_number_of_the_others(daemon, everyone):
    areas = sorted(cell.measures.area_px for cell in everyone.instances)
    least = areas[len(areas) // 3]
    thresholds = pb.Thresholds(min_area_px=least, border=pb.BORDER_RULE_DROP)
    left = answer(daemon, demo_frame(), thresholds)
    inside = [cell for cell in everyone.instances if not cell.touches_border]
    expected = [cell.measures for cell in inside if cell.measures.area_px >= least]
    assert [cell.measures for cell in left.instances] == expected
    summary = left.summary
    assert summary.removed_at_border == len(everyone.instances) - len(inside) > 0
    assert summary.removed_by_area == len(inside) - len(expected) > 0
    assert summary.confluence == everyone.summary.confluence
    assert summary.neighbours_mean == everyone.summary.neighbours_mean
    assert summary.count == len(expected)


def test_the_unbiased_rule_hides_right_and_bottom(daemon, everyone):
    image = labels(everyone)
    at_edge = (set(image[-1]) | set(image[:, -1])) - {0}
    others = (set(image[0]) | set(image[:, 0])) - {0} - at_edge
    assert at_edge and others, "the frame has cells on all edges"
    left = answer(daemon, demo_frame(), pb.Thresholds(border=pb.BORDER_RULE_UNBIASED))
    assert left.summary.removed_at_border == len(at_edge)
    expected = [cell.measures for cell in everyone.instances if cell.label not in at_edge]
    assert [cell.measures for cell in left.instances] == expected


def test_each_colour_is_measured_by_its_name(daemon):
    grey = discs(200, 160, seed=3)
    # Bright in all, so that the tiny model finds them, and different in each.
    image = np.stack([grey, 255 - (255 - grey) // 2, 20 + grey // 8 * 7], axis=2).astype(np.uint8)
    options = tiny_options(measurements=ALL, outputs=LABELS)
    with Session(daemon, options) as session:
        found = session.segment(raw(image)).segmentation
        session.close()
    assert found.instances
    where = labels(found)
    for cell in found.instances:
        assert [counts.channel for counts in cell.measures.intensity] == ["red", "green", "blue"]
        for counts, plane in zip(cell.measures.intensity, np.moveaxis(image, 2, 0)):
            own = plane[where == cell.label]
            got = (counts.mean, counts.min, counts.max, counts.std, counts.integrated)
            assert got == pytest.approx((own.mean(), own.min(), own.max(), own.std(), own.sum(dtype=int)), rel=1e-9)


def test_only_the_groups_asked_for_come(daemon):
    for group, field in [("shape", "shape"), ("hull", "hull"), ("neighbours", "neighbours"), ("intensity", None)]:
        found = answer(daemon, demo_frame(), measurements=pb.Measurements(**{group: True}))
        for cell in found.instances:
            measures = cell.measures
            present = {name for name in ("shape", "hull", "neighbours") if measures.HasField(name)}
            assert present == ({field} - {None}), group
            assert bool(measures.intensity) == (group == "intensity")
            assert not any(counts.HasField("background") for counts in measures.intensity)
            assert measures.area_px > 0 and measures.centroid_x_px > 0
    assert not answer(daemon, demo_frame(), measurements=None).instances[0].HasField("measures")


def test_a_frame_without_cells_has_no_means(daemon):
    empty = answer(daemon, np.full((300, 300), 900, np.uint16))
    assert not empty.instances and empty.summary.confluence == 0
    assert not empty.summary.HasField("nearest_neighbour_mean_px")
    assert not empty.summary.HasField("neighbours_mean")
