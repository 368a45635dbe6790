"""The real core and the real daemon."""

import json
import logging
import threading
import time

import numpy as np
import pytest
import useq
from film import DIVIDES_AT, MOTHER, SIDE, places
from psygnal import EmitLoopError
from real_daemon import run

from cellsegd import Client, Options, Refused, Unavailable
from cellsegd.mmcore import attach, live, measure


@pytest.fixture
def client(daemon):
    with Client(daemon.url) as client:
        yield client


def time_lapse(n=6, channels=("DAPI",), **more):
    return useq.MDASequence(time_plan={"interval": 0, "loops": n}, channels=list(channels), **more)


class Heard:
    """Every event of an attachment."""

    def __init__(self, attachment):
        self.results, self.divisions = [], []
        for name in ("segmented", "measured", "dropped", "failed"):
            getattr(attachment, name).connect(lambda result, event: self.results.append((result, event)))
        attachment.divided.connect(lambda *told: self.divisions.append(told))

    def by_time(self, outcome, channel):
        return {
            event.index["t"]: result
            for result, event in self.results
            if result.outcome == outcome and event.channel.config == channel
        }


def test_a_time_lapse_is_segmented_and_the_division_told(core, film, client):
    with attach(core, client) as cells:
        heard = Heard(cells)
        core.mda.run(time_lapse(6))
        # Everything has been answered when the run is over.
        assert cells.counts == {"frames": 6, "segmented": 6}
    results = heard.by_time("segmented", "DAPI")
    assert [len(results[t].cells) for t in range(6)] == [14] * DIVIDES_AT + [15] * (6 - DIVIDES_AT)
    ((mother, daughters, _, event),) = heard.divisions
    assert event.index["t"] == DIVIDES_AT and len(daughters) == 2
    assert mother in {cell.track_id for cell in results[DIVIDES_AT - 1].cells}
    middle = np.mean([cell.centroid_yx for cell in daughters], axis=0)
    assert np.allclose(middle, places()[MOTHER], atol=2)


def test_what_the_core_knows_comes_with_the_result(core, film, client):
    core.setProperty("Camera", "BitDepth", "12")
    sequence = time_lapse(1, stage_positions=[useq.Position(x=100, y=200, z=3, name="B07")])
    with attach(core, client, {"DAPI": "cells"}) as cells:
        heard = Heard(cells)
        core.mda.run(sequence)
    ((result, _),) = heard.results
    told = result.metadata
    assert told["index"] == {"t": 0, "p": 0, "c": 0}
    assert (told["channel"], told["position"], told["camera"]) == ("DAPI", "B07", "Camera")
    assert np.allclose((told["x_um"], told["y_um"], told["z_um"]), (100, 200, 3), atol=0.1)
    assert told["pixel_size_um"] == core.getPixelSizeUm() and told["binning"] == 1
    assert told["captured_at"].timestamp() == pytest.approx(time.time(), abs=60)
    # The middle of the frame is where the stage is.
    cell = result.cells[0]
    row, column = cell.centroid_yx
    where = (cell.measures["stage_x_um"], cell.measures["stage_y_um"])
    assert np.allclose(where, (100 + column + 0.5 - SIDE / 2, 200 + row + 0.5 - SIDE / 2), atol=0.1)


def test_other_channels_are_measured_in_the_cells(core, film, client):
    with attach(core, client, {"DAPI": "nuclei", "FITC": measure("DAPI")}) as cells:
        heard = Heard(cells)
        # FITC first: it is held until DAPI has come.
        core.mda.run(time_lapse(3, ["FITC", "DAPI"], axis_order="tcz"))
        assert cells.counts == {"frames": 6, "segmented": 3, "measured": 3}
    segmented, measured = heard.by_time("segmented", "DAPI"), heard.by_time("measured", "FITC")
    for t in range(3):
        assert measured[t].measured_on == segmented[t].id
        assert [it.track_id for it in measured[t].measured] == [cell.track_id for cell in segmented[t].cells]
        assert all(it.measures["FITC_mean_counts"] > 300 for it in measured[t].measured)


def test_each_model_has_its_own_session(core, film, client):
    with attach(core, client, {"DAPI": "nuclei", "Cy5": "cells", "FITC": None}) as cells:
        heard = Heard(cells)
        core.mda.run(time_lapse(2, ["DAPI", "Cy5", "FITC"]))
        assert cells.counts == {"frames": 4, "segmented": 4}
    assert len(heard.by_time("segmented", "DAPI")) == len(heard.by_time("segmented", "Cy5")) == 2


def test_a_run_of_several_channels_without_a_mapping_raises_before_its_first_frame(core, client):
    seen = []
    core.mda.events.frameReady.connect(lambda *_: seen.append(1))
    refused = []
    with attach(core, client) as cells:
        cells.refused.connect(refused.append)
        with pytest.raises((ValueError, EmitLoopError), match="DAPI, FITC") as raised:
            core.mda.run(time_lapse(2, ["DAPI", "FITC"]))
        assert len(refused) == 1 and "DAPI, FITC" in refused[0]
        assert isinstance(raised.value.__cause__ or raised.value, ValueError)
        assert not seen and cells.counts == {}
        # The next one is not harmed.
        core.mda.run(time_lapse(1))
        assert cells.counts["frames"] == len(seen) == 1


def test_mistakes_are_said_when_it_is_attached(core, client):
    with pytest.raises(Refused, match="cels"):
        attach(core, client, {"DAPI": "cels"})
    with pytest.raises(ValueError, match="buffer_bytes is 0"):
        attach(core, client, buffer_bytes=0)
    with Client("http://127.0.0.1:9", timeout_s=5) as nobody, pytest.raises(Unavailable):
        attach(core, nobody)


def test_after_detach_nothing_is_heard(core, film, client):
    cells = attach(core, client)
    heard = Heard(cells)
    core.mda.run(time_lapse(1))
    cells.detach()
    cells.detach()
    core.mda.run(time_lapse(2))
    assert len(heard.results) == 1


@pytest.mark.parametrize("roi", [None, (100, 50, 200, 300)])
@pytest.mark.parametrize(("pixels", "dtype"), [("8bit", np.uint8), ("16bit", np.uint16), ("32bitRGB", np.uint8)])
def test_every_pixel_type_and_region_of_the_demo_camera_is_taken(core, client, pixels, dtype, roi):
    core.setProperty("Camera", "PixelType", pixels)
    if roi:
        core.setROI(*roi)
    shapes = []
    core.mda.events.frameReady.connect(lambda image, *_: shapes.append((image.shape, image.dtype)))
    with attach(core, client) as cells:
        heard = Heard(cells)
        core.mda.run(time_lapse(1))
    ((result, _),) = heard.results
    assert result.outcome == "segmented", result.reason
    ((shape, was),) = shapes
    assert was == dtype and result.shape == shape[:2]
    if roi:
        assert (result.metadata["roi_x"], result.metadata["roi_y"]) == roi[:2]


def test_a_listener_that_fails_harms_nobody(core, film, client, caplog):
    with attach(core, client) as cells, caplog.at_level(logging.CRITICAL):
        cells.segmented.connect(lambda *_: 1 / 0)
        core.mda.run(time_lapse(3))
        assert cells.counts == {"frames": 3, "segmented": 3}


@pytest.mark.parametrize("interval_s", [0, 0.2])
def test_a_listener_may_detach(core, film, client, interval_s):
    """In the middle of the run, or when the core already waits for the last answers."""
    cells = attach(core, client, "nuclei", finish_s=20)
    heard = Heard(cells)
    done = threading.Event()
    cells.segmented.connect(lambda *_: (cells.detach(), done.set()))
    core.mda.run(useq.MDASequence(time_plan={"interval": interval_s, "loops": 5}, channels=["DAPI"]))
    assert done.wait(30)
    assert 1 <= len(heard.results) <= 5


def test_a_run_that_cannot_be_recorded_does_not_begin(core, client, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").touch()
    with pytest.raises(FileExistsError, match="holds a run already"):
        attach(core, client, recorder=tmp_path / "run")
    with attach(core, client, options=Options(outputs="boxes"), recorder=tmp_path / "other") as cells:
        with pytest.raises((ValueError, EmitLoopError), match="no masks"):
            core.mda.run(time_lapse(1))
        assert cells.counts == {}


def test_two_models_and_a_measured_channel_are_recorded_in_a_folder_each(core, film, client, daemon, tmp_path):
    channels = {"DAPI": "nuclei", "FITC": measure("DAPI"), "Cy5": "cells"}
    with attach(core, client, channels, recorder=tmp_path / "run"):
        core.mda.run(time_lapse(2, ["FITC", "DAPI", "Cy5"], axis_order="tcz"))
        core.mda.run(time_lapse(1, ["Cy5"]))
    lines = {
        folder: [json.loads(line) for line in (tmp_path / folder / "frames.jsonl").read_text().splitlines()]
        for folder in ("run/nuclei", "run/cells", "run-2/nuclei", "run-2/cells")
    }
    assert [len(each) for each in lines.values()] == [4, 2, 0, 1]
    assert sorted(line["image_id"] for line in lines["run/nuclei"] if "measured" in line) == ["FITC_t0000", "FITC_t0001"]
    for folder in ("run/nuclei", "run/cells"):
        assert json.loads((tmp_path / folder / "run.json").read_text())["totals"]["failed"] == 0
        run("export", tmp_path / folder, "--as", "csv", "--out", tmp_path / "tables" / folder)
    tables = (tmp_path / "tables/run/nuclei").rglob("*.csv")
    assert any("FITC" in table.read_text() for table in tables)


def run_with_trouble(core, daemon, n, at, back_at=None):
    """A run whose daemon is killed at one frame, and is started when a later one has come: who waits for it waits in vain."""
    came = []
    back = threading.Thread(target=daemon.start)

    def listen(_image, event, _meta):
        came.append(event.index["t"])
        if came[-1] == at:
            daemon.kill()
        if came[-1] == back_at:
            back.start()

    core.mda.events.frameReady.connect(listen)
    run = core.run_mda(useq.MDASequence(time_plan={"interval": 0.1, "loops": n}, channels=["DAPI"]))
    run.join(240)
    assert came == list(range(n)), "the acquisition waited for the daemon"
    assert not run.is_alive()
    if back_at is not None:
        back.join()


def test_a_daemon_that_is_killed_and_comes_back_costs_nothing(core, film, client, daemon):
    with attach(core, client, {"DAPI": "cells"}, patience_s=120, finish_s=120) as cells:
        heard = Heard(cells)
        run_with_trouble(core, daemon, 8, 2, back_at=5)
        assert cells.counts == {"frames": 8, "segmented": 8}
    # Identities went on, and the division was told once.
    ids = {t: {cell.track_id for cell in result.cells} for t, result in heard.by_time("segmented", "DAPI").items()}
    assert len(ids[0]) == 14 and all(ids[t] == ids[0] for t in range(DIVIDES_AT))
    assert len(ids[7] & ids[0]) == 13 and len(heard.divisions) == 1


def test_a_daemon_that_is_killed_for_good_costs_no_acquisition_and_what_is_missing_is_filled_in(
    core, film, client, daemon, tmp_path
):
    try:
        with attach(core, client, {"DAPI": "cells"}, recorder=tmp_path / "run", patience_s=0.5, finish_s=1) as cells:
            heard = Heard(cells)
            run_with_trouble(core, daemon, 10, 3)
            counts = dict(cells.counts)
    finally:
        daemon.start()
    assert counts.pop("frames") == 10 == sum(counts.values()), counts
    assert sorted(event.index["t"] for _, event in heard.results) == list(range(10))
    lines = [json.loads(line) for line in (tmp_path / "run/frames.jsonl").read_text().splitlines()]
    assert len({line["image_id"] for line in lines}) == 10
    missing = [line for line in lines if "segmented" not in line]
    assert len(missing) >= 6 and all((tmp_path / "run" / line["file"]).exists() for line in missing)
    # What the run did not come to.
    done = run("segment", "--missing", tmp_path / "run/run.json", "--model", daemon.folder / "cells.onnx")
    assert "10 of 10 frames segmented" in done.stdout + done.stderr, done
    lines = [json.loads(line) for line in (tmp_path / "run/frames.jsonl").read_text().splitlines()]
    assert len({line["image_id"] for line in lines if "segmented" in line}) == 10


def test_the_live_view_shows_the_newest_frame(core, client):
    got = threading.Event()
    results = []
    with live(core, client, Options(confidence=0.3)) as view:
        view.segmented.connect(lambda result: (results.append(result), got.set()))
        core.startContinuousSequenceAcquisition(0)
        assert got.wait(30)
        core.stopSequenceAcquisition()
        got.clear()
        core.snapImage()
        assert got.wait(30)
    assert results[0].metadata["camera"] == "Camera" and results[0].shape == (512, 512)
