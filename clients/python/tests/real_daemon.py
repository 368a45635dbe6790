"""A daemon of the binary that was built, on loopback, for tests that live in other programs' environments."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from cellsegd import Client, Unavailable

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(os.environ.get("CELLSEGD_BIN", ROOT / "target/debug/cellsegd"))
MODEL = ROOT / "engines/cell_pilot_640.onnx"
START_S = 120
STOP_S = 60


class RealDaemon:
    """`cellsegd serve` with the bundled model, under its own name and under another."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="cellsegd-test-"))
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        for name in ("cells", "nuclei"):
            shutil.copy(MODEL, self.folder / f"{name}.onnx")
            manifest = MODEL.with_suffix(".toml").read_text().replace("cell_pilot_640", name)
            (self.folder / f"{name}.toml").write_text(manifest)
        self.process = None
        self.start()

    def start(self):
        """On the same port as before."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CELLSEGD_")}
        config = self.folder / "cellsegd.toml"
        config.write_text(f'models = ["{self.folder}/cells.onnx", "{self.folder}/nuclei.onnx"]\n[engine]\nkind = "rten"\n')
        command = [BIN, "serve", "--config", config, "--listen", f"tcp://127.0.0.1:{self.port}"]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(command, env=clean, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + START_S
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            try:
                with Client(self.url, timeout_s=5) as client:
                    client.models()
                return
            except Unavailable:
                assert time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.1)

    def kill(self):
        """As a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_S)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *arguments):
        """`cellsegd ARGUMENTS...` to its end; what it said."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CELLSEGD_")}
        done = subprocess.run(
            [BIN, *map(str, arguments)], env=clean, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr
