"""Large frames in tiles: whole cells on seams, at the scale that the model was trained on.

What a tiled frame is held against is the same model on a piece of the frame that is just the network's size and lies across a
seam: nothing was cut there.
"""

import numpy as np
import pytest
from client import Session, cells, notices, pixels, raw
from contract import pb
from daemon import Daemon
from frames import demo_frame

UM = 0.8708  # the demo's; the bundled model was trained at 0.87
SIDE = 639  # of a tile: the network's 640 pixels at 0.87 um, in pixels of 0.8708 um
# Every piece is shown as the whole frame is.
WINDOW = pb.Normalization(window=pb.Normalization.Window(low=14000, high=57000))


def field(width: int, height: int) -> np.ndarray:
    """The demo's frames and their mirror images side by side."""
    fields = [np.ascontiguousarray(demo_frame(i)[::turn, :: turn if i % 2 else 1]) for i in (0, 2, 4) for turn in (1, -1)]
    columns, rows = -(-width // 1024), -(-height // 1022)
    lines = [np.hstack([fields[(r * columns + c) % len(fields)] for c in range(columns)]) for r in range(rows)]
    return np.ascontiguousarray(np.vstack(lines)[:height, :width])


def scaled(image: np.ndarray, id: int = 1, um: float = UM) -> pb.Frame:
    return raw(image, id=id, frame={"metadata": pb.FrameMetadata(pixel_size_um=um)})


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return field(2048, 2048)


@pytest.fixture(scope="module")
def tiled(daemon, image) -> pb.FrameReply:
    with Session(daemon, normalization=WINDOW) as session:
        return session.segment(scaled(image))


def test_a_large_frame_is_tiled_by_itself_and_says_so(tiled):
    assert tiled.timing.tiles == 16
    assert "SCALE_FAR_FROM_TRAINED" not in notices(tiled)


def test_cells_on_seams_come_out_once_and_whole(daemon, image, tiled):
    """Of the cells that a piece across a seam shows clear of its own edges, nearly all are the tiled frame's cells, and each is
    one of them. The rest are those at which the network hesitates: another surrounding, another answer."""
    found = np.zeros((2048, 2048), dtype=int)
    for label, instance in enumerate(tiled.segmentation.instances, start=1):
        found[pixels(instance, 2048, 2048)] = label
    areas = np.bincount(found.ravel())
    n_expected = n_found = n_shared = 0
    with Session(daemon, normalization=WINDOW) as session:
        # Each covers the crossing of two seams in its middle; tiles start at 0, 468, 940 and 1412 and end 639 further.
        for id, (x, y) in enumerate([(234, 234), (704, 234), (704, 704), (704, 1176)]):
            here = np.s_[y : y + SIDE, x : x + SIDE]
            piece = session.segment(raw(np.ascontiguousarray(image[here]), id=id))
            for instance in piece.segmentation.instances:
                box = instance.detected_box
                clear = min(box.x0, box.y0, SIDE - box.x1, SIDE - box.y1) > 40
                if not clear or instance.score < 0.5:
                    continue
                expected = pixels(instance, SIDE, SIDE)
                area = np.count_nonzero(expected)
                both = np.bincount(found[here][expected], minlength=len(areas))
                both[0] = 0
                n_expected += 1
                n_found += (both / (area + areas - both)).max() > 0.6
                # Two cells in the place of one would each have a large part of it.
                n_shared += np.count_nonzero(both > 0.2 * area) > 1
    assert n_expected > 30
    assert n_found >= 0.9 * n_expected, f"{n_found} of {n_expected}"
    assert n_shared <= 0.05 * n_expected, f"{n_shared} of {n_expected}"


def test_the_same_frame_gives_the_same_bytes_on_any_lane(tmp_path, settings, image, tiled):
    with Daemon(tmp_path, "lanes = 2\n" + settings) as daemon, Session(daemon, normalization=WINDOW) as session:
        for id in (1, 2):
            session.send_frame(scaled(image, id=id))
        for _ in range(2):
            assert cells(session.receive("frame")) == cells(tiled)


def test_tiling_is_a_choice(daemon, image):
    with Session(daemon, normalization=WINDOW, tiling=pb.Tiling(mode=pb.Tiling.MODE_OFF)) as session:
        whole = session.segment(scaled(image))
        assert whole.timing.tiles == 1
        assert "SCALE_FAR_FROM_TRAINED" in notices(whole)
    small = np.ascontiguousarray(image[:700, :600])
    with Session(daemon, normalization=WINDOW, tiling=pb.Tiling(mode=pb.Tiling.MODE_ON)) as session:
        assert session.segment(raw(small)).timing.tiles == 2, "one camera pixel an input pixel"
        # Half the size: the tile is twice as large, and the frame is one.
        assert session.segment(scaled(small, id=2, um=UM / 2)).timing.tiles == 1


def test_tiles_without_number_are_refused(daemon):
    with Session(daemon, tiling=pb.Tiling(mode=pb.Tiling.MODE_ON, target_um_per_px=0.05)) as session:
        session.send_frame(scaled(field(2048, 2048)))
        reply = session.receive("frame")
        assert reply.WhichOneof("outcome") == "failed"
        assert "tiling: tiles of 36x36 px" in reply.failed.message
        assert "at most 1024" in reply.failed.message


def test_the_largest_camera_is_tiled_in_bounded_memory(tmp_path, settings):
    large = field(4432, 2369)
    with Daemon(tmp_path, settings) as daemon, Session(daemon, normalization=WINDOW) as session:
        session.segment(raw(field(640, 640)))
        before = daemon.peak_rss()
        reply = session.segment(scaled(large, id=2))
        grown = daemon.peak_rss() - before
    assert reply.timing.tiles == 45
    assert reply.segmentation.summary.count > 300
    # The frame twice, as it comes and as it is held, and what is found in it.
    assert grown < 2 * large.nbytes + (32 << 20), f"{grown >> 20} MiB"
