"""The tiny model to test with, beside the bundled one, and frames.

CELLSEGD_BIN is the program, CELLSEGD_TINY_MODEL the tiny network that tests/py/models.py makes: tests/py/test_client.py sets both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real_daemon import BIN, BUNDLED, ROOT
from real_daemon import Daemon as RealDaemon

from cellsegd import Client

TINY = Path(os.environ.get("CELLSEGD_TINY_MODEL", "tiny.onnx")).absolute()
# With these the tiny model finds discs.
TINY_OPTIONS = {"model": "tiny", "confidence": 0.3, "iou": 0.5}


def skip(why: str) -> None:
    """Says why a test cannot run here, and fails where it was meant to."""
    if os.environ.get("CELLSEGD_REQUIRE_ALL") == "1":
        pytest.fail(f"CELLSEGD_REQUIRE_ALL=1, but: {why}")
    pytest.skip(why)


def pytest_sessionstart(session: pytest.Session) -> None:
    missing = [str(path) for path in (BIN, TINY, BUNDLED) if not path.exists()]
    if missing and not session.config.option.collectonly:
        pytest.exit(f"not there: {', '.join(missing)}; run: pytest tests/py/test_client.py", returncode=2)


class Daemon(RealDaemon):
    """With the tiny model, and the bundled one before it if asked for: that one takes a second to warm up."""

    def __init__(self, folder: Path, settings: str = "", also: tuple[str, ...] = (), bundled: bool = False) -> None:
        super().__init__(folder, [BUNDLED, TINY] if bundled else [TINY], settings, also)


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all tests that leave it as they found it."""
    with Daemon(tmp_path_factory.mktemp("daemon"), bundled=True) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.url) as client:
        yield client


def discs(width: int = 96, height: int = 64, seed: int = 0) -> np.ndarray:
    """Bright discs, soft at their edges, on a dark field: what the tiny model finds."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.zeros((height, width))
    for _ in range(5):
        cx, cy, radius = random.uniform(0, width), random.uniform(0, height), random.uniform(0.1, 0.25) * height
        image = np.maximum(image, np.clip((radius - np.hypot(x - cx, y - cy)) / (0.05 * height) + 0.5, 0, 1))
    return np.round(230 * np.clip(image * 0.95 + random.uniform(0, 0.02, image.shape), 0, 1)).astype(np.uint8)


def demo_files() -> list[Path]:
    return sorted((ROOT / "demo").glob("t*.png"))
