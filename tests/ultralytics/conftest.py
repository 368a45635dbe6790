"""Networks, made once; a daemon for each engine that serves all of them."""

from pathlib import Path

import onnxruntime
import pytest
from ours import Daemon
from theirs import Ultralytics

# Of each export, its network and how it differs from ultralytics' defaults.
EXPORTS = {
    "yolov8n": ("yolov8n-seg", {}),
    "yolov9c": ("yolov9c-seg", {}),
    "yolo11n": ("yolo11n-seg", {}),
    "yolo11n_dynamic": ("yolo11n-seg", {"dynamic": True}),
    # The graph's own suppression, with the thresholds that it was exported with.
    "yolo11n_nms": ("yolo11n-seg", {"nms": True}),
    "yolo26n": ("yolo26n-seg", {}),
    # One box a cell: no suppression.
    "yolo26n_end_to_end": ("yolo26n-seg", {"nms": False}),
}
TRAINED = {"trained": {}, "trained_half": {"quantize": 16}}
# Steps of four quarters; a few minutes on two cores.
EPOCHS = 60


@pytest.fixture(scope="session")
def ultralytics(tmp_path_factory) -> Ultralytics:
    return Ultralytics(tmp_path_factory.mktemp("ultralytics"))


@pytest.fixture(scope="session")
def exports(ultralytics) -> dict[str, Path]:
    """Of weights that nothing was trained with."""
    weights = {network: ultralytics.untrained(network) for network, _ in EXPORTS.values()}
    return {name: ultralytics.exported(weights[network], name, **options) for name, (network, options) in EXPORTS.items()}


@pytest.fixture(scope="session")
def trained(ultralytics) -> Path:
    """Weights of yolov8n-seg that find cells."""
    return ultralytics.trained("yolov8n-seg", EPOCHS)


@pytest.fixture(scope="session")
def trained_exports(ultralytics, trained) -> dict[str, Path]:
    """In half precision only of weights that were trained: what random ones see changes with the last bit of a half."""
    return {name: ultralytics.exported(trained, name, **options) for name, options in TRAINED.items()}


@pytest.fixture(scope="session")
def onnxruntime_library() -> str:
    """The library that the wheel carries."""
    (found,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    return str(found)


@pytest.fixture(scope="session", params=["onnxruntime", "rten"])
def daemon(request, tmp_path_factory, exports, trained_exports, onnxruntime_library) -> Daemon:
    # The embedded engine refuses it.
    models = [model for name, model in exports.items() if request.param == "onnxruntime" or name != "yolo11n_nms"]
    models.extend(trained_exports.values())
    extra = {"CELLSEGD_ENGINE__KIND": request.param, "ORT_DYLIB_PATH": onnxruntime_library}
    with Daemon(tmp_path_factory.mktemp("daemon") / request.param, models, **extra) as daemon:
        yield daemon
