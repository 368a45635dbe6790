"""What is made of the cells, over the wire, on real frames: measurements, identities, regions, other channels."""

import cv2
import numpy as np
import pytest
from client import Session, encoded, failure_of, labels, notices, pixels
from contract import ROOT, pb
from daemon import Daemon
from skimage.draw import polygon2mask
from skimage.measure import regionprops

UM = 0.8708
FRAMES = sorted((ROOT / "demo").glob("t*.png"))
EVERYTHING = pb.Measurements(
    shape=True, hull=True, intensity=True, background=True, neighbours=True, neighbour_radius_um=100
)


def frame(t: int, **fields) -> pb.Frame:
    """A demo frame as its microscope would send it, one every 10 minutes."""
    metadata = pb.FrameMetadata(
        index={"t": t}, position="A1", channel="Phase", well="A1", pixel_size_um=UM, elapsed_ms=t * 600_000
    )
    return encoded(FRAMES[t].read_bytes(), id=t + 1, metadata=metadata, **fields)


def counts(t: int) -> np.ndarray:
    return cv2.imread(str(FRAMES[t]), cv2.IMREAD_UNCHANGED)


def tracks(reply: pb.FrameReply) -> list[int]:
    return [cell.track.id for cell in reply.segmentation.instances]


def test_measurements_are_those_of_scikit_image_on_the_same_cells(daemon):
    outputs = pb.Outputs(label_image=True)
    with Session(daemon, measurements=EVERYTHING, outputs=outputs) as session:
        reply = session.segment(frame(0))
        session.close()
    image, cells = counts(0), reply.segmentation.instances
    assert len(cells) > 20
    props = {p.label: p for p in regionprops(labels(reply.segmentation), intensity_image=image)}
    assert set(props) == {cell.label for cell in cells}
    centroids = np.array([(c.measures.centroid_x_px, c.measures.centroid_y_px) for c in cells])
    for i, cell in enumerate(cells):
        p, m = props[cell.label], cell.measures
        channel = m.intensity[0]
        assert channel.channel == "Phase"
        distances = np.delete(np.hypot(*(centroids - centroids[i]).T), i)
        ours_theirs = {
            "area": (m.area_px, p.area),
            "area um": (m.area_um2, p.area * UM**2),
            "x": (m.centroid_x_px, p.centroid[1] + 0.5),
            "y": (m.centroid_y_px, p.centroid[0] + 0.5),
            "perimeter": (m.shape.perimeter_px, p.perimeter),
            "perimeter um": (m.shape.perimeter_um, p.perimeter * UM),
            "major": (m.shape.major_axis_um, p.axis_major_length * UM),
            "minor": (m.shape.minor_axis_px, p.axis_minor_length),
            "eccentricity": (m.shape.eccentricity, p.eccentricity),
            "orientation": (m.shape.orientation_rad, p.orientation),
            "euler": (m.shape.euler_number, p.euler_number),
            "convex": (m.hull.convex_area_px, p.area_convex),
            "solidity": (m.hull.solidity, p.solidity),
            "feret": (m.hull.feret_max_um, p.feret_diameter_max * UM),
            "mean": (channel.mean, p.intensity_mean),
            "max": (channel.max, p.intensity_max),
            "std": (channel.std, p.intensity_std),
            "integrated": (channel.integrated, image[p.slice][p.image].astype(np.int64).sum()),
            "weighted x": (channel.weighted_centroid_x_px, p.centroid_weighted[1] + 0.5),
            "nearest": (m.neighbours.nearest_um, distances.min() * UM),
            "within": (m.neighbours.within_radius, np.count_nonzero(distances * UM <= 100)),
        }
        for name, (ours, theirs) in ours_theirs.items():
            assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9), (cell.label, name)
    summary = reply.segmentation.summary
    assert summary.confluence == pytest.approx(np.count_nonzero(labels(reply.segmentation)) / image.size)
    assert summary.density_per_mm2 == pytest.approx(len(cells) / (image.size * UM**2 / 1e6))


def test_the_same_cells_keep_their_ids_through_the_time_lapse(daemon):
    outputs = pb.Outputs(label_image=True, label_by=pb.LABEL_BY_TRACK)
    with Session(daemon, tracking=pb.Tracking(), growth=pb.GrowthOptions(), outputs=outputs) as session:
        replies = [session.segment(frame(t)) for t in range(len(FRAMES))]
        session.close()
    for before, after in zip(replies, replies[1:]):
        kept = set(tracks(before)) & set(tracks(after))
        assert len(kept) > 0.7 * len(tracks(before)), "most cells are still there ten minutes later"
        drift = after.segmentation.summary.drift
        assert abs(drift.x_px) < 10 and abs(drift.y_px) < 10
    for reply in replies:
        assert len(set(tracks(reply))) == len(tracks(reply)), "one cell, one id"
        image = labels(reply.segmentation)
        for cell in reply.segmentation.instances:
            assert (image[pixels(cell, image.shape[1], image.shape[0])] == cell.track.id).all()
        assert set(np.unique(image)) - {0} == set(tracks(reply))
    assert not replies[0].segmentation.summary.HasField("drift")
    growth = replies[-1].segmentation.summary.growth
    assert growth.points == len(FRAMES) and growth.fields == 1
    assert not growth.HasField("count"), "one hour tells no rate"
    # Frames that come late.
    with Session(daemon, tracking=pb.Tracking()) as session:
        session.segment(frame(1))
        late = session.segment(frame(0))
        assert notices(late) == {"OUT_OF_ORDER"}
        assert not any(cell.HasField("track") for cell in late.segmentation.instances)
        session.close()


def resumed(replies: list[pb.FrameReply]) -> pb.Tracking:
    """What a client keeps of its answers in case the daemon goes: each cell as it was last seen."""
    seen = {}
    for n, reply in enumerate(replies):
        for cell in reply.segmentation.instances:
            seen[cell.track.id] = (n, cell)
    last = len(replies) - 1
    # Of the drift since a cell was last seen.
    drifts = [reply.segmentation.summary.drift for reply in replies]
    instances = [
        pb.ResumedInstance(
            track=cell.track,
            class_index=cell.class_index,
            rle=cell.rle,
            missing=last - n,
            drifted=pb.Drift(x_px=sum(d.x_px for d in drifts[n + 1 :]), y_px=sum(d.y_px for d in drifts[n + 1 :])),
        )
        for n, cell in seen.values()
        if last - n <= 2
    ]
    series = pb.ResumedSeries(
        metadata=replies[-1].metadata,
        width=replies[-1].segmentation.width,
        height=replies[-1].segmentation.height,
        next_id=max(seen) + 1,
        instances=instances,
    )
    return pb.Tracking(resume=pb.Resume(series=[series]))


def test_ids_are_the_same_after_the_daemon_was_killed(tmp_path, settings, daemon):
    with Session(daemon, tracking=pb.Tracking()) as session:
        uninterrupted = [session.segment(frame(t)) for t in range(len(FRAMES))]
        session.close()
    killed = Daemon(tmp_path / "killed", settings)
    with Session(killed, tracking=pb.Tracking()) as session:
        replies = [session.segment(frame(t)) for t in range(3)]
        killed.process.kill()
        killed.process.wait()
    with Daemon(tmp_path / "next", settings) as another, Session(another, tracking=resumed(replies)) as session:
        assert session.opened.resumed
        replies += [session.segment(frame(t)) for t in range(3, len(FRAMES))]
        session.close()
    assert [tracks(reply) for reply in replies] == [tracks(reply) for reply in uninterrupted]
    ages = [[cell.track.age for cell in reply.segmentation.instances] for reply in (replies[-1], uninterrupted[-1])]
    assert ages[0] == ages[1]


def test_another_channel_is_measured_in_the_cells_of_the_segmented_one(daemon):
    background = pb.Measurements(intensity=True, background=True)
    with Session(daemon, measurements=background, tracking=pb.Tracking(), outputs=pb.Outputs(label_image=True)) as session:
        segmented = session.segment(frame(0))
        other = frame(1, measure_on=1)
        other.metadata.channel = "GFP"
        session.send_frame(other)
        measured = session.receive("frame").measured
        unknown = frame(2, measure_on=77)
        session.send_frame(unknown)
        assert "measure_on 77" in failure_of(session.receive("frame"))
        closed = session.close()
    assert (closed.segmented, closed.failed) == (2, 1)
    assert measured.measured_on == 1
    cells = segmented.segmentation.instances
    assert [(c.label, c.track_id) for c in measured.instances] == [(c.label, c.track.id) for c in cells]
    image, where = counts(1), labels(segmented.segmentation)
    for cell in measured.instances:
        inside = image[where == cell.label].astype(float)
        channel = cell.intensity[0]
        assert channel.channel == "GFP"
        assert channel.mean == pytest.approx(inside.mean(), rel=1e-9)
        assert channel.std == pytest.approx(inside.std(), rel=1e-9)
    assert any(cell.intensity[0].HasField("background") for cell in measured.instances)


def test_only_what_lies_in_the_region_is_analysed(daemon):
    """A well's edge: a polygon of many corners; the area is scikit-image's."""
    turns = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    corners = np.stack([512 + 400 * np.cos(turns), 511 + 400 * np.sin(turns)], axis=1).round().astype(int)
    deltas = np.diff(corners, axis=0, prepend=[[0, 0]]).ravel().tolist()
    region = pb.Region(rings=[pb.Ring(xy_delta=deltas)])
    thresholds = pb.Thresholds(border=pb.BORDER_RULE_DROP)
    with Session(daemon, region=region, thresholds=thresholds, outputs=pb.Outputs(label_image=True)) as session:
        reply = session.segment(frame(0))
        session.close()
    # Middles of pixels are at whole numbers there.
    inside = polygon2mask((1022, 1024), corners[:, ::-1] - 0.5)
    summary = reply.segmentation.summary
    assert summary.analysed_px == pytest.approx(np.count_nonzero(inside), rel=1e-3)
    image = labels(reply.segmentation)
    assert not image[~inside].any() or np.count_nonzero(image[~inside]) < 10
    assert summary.removed_at_border > 0
    assert 0 < summary.confluence < 1


def test_without_a_pixel_size_there_are_no_micrometres(daemon):
    one = frame(0)
    one.metadata.ClearField("pixel_size_um")
    thresholds = pb.Thresholds(min_area_um2=100, min_area_px=50)
    with Session(daemon, measurements=EVERYTHING, thresholds=thresholds) as session:
        reply = session.segment(one)
        one.metadata.pixel_size_um = 0
        session.send_frame(one)
        assert "pixel_size_um 0" in failure_of(session.receive("frame"))
        session.close()
    assert "NO_PIXEL_SIZE" in notices(reply)
    for cell in reply.segmentation.instances:
        assert cell.measures.area_px >= 50
        assert not cell.measures.HasField("area_um2") and not cell.measures.shape.HasField("perimeter_um")
    assert not reply.segmentation.summary.HasField("density_per_mm2")
