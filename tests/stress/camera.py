"""Whether an acquisition keeps its pace beside a busy daemon: a camera with a 50 ms clock, on the same machine as lanes that never
rest. The camera process waits for its clock, copies an 8 MiB frame as a driver does, and notes when it was done.

`tools/stress --camera`; by itself, `python camera.py SECONDS` is the camera and prints the times.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
from daemon_under_test import ROOT, percentile
from daemon import BIN, BUNDLED_MODEL, environment, free_port
from h2 import pb
from contract import rpc

CLOCK_S = 0.05
# As the unit starts the daemon.
NICE = 5
FRAME_BYTES = 2048 * 2048 * 2


def camera(seconds: float):
    source, target = bytes(FRAME_BYTES), bytearray(FRAME_BYTES)
    tick = time.monotonic()
    for _ in range(int(seconds / CLOCK_S)):
        tick += CLOCK_S
        time.sleep(max(0.0, tick - time.monotonic()))
        target[:] = source
        print(time.monotonic())


def spacing_ms(seconds: float) -> list[float]:
    """Between frames of a camera that runs now, sorted."""
    done = subprocess.run([sys.executable, __file__, str(seconds)], capture_output=True, text=True, check=True)
    times = [float(line) for line in done.stdout.split()]
    return sorted(1e3 * (b - a) for a, b in zip(times, times[1:]))


class BusyDaemon:
    """`cellsegd serve` with a lane a core, each with a frame of the bundled model at all times."""

    def __init__(self, folder: Path, nice: int):
        cores = os.cpu_count() or 1
        self.address = f"127.0.0.1:{free_port()}"
        config = folder / f"camera-{nice}.toml"
        config.write_text(
            f'listen = ["tcp://{self.address}"]\nmodels = ["{BUNDLED_MODEL}"]\nlanes = {cores}\n[engine]\nkind = "rten"\nthreads = 1\n'
        )
        self._process = subprocess.Popen(
            ["nice", "-n", str(nice), BIN, "serve", "--config", config],
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=(folder / f"camera-{nice}.log").open("w"),
        )
        self.segmented = 0
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._client) for _ in range(cores)]
        for client in self._clients:
            client.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        for client in self._clients:
            client.join()
        self._process.terminate()
        self._process.wait()

    def _client(self):
        """Two frames in flight: one runs, one waits, so that no lane is ever idle."""
        file = pb.EncodedImage(data=(ROOT / "demo/t01.png").read_bytes())
        frame = lambda id: pb.StreamRequest(frame=pb.Frame(id=id, encoded=file))
        with grpc.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            grpc.channel_ready_future(channel).result(60)
            ahead = threading.Semaphore(2)

            def requests():
                yield pb.StreamRequest(open=pb.SessionOptions())
                id = 0
                while not self._over.is_set():
                    if ahead.acquire(timeout=0.2):
                        yield frame(id)
                        id += 1

            for reply in rpc.SegmenterStub(channel).Stream(requests()):
                if reply.WhichOneof("reply") == "frame":
                    assert reply.frame.WhichOneof("outcome") == "segmentation", reply
                    self.segmented += 1
                    ahead.release()


def table(folder: Path, seconds: float) -> str:
    rows = [("no daemon", spacing_ms(seconds), 0)]
    for nice in (NICE, 0):
        with BusyDaemon(folder, nice) as daemon:
            while daemon.segmented < 4:
                time.sleep(0.1)
            before = daemon.segmented
            rows.append((f"all lanes busy, nice {nice}", spacing_ms(seconds), daemon.segmented - before))
    lines = ["| beside the camera | frames segmented | p1 | p50 | p99 | longest |", "|---|--:|--:|--:|--:|--:|"]
    for name, spacing, segmented in rows:
        numbers = [percentile(spacing, q) for q in (0.01, 0.5, 0.99)] + [spacing[-1]]
        lines.append(f"| {name} | {segmented} | " + " | ".join(f"{number:.1f}" for number in numbers) + " |")
    head = f"Between frames of a camera with a 50 ms clock, ms; {seconds:.0f} s each, {os.cpu_count()} cores, a lane each.\n\n"
    return head + "\n".join(lines) + "\n"


if __name__ == "__main__":
    camera(float(sys.argv[1]))
