"""A daemon to test against, on loopback, of the binary CELLSEGD_BIN. Every wait has an end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cellsegd import Client, Unavailable

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(os.environ.get("CELLSEGD_BIN", ROOT / "target/debug/cellsegd")).absolute()
BUNDLED = ROOT / "engines/cells_640.onnx"
START_S, STOP_S = 120, 60


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

    def __init__(self, folder: Path, models: Sequence[Path], settings: str = "", also: tuple[str, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        self.folder = folder
        self.socket = folder / "s"
        self.unix = f"unix://{self.socket}"
        self._config = folder / "cellsegd.toml"
        listen = [self.url, *([self.unix] if sys.platform != "win32" else []), *also]
        self._config.write_text(f'listen = {listen}\nmodels = {[*map(str, models)]}\n[engine]\nkind = "rten"\n{settings}')
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
        """As a crash does."""
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
    """The bundled model under two names, for programs that use several."""
    folder = tmp_path_factory.mktemp("daemon")
    models = [folder / f"{name}.onnx" for name in ("cells", "nuclei")]
    for model in models:
        shutil.copy(BUNDLED, model)
        manifest = BUNDLED.with_suffix(".toml").read_text().replace(BUNDLED.stem, model.stem)
        model.with_suffix(".toml").write_text(manifest)
    with Daemon(folder, models) as daemon:
        yield daemon
        daemon.stop()
