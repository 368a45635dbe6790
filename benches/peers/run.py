"""cellsegd against the lean Python service: same model, same frames, same threads, same machine, taking turns.

python benches/peers/run.py [--rounds N] [--threads N]
"""

import argparse
import contextlib
import http.client
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("CELLSEGD_BIN", str(ROOT / "target/release/cellsegd"))
sys.path.insert(0, str(ROOT / "tests/py"))

from client import Session, encoded, png, raw  # noqa: E402
from contract import pb  # noqa: E402
from daemon import BUNDLED_MODEL, Daemon, free_port  # noqa: E402
from frames import demo_files, demo_frame  # noqa: E402


@contextlib.contextmanager
def python_service(threads: int):
    """The service's own process; yields a function from a PNG to the number of cells."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "benches/peers"), "service:app"]
    environment = os.environ | {"PEER_MODEL": str(BUNDLED_MODEL), "PEER_THREADS": str(threads)}
    # Others take their turns between two of its frames.
    patience = ["--timeout-keep-alive", "600"]
    command += ["--port", str(port), "--log-level", "warning", *patience]
    process = subprocess.Popen(command, env=environment)
    try:
        yield keep_alive(port, process)
    finally:
        process.terminate()
        process.wait(30)


def keep_alive(port: int, process: subprocess.Popen):
    until = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.connect()
            break
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.1)

    def segment(file: bytes) -> int:
        connection.request("POST", "/segment", body=file, headers={"Content-Type": "image/png"})
        answer = connection.getresponse()
        cells = json.loads(answer.read())
        assert answer.status == 200, cells
        return len(cells)

    return segment


def cellsegd(stack: contextlib.ExitStack, folder: Path, engine: str, threads: int):
    """Yields a function from a frame to the number of cells: one open stream, rings as answer."""
    settings = f'models = ["{BUNDLED_MODEL}"]\n[engine]\nkind = "{engine}"\nthreads = {threads}\n'
    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    daemon = stack.enter_context(Daemon(folder / engine, settings, ORT_DYLIB_PATH=str(library)))
    session = stack.enter_context(
        Session(daemon, outputs=pb.Outputs(masks=pb.MASK_ENCODING_RINGS), timeout_s=24 * 3600)
    )
    return lambda frame: len(session.segment(frame).segmentation.instances)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=30, help="times that each one segments every demo frame")
    arguments.add_argument("--threads", type=int, default=max((os.cpu_count() or 2) - 1, 1), help="of each engine")
    options = arguments.parse_args()

    images = [demo_frame(i) for i in range(len(demo_files()))]
    files = [png(image) for image in images]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        service = stack.enter_context(python_service(options.threads))
        ours = {engine: cellsegd(stack, folder, engine, options.threads) for engine in ("onnxruntime", "rten")}
        peers = {"FastAPI + onnxruntime, PNG": (service, files)}
        for engine, segment in ours.items():
            peers[f"cellsegd {engine}, PNG"] = (segment, [encoded(file) for file in files])
            peers[f"cellsegd {engine}, Mono16"] = (segment, [raw(image) for image in images])
        report(*measure(peers, options.rounds), options)


def measure(peers: dict, rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Milliseconds of every frame, and cells of all frames together. The order of the peers changes from round to round."""
    times = {name: [] for name in peers}
    cells = dict.fromkeys(peers, 0)
    for name, (segment, inputs) in peers.items():
        cells[name] = sum(segment(each) for each in inputs)  # also the warm-up
    orders = itertools.cycle(itertools.permutations(peers))
    for order in itertools.islice(orders, 0, rounds * 7, 7):
        for i in range(len(next(iter(peers.values()))[1])):
            for name in order:
                segment, inputs = peers[name]
                began = time.perf_counter()
                segment(inputs[i])
                times[name].append((time.perf_counter() - began) * 1e3)
    return times, cells


def report(times: dict[str, list[float]], cells: dict[str, int], options):
    first = np.percentile(next(iter(times.values())), [50, 95])
    print(f"{options.threads} thread(s) an engine, {len(next(iter(times.values())))} frames each, taking turns\n")
    print("| peer | p50 ms | p95 ms | p50 of the first | p95 of the first | cells in all |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, values in times.items():
        p50, p95 = np.percentile(values, [50, 95])
        print(f"| {name} | {p50:.1f} | {p95:.1f} | {p50 / first[0]:.2f} | {p95 / first[1]:.2f} | {cells[name]} |")


if __name__ == "__main__":
    main()
