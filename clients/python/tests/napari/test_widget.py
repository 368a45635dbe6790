"""The widget in a real viewer, against a real daemon."""

import numpy as np
import pytest
from film import DIVIDES_AT, SIDE, frame
from npe2 import PluginManager, PluginManifest

from cellsegd import Client, Options


@pytest.fixture
def widget(viewer):
    _, widget = viewer.window.add_plugin_dock_widget("cellsegd", "Find cells")
    yield widget
    widget.close()


@pytest.fixture
def connected(widget, daemon, wait):
    widget.form.url.setText(daemon.url)
    widget.form.connect_button.click()
    wait(lambda: widget.form.model.count() == 2)
    return widget


@pytest.fixture
def film(viewer):
    return viewer.add_image(np.stack([frame(t) for t in range(6)]), name="film")


def status(widget):
    return widget.form.status.text()


def test_napari_finds_the_plugin_by_its_manifest():
    manifest = PluginManifest.from_distribution("cellsegd")
    manifest.validate_imports()
    manager = PluginManager.instance()
    manager.discover()
    assert "cellsegd" in {each.name for each in manager.iter_manifests()}


def test_the_models_of_the_daemon_are_offered(connected):
    assert [connected.form.model.itemText(i) for i in range(2)] == ["cells", "nuclei"]
    assert status(connected) == "connected: cells, nuclei"


def test_the_frame_that_is_shown_is_segmented(connected, viewer, film, wait):
    viewer.dims.set_current_step(0, 2)
    connected.form.pixel_size.setValue(0.65)
    connected.form.frame_button.click()
    wait(lambda: "cells" in viewer.layers)
    layer = viewer.layers["cells"]
    assert layer.data.shape == (6, SIDE, SIDE)
    assert len(np.unique(layer.data[2])) == 15 and not layer.data[[0, 1, 3, 4, 5]].any()
    wait(lambda: status(connected).startswith("14 of 14 cells in "))


def test_a_stack_is_followed_and_drawn_in_place_by_track(connected, viewer, film, wait):
    connected.form.track.setChecked(True)
    connected.form.stack_button.click()
    wait(lambda: len(connected._results) == 6)
    layer = viewer.layers["cells"]
    data = layer.data
    ids = [set(np.unique(data[t])) - {0} for t in range(6)]
    assert all(ids[t] == ids[0] for t in range(DIVIDES_AT)) and len(ids[0]) == 14
    # A mother went, two daughters came.
    assert len(ids[0] - ids[DIVIDES_AT]) == 1 and len(ids[DIVIDES_AT] - ids[0]) == 2
    connected.form.stack_button.click()
    wait(lambda: len(connected._results) == 6)
    assert viewer.layers["cells"] is layer and layer.data is data and len(viewer.layers) == 2


def test_the_slider_filters_what_is_here_and_apply_asks_the_daemon(connected, viewer, film, daemon, wait):
    form = connected.form
    form.confidence.setValue(30)
    form.frame_button.click()
    wait(lambda: len(connected._results) == 1)
    ((place, result),) = connected._results.items()
    scores = sorted(cell.score for cell in result.cells)
    between = round(100 * (scores[4] + scores[5]) / 2)
    form.confidence.setValue(between)
    above = sum(score > between / 100 for score in scores)
    assert 0 < above < 14
    assert len(np.unique(viewer.layers["cells"].data[place])) == above + 1
    assert status(connected) == f"{above} of 14 cells"
    form.confidence.setValue(0)
    assert status(connected).startswith("cells below 0.30 were not sent")
    # All are back.
    assert len(np.unique(viewer.layers["cells"].data[place])) == 15

    form.confidence.setValue(between)
    form.apply_button.click()
    wait(lambda: status(connected).startswith("confidence is"))
    session = connected.desk._session
    form.frame_button.click()
    wait(lambda: next(iter(connected._results.values())) is not result)
    assert connected.desk._session is session, "the same session, with another revision"
    (again,) = connected._results.values()
    assert len(again.cells) == above and again.revision == 2


def test_a_confidence_that_is_refused_is_not_said_to_hold(connected, viewer, film, wait):
    connected.form.frame_button.click()
    wait(lambda: len(connected._results) == 1)
    done = []
    connected.desk.done.connect(done.append)
    # The slider has no such value.
    connected.desk.update(7.0)
    wait(lambda: status(connected).startswith("confidence stays as it was"))
    assert "7" in status(connected) and not done


def test_save_writes_what_the_client_reads(connected, tmp_path):
    form = connected.form
    form.model.setCurrentText("nuclei")
    form.confidence.setValue(42)
    form.track.setChecked(True)
    connected.save(tmp_path / "options.toml")
    assert status(connected) == f"saved {tmp_path / 'options.toml'}"
    options = Options.load(tmp_path / "options.toml")
    assert (options.model, options.confidence, bool(options.track)) == ("nuclei", 0.42, True)
    form.model.setCurrentText("cells")
    form.confidence.setValue(10)
    form.track.setChecked(False)
    connected.load(tmp_path / "options.toml")
    assert (form.model.currentText(), form.confidence.value(), form.track.isChecked()) == ("nuclei", 42, True)
    # What the form has no place for stays.
    (tmp_path / "more.toml").write_text("[thresholds]\nmin_area_px = 50\n")
    connected.load(tmp_path / "more.toml")
    assert connected.options().min_area_px == 50
    connected.load(tmp_path / "none.toml")
    assert "none.toml" in status(connected) and "color" in form.status.styleSheet()


def test_mistakes_are_said_in_the_status_line(widget, viewer, film, daemon, wait):
    widget.form.frame_button.click()
    wait(lambda: "press Connect first" in status(widget))
    widget.form.url.setText("localhost:50051")
    widget.form.connect_button.click()
    wait(lambda: "unix:///PATH" in status(widget))
    widget.form.url.setText("http://127.0.0.1:9")
    widget.form.connect_button.click()
    wait(lambda: "no daemon answers" in status(widget))
    widget.form.url.setText(daemon.url)
    widget.form.connect_button.click()
    wait(lambda: widget.form.model.count() == 2)
    viewer.layers.clear()
    viewer.add_image(np.random.default_rng(0).random((64, 64)), name="fractions")
    widget.form.frame_button.click()
    wait(lambda: "camera counts from 0 to 65535 are right" in status(widget))


@pytest.mark.parametrize("pixels", [np.uint8, np.int64, np.float32, "rgb", "rgba"])
def test_layers_of_counts_are_taken_whatever_their_type(connected, viewer, wait, pixels):
    image = frame(0)
    if pixels in ("rgb", "rgba"):
        viewer.add_image(np.repeat(image[..., None] // 16, len(pixels), axis=2).astype(np.uint8), rgb=True, name="image")
    else:
        viewer.add_image((image // 16 if pixels is np.uint8 else image).astype(pixels), name="image")
    connected.form.frame_button.click()
    wait(lambda: "cells" in viewer.layers)
    assert len(np.unique(viewer.layers["cells"].data)) == 15


def test_a_daemon_that_dies_is_said_and_the_window_goes_on(connected, viewer, film, daemon, wait):
    connected.form.frame_button.click()
    wait(lambda: "cells" in viewer.layers)
    daemon.kill()
    daemon.start()
    with Client(daemon.url) as client:
        assert client.models()
    viewer.dims.set_current_step(0, 1)
    connected.form.frame_button.click()
    wait(lambda: (1,) in connected._results)


def test_acquisitions_of_a_core_in_this_process_are_shown(connected, viewer, wait):
    import mm_test_adapters
    import useq
    from film import FilmEngine
    from pymmcore_plus import CMMCorePlus

    core = CMMCorePlus.instance()
    adapters = mm_test_adapters.device_adapter_path()
    core.setDeviceAdapterSearchPaths([adapters])
    core.loadSystemConfiguration(f"{adapters}/MMConfig_demo.cfg")
    core.mda.set_engine(FilmEngine(core, use_hardware_sequencing=False))
    try:
        form = connected.form
        form.source.setCurrentText("Micro-Manager: acquisitions")
        form.channels.setText("DAPI: nuclei, FITC: off DAPI")
        form.stack_button.click()
        wait(lambda: "off DAPI" in status(connected), 10, lambda: status(connected))
        form.channels.setText("DAPI: nuclei, FITC: on DAPI")
        form.stack_button.click()
        wait(lambda: status(connected).startswith("listening"))
        run = core.run_mda(useq.MDASequence(channels=["DAPI", "FITC"], time_plan={"interval": 0.1, "loops": 2}))
        wait(lambda: "cells" in viewer.layers and not run.is_alive())
        wait(lambda: len(np.unique(viewer.layers["cells"].data)) == 15)
        run = core.run_mda(useq.MDASequence(channels=["DAPI", "Cy5"]))
        wait(lambda: "nothing was said of Cy5" in status(connected) and not run.is_alive())
        form.stop_button.click()
        wait(lambda: "no longer listening" in status(connected))
    finally:
        core.reset()
        # Its own thread, which tells what is left, must be gone before the interpreter is.
        super(CMMCorePlus, core).registerCallback(None)
