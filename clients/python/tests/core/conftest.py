"""A daemon to test against, on loopback. Every wait has an end.

CELLSEGD_BIN is the program, CELLSEGD_TINY_MODEL the tiny network that tests/py/models.py makes: tests/py/test_client.py sets both.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cellsegd import Client, Unavailable

ROOT = Path(__file__).resolve().parents[4]
BIN = Path(os.environ.get("CELLSEGD_BIN", ROOT / "target/debug/cellsegd")).absolute()
TINY = Path(os.environ.get("CELLSEGD_TINY_MODEL", "tiny.onnx")).absolute()
BUNDLED = ROOT / "engines/cell_pilot_640.onnx"
START_S, STOP_S = 120, 60
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


def environment() -> dict[str, str]:
    """Ours, without settings that a developer's shell may carry."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CELLSEGD_")}


def run(*arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs `cellsegd ARGUMENTS...` to its end."""
    command = [str(BIN), *map(str, arguments)]
    done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert done.returncode == expect, f"exit {done.returncode}, not {expect}\n{done.stdout}\n{done.stderr}"
    return done


class Daemon:
    """`cellsegd serve`, which can be killed and started again at the same address."""

    def __init__(self, folder: Path, settings: str = "", also: tuple[str, ...] = (), bundled: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        self.socket = folder / "s"
        self.unix = f"unix://{self.socket}"
        self._config = folder / "cellsegd.toml"
        listen = [self.url, *([self.unix] if sys.platform != "win32" else []), *also]
        # The bundled model takes a second to warm up.
        models = [str(BUNDLED), str(TINY)] if bundled else [str(TINY)]
        self._config.write_text(f'listen = {listen}\nmodels = {models}\n[engine]\nkind = "rten"\n{settings}')
        self.log = folder / "log"
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            command = [BIN, "serve", "--config", self._config]
            self.process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + START_S
        with Client(self.url, timeout_s=5) as client:
            while True:
                assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log.read_text()}"
                assert time.monotonic() < until, f"no answer after {START_S} s:\n{self.log.read_text()}"
                try:
                    client.models()
                    return
                except Unavailable:
                    time.sleep(0.05)

    def pause(self) -> None:
        """Frames that are sent now stay unanswered."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After a pause."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_S)

    def terminate(self) -> None:
        self.process.terminate()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


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
