"""Fixtures. Binaries are built before (`make check` does); every wait has an end."""

import os
from pathlib import Path

import onnxruntime
import pytest
from daemon import BIN, BUNDLED_MODEL, STAGES, Daemon
from models import tiny


def pytest_sessionstart(session):
    missing = [str(path) for path in (BIN, STAGES) if not path.exists()]
    if missing and not session.config.option.collectonly:
        pytest.exit(f"not built: {', '.join(missing)}; run: cargo build --bins --examples", returncode=2)


def skip(why: str):
    """Says why a test cannot run here, and fails where it was meant to."""
    if os.environ.get("CELLSEGD_REQUIRE_ALL") == "1":
        pytest.fail(f"CELLSEGD_REQUIRE_ALL=1, but: {why}")
    pytest.skip(why)


@pytest.fixture(scope="session")
def onnxruntime_library() -> str:
    """The library that the wheel carries."""
    found = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if not found:
        skip("this onnxruntime wheel carries no libonnxruntime.so")
    return str(found[0])


@pytest.fixture(scope="session", params=["rten", "onnxruntime"])
def engine(request) -> dict[str, str]:
    """The environment that chooses an engine."""
    chosen = {"CELLSEGD_ENGINE__KIND": request.param}
    if request.param == "onnxruntime":
        chosen["ORT_DYLIB_PATH"] = request.getfixturevalue("onnxruntime_library")
    return chosen


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    return tiny(tmp_path_factory.mktemp("models") / "tiny.onnx")


@pytest.fixture(scope="session")
def tiny_end_to_end(tmp_path_factory) -> Path:
    return tiny(tmp_path_factory.mktemp("models") / "tiny_e2e.onnx", end_to_end=True)


@pytest.fixture(scope="session")
def settings(tiny_model) -> str:
    """The bundled model first, then the tiny one; the embedded engine."""
    return f'models = ["{BUNDLED_MODEL}", "{tiny_model}"]\n[engine]\nkind = "rten"\n'


@pytest.fixture(scope="session")
def daemon(tmp_path_factory, settings) -> Daemon:
    """One daemon for all tests that leave it as they found it."""
    with Daemon(tmp_path_factory.mktemp("daemon"), settings, unix=True) as daemon:
        yield daemon
