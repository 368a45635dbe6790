"""The daemon, and what it finds, asked by HTTP."""

import base64
import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import requests
from frames import ROOT

BIN = Path(os.environ.get("CELLSEGD_BIN", ROOT / "target/release/cellsegd")).absolute()
START_S, STOP_S, REPLY_S = 300, 60, 300


@dataclass
class Instance:
    class_index: int
    score: float
    box: np.ndarray
    mask: np.ndarray


def environment(**extra: str) -> dict[str, str]:
    """Ours, without settings that a developer's shell may carry."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CELLSEGD_")}
    return clean | extra


def run(*arguments, expect: int | None = 0, **extra: str) -> subprocess.CompletedProcess:
    """`cellsegd ARGUMENTS...` to its end; `expect` is its exit status, None for any."""
    command = [BIN, *map(str, arguments)]
    done = subprocess.run(command, env=environment(**extra), capture_output=True, text=True, timeout=1200)
    assert expect is None or done.returncode == expect, f"exit {done.returncode}, not {expect}\n{done.stdout}\n{done.stderr}"
    return done


class Daemon:
    """`cellsegd serve` on loopback with some models. As a context manager it is stopped with SIGTERM and must exit with 0."""

    def __init__(self, folder: Path, models: list[Path], **extra: str):
        folder.mkdir()
        self.served = {model.stem for model in models}
        grpc, http = free_port(), free_port()
        self.url = f"http://127.0.0.1:{http}"
        self.http = requests.Session()
        # No proxy of a developer's shell stands before the loopback.
        self.http.trust_env = False
        config = folder / "cellsegd.toml"
        listed = ", ".join(f'"{model}"' for model in models)
        config.write_text(f'http = ["tcp://127.0.0.1:{http}"]\nlisten = ["tcp://127.0.0.1:{grpc}"]\nmodels = [{listed}]\n')
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [BIN, "serve", "--config", config], env=environment(**extra), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self.wait_until_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        assert status == 0, f"exit {status} after SIGTERM:\n{self.log.read_text()}"

    def wait_until_ready(self):
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log.read_text()}"
            try:
                if self.http.get(f"{self.url}/readyz", timeout=5).ok:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.1)
        raise AssertionError(f"not ready after {START_S} s:\n{self.log.read_text()}")

    def models(self) -> dict[str, dict]:
        """What it says of each model."""
        listed = self.http.get(f"{self.url}/v1/models", timeout=REPLY_S).json()
        return {model["name"]: model for model in listed["models"]}

    def segment(self, model: str, frame: np.ndarray, confidence: float, iou: float, most: int) -> list[Instance]:
        """Masks as decoded, by the settings that ultralytics has."""
        options = {
            "model": model,
            "normalization": {"full_range": {}},
            "thresholds": {"confidence": confidence, "iou": iou, "class_agnostic": False, "max_cells": most},
            "tiling": {"mode": "MODE_OFF"},
            "outputs": {"masks": "MASK_ENCODING_BITS", "raw_masks": True},
        }
        image = cv2.imencode(".png", frame)[1].tobytes()
        files = {"image": ("frame.png", image, "image/png"), "options": (None, json.dumps(options), "application/json")}
        answer = self.http.post(f"{self.url}/v1/segment", files=files, timeout=REPLY_S)
        assert answer.ok, answer.text
        cells = answer.json()["frame"]["segmentation"]
        assert (cells["width"], cells["height"]) == frame.shape[::-1]
        return [instance(each, frame.shape) for each in cells["instances"]]

    def cpu_s(self) -> float:
        """Processor time of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def instance(each: dict, shape: tuple[int, int]) -> Instance:
    """From the contract's JSON."""
    bits, box = each["bits"], each["detected_box"]
    rows = np.frombuffer(base64.b64decode(bits["bits"]), np.uint8).reshape(bits["height"], bits["row_bytes"])
    inside = np.unpackbits(rows, axis=1, bitorder="little")[:, : bits["width"]]
    mask = np.zeros(shape, bool)
    mask[bits["y"] : bits["y"] + bits["height"], bits["x"] : bits["x"] + bits["width"]] = inside
    return Instance(each["class_index"], each["score"], np.array([box[side] for side in ("x0", "y0", "x1", "y1")]), mask)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
