"""A daemon to test against: started, waited for, stopped, and its end checked."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import grpc
from contract import ROOT, rpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BIN = Path(os.environ.get("CELLSEGD_BIN", TARGET / "debug/cellsegd")).absolute()
STAGES = Path(os.environ.get("CELLSEGD_STAGES", TARGET / "debug/examples/stages")).absolute()
BUNDLED_MODEL = ROOT / "engines/cells_640.onnx"

START_S = 120
STOP_S = 60
# Larger than any frame of the tests; replies are small.
CHANNEL_OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", -1)]


def environment(**extra: str) -> dict[str, str]:
    """Ours, without settings that a developer's shell may carry."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CELLSEGD_")}
    return clean | extra


def run(*arguments, expect: int | None = 0, timeout: float = 600, **extra: str) -> subprocess.CompletedProcess:
    """Runs `cellsegd ARGUMENTS...` to its end; `expect` is its exit status, None for any."""
    done = subprocess.run(
        [BIN, *map(str, arguments)],
        env=environment(**extra),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if expect is not None:
        assert done.returncode == expect, f"exit {done.returncode}, not {expect}\n{done.stdout}\n{done.stderr}"
    return done


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Daemon:
    """`cellsegd serve` on loopback. As a context manager it is stopped with SIGTERM and must exit with 0."""

    def __init__(self, folder: Path, settings: str = "", unix: bool = False, also: tuple[str, ...] = (), **extra: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.address = f"127.0.0.1:{free_port()}"
        listen = [f"tcp://{self.address}", *also]
        self.socket = folder / "s"
        if unix:
            listen.append(f"unix://{self.socket}")
        config = folder / "cellsegd.toml"
        config.write_text(settings)
        self.log = folder / "log"
        self.terminated = False
        command = [BIN, "serve", "--config", config]
        for each in listen:
            command += ["--listen", each]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, env=environment(**extra), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_serving()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure:
            self.process.kill()
            self.process.wait()
        else:
            self.stop()

    def _wait_until_serving(self):
        until = time.monotonic() + START_S
        with self.channel() as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < until:
                assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log.read_text()}"
                try:
                    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                except grpc.RpcError:
                    pass
                time.sleep(0.05)
        raise AssertionError(f"not SERVING after {START_S} s:\n{self.log.read_text()}")

    def channel(self, target: str | None = None) -> grpc.Channel:
        # Each channel its own connection: the global subchannel pool would share one.
        options = [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100)]
        if target and target.startswith("unix:"):
            # grpcio names the socket's path as authority, which is no authority, and HTTP/2 servers refuse it.
            options.append(("grpc.default_authority", "localhost"))
        return grpc.insecure_channel(target or self.address, options=options)

    def stub(self, channel: grpc.Channel | None = None) -> rpc.SegmenterStub:
        return rpc.SegmenterStub(channel or self.channel())

    def rss(self) -> int:
        """Resident memory, bytes."""
        return self._memory("VmRSS:")

    def peak_rss(self) -> int:
        """Resident memory at its most since the start, bytes."""
        return self._memory("VmHWM:")

    def _memory(self, key: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {key} has the daemon ended?")

    def terminate(self):
        """Ask it to end, once: a second SIGTERM would end it at once, with exit 1 and frames in flight lost."""
        if not self.terminated:
            self.terminated = True
            self.process.send_signal(signal.SIGTERM)

    def stop(self):
        if self.process.poll() is None:
            self.terminate()
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still there {STOP_S} s after SIGTERM:\n{self.log.read_text()}") from None
        assert status == 0, f"exit {status} after SIGTERM:\n{self.log.read_text()}"
