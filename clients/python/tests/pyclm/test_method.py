"""Our segmentation method in PyCLM: by itself, and in PyCLM's own demo on its virtual microscope."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from pyclm.demo import synthetic_cells
from pyclm.methods import entry_point_methods

from cellsegd import FrameError, Refused, Unavailable
from cellsegd.pyclm import CellsegdSegmentation, Connection

PYCLM = Path(sys.executable).with_name("pyclm")


def ready(**more):
    method = CellsegdSegmentation("cells.00", **more)
    request = method.request_resource()
    method.provide_resource(request.resource(**request.init_kwargs))
    return method


def test_pyclm_finds_the_method_by_itself():
    methods, warnings = entry_point_methods()
    assert methods.segmentation["cellsegd"] is CellsegdSegmentation and not warnings


def test_frames_become_label_images(daemon):
    method = ready(url=daemon.url, model="nuclei", confidence=0.3)
    for image in synthetic_cells(0, frames=2):
        labels = method.segment(image)
        assert labels.shape == image.shape and labels.dtype == np.int32
        # 60 cells were drawn.
        assert 40 <= labels.max() <= 70
        inside, outside = image[labels > 0].mean(), image[labels == 0].mean()
        assert inside > 2 * outside
    assert np.array_equal(method.segment(image.astype(np.float64)), labels)


def test_experiments_with_the_same_daemon_share_a_connection():
    one, other = (CellsegdSegmentation(name, model=name).request_resource() for name in ("a", "b"))
    assert one == other and one.resource is Connection
    assert one != CellsegdSegmentation("c", url="http://127.0.0.1:1").request_resource()


def test_options_come_from_a_file(daemon, tmp_path):
    (tmp_path / "strict.toml").write_text('model = "nuclei"\n[thresholds]\nconfidence = 0.999\n')
    method = ready(url=daemon.url, options=str(tmp_path / "strict.toml"))
    assert method.segment(synthetic_cells(0, frames=1)[0]).max() == 0


def test_mistakes_are_said_before_the_experiment_or_with_the_frame(daemon):
    with pytest.raises(TypeError, match="does not know confidnce"):
        CellsegdSegmentation("cells.00", confidnce=0.3)
    with pytest.raises(Refused, match="cels"):
        ready(url=daemon.url, model="cels")
    with pytest.raises(Unavailable):
        ready(url="http://127.0.0.1:9")
    method = ready(url=daemon.url)
    with pytest.raises(ValueError, match="counts from 0 to 65535"):
        method.segment(np.full((8, 8), -1.0))
    with pytest.raises(FrameError, match="failed"):
        method.segment(np.zeros((1, 40000), np.uint8))
    # The session goes on.
    assert method.segment(np.zeros((64, 64), np.uint16)).max() == 0


def run_pyclm(*arguments):
    return subprocess.run([PYCLM, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240)


def test_the_dry_demo_runs_to_its_end_with_our_cells(daemon, tmp_path):
    demo = tmp_path / "demo"
    done = run_pyclm("new", demo, "--demo")
    assert done.returncode == 0, done.stderr
    table = f'[segmentation]\nmethod = "cellsegd"\nurl = "{daemon.url}"\nmodel = "nuclei"\npixel_size_um = 1.3\nsave = true\n'
    experiment = (demo / "cells.toml").read_text()
    experiment = re.sub(r"^\[segmentation\].*?(?=^#|^\[)", table + "\n", experiment, flags=re.MULTILINE | re.DOTALL)
    (demo / "cells.toml").write_text(experiment)
    config = (demo / "pyclm_config.toml").read_text()
    (demo / "pyclm_config.toml").write_text(config.replace('methods = ["demo_methods.py"]', ""))
    schedule = (demo / "schedule.toml").read_text()
    (demo / "schedule.toml").write_text(schedule.replace("steps = 10", "steps = 3").replace("seconds = 3", "seconds = 2"))
    done = run_pyclm("run", demo, "--dry")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    status = json.loads((demo / "status.json").read_text())
    assert status["done"] and not any(status["health"]["errors"].values()), status
    # Three times the camera's frame, our labels, the pattern made of them.
    labels = zarr.open(demo / "cells.00.zarr", mode="r")["imaging/labels/segmentation/0"]
    assert labels.shape[0] == 3 and all(40 <= labels[t].max() <= 70 for t in range(3))
