"""A daemon with fake lanes, watched from outside: memory, open files, processor time, and the good session's latency."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
from h2 import pb
from contract import ROOT, rpc
from daemon import TARGET, environment, free_port
from grpc_health.v1 import health_pb2, health_pb2_grpc

FAKE_DAEMON = Path(os.environ.get("CELLSEGD_FAKE_DAEMON", TARGET / "debug/examples/fake_daemon")).absolute()
MS_PER_FRAME = 10
START_S = 60


class Watched:
    """`fake_daemon` with `settings`, and one good session on it."""

    def __init__(self, folder: Path, settings: str = "", log=None, **extra: str):
        self.address = f"127.0.0.1:{free_port()}"
        self.folder = folder
        config = folder / "settings.toml"
        config.write_text(f'listen = ["tcp://{self.address}"]\n{settings}')
        self.log = folder / "log"
        with log or self.log.open("w") as output:
            self.process = subprocess.Popen(
                [FAKE_DAEMON, config, str(MS_PER_FRAME)],
                env=environment(**extra),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.pid = self.process.pid
        self._wait_until_serving()
        self.times = folder / "good"
        self.good = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("good.py"), self.address, self.times],
            stderr=(folder / "good.log").open("w"),
        )

    def _wait_until_serving(self):
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log}"
            try:
                self.check()
                return
            except grpc.RpcError:
                time.sleep(0.1)
        raise AssertionError(f"not serving after {START_S} s")

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)])

    def check(self):
        """A stranger's question, on a connection of its own."""
        with self.channel() as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

    def segment_one(self):
        """A new client is served."""
        pixels = pb.RawPixels(format=pb.PIXEL_FORMAT_MONO8, width=64, height=64, data=bytes(4096))
        with self.channel() as channel:
            request = pb.SegmentRequest(frame=pb.Frame(id=7, raw=pixels))
            reply = rpc.SegmenterStub(channel).Segment(request, timeout=30)
        assert reply.frame.id == 7 and len(reply.frame.segmentation.instances) == 9, reply

    def rss_mib(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS: has the daemon ended?")

    def fds(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def limit_files(self, n: int) -> tuple[int, int]:
        return resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (n, resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[1]))

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def latencies_ms(self, start: float, end: float) -> list[float]:
        """Of the good session's frames sent between two times of the monotonic clock, sorted."""
        assert self.good.poll() is None, f"the good session broke: {(self.folder / 'good.log').read_text()}"
        lines = [line.split() for line in self.times.read_text().splitlines()]
        return sorted(float(ms) for sent, ms in (line for line in lines if len(line) == 2) if start <= float(sent) < end)

    def stop(self):
        """SIGTERM, which must end it with 0; the good session is cut off by that."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(40)
        finally:
            self.process.kill()
            self.good.kill()
            self.good.wait()
        assert status == 0, f"exit {status} after SIGTERM: {self.log}"

    def kill(self):
        for process in (self.process, self.good):
            process.kill()
            process.wait()


def percentile(sorted_values: list[float], q: float) -> float:
    assert sorted_values, "no frame was answered"
    return sorted_values[min(len(sorted_values) - 1, int(q * len(sorted_values)))]


__all__ = ["MS_PER_FRAME", "ROOT", "Watched", "percentile"]
