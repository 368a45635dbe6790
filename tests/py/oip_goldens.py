"""Asks a real tritonserver what oip_cases.py asks, and writes data/oip/triton.json. Run by hand, on Linux, CPU only:

    pip install nvidia-pytriton tritonclient[grpc]    # in an environment of its own: it brings the server
    python tests/py/oip_goldens.py

The server's models have the tensors that cellsegd offers, with values that mean nothing: what is recorded is the shape of
answers and errors.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import pytriton
from oip_cases import Asker
from tritonclient.grpc import service_pb2

GOLDEN = Path(__file__).parent.parent / "data" / "oip" / "triton.json"
CONFIG = """
backend: "python"
max_batch_size: 0
input [ { name: "FRAME" data_type: TYPE_UINT16 dims: [ -1, -1 ] } ]
output [
  { name: "LABELS" data_type: TYPE_UINT16 dims: [ -1, -1 ] },
  { name: "BOXES" data_type: TYPE_FP32 dims: [ -1, 4 ] },
  { name: "SCORES" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "CLASSES" data_type: TYPE_UINT32 dims: [ -1 ] },
  { name: "RLE" data_type: TYPE_STRING dims: [ -1 ] },
  { name: "TRACKS" data_type: TYPE_UINT64 dims: [ -1 ] },
  { name: "COUNT" data_type: TYPE_UINT32 dims: [ 1 ] },
  { name: "CONFLUENCE" data_type: TYPE_FP64 dims: [ 1 ] }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
SEQUENCES = """
sequence_batching {
  max_sequence_idle_microseconds: 60000000
  direct {}
}
"""
MODEL = '''
import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        frame = pb.get_input_tensor_by_name(request, "FRAME").as_numpy()
        n = 3
        tensors = {
            "LABELS": np.zeros(frame.shape, np.uint16),
            "BOXES": np.zeros((n, 4), np.float32),
            "SCORES": np.zeros(n, np.float32),
            "CLASSES": np.zeros(n, np.uint32),
            "RLE": np.array([b"counts"] * n, dtype=object),
            "TRACKS": np.zeros(n, np.uint64),
            "COUNT": np.array([n], np.uint32),
            "CONFLUENCE": np.array([0.5], np.float64),
        }
        wanted = request.requested_output_names()
        return pb.InferenceResponse([pb.Tensor(name, value) for name, value in tensors.items() if name in wanted])
'''


def repository(folder: Path) -> Path:
    for name, config in [("plain", CONFIG), ("series", CONFIG + SEQUENCES)]:
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(f'name: "{name}"{config}')
        (folder / name / "1" / "model.py").write_text(MODEL)
    return folder


def server(folder: Path) -> Path:
    """The wheel's server, with the stub of this Python where the backend looks for it."""
    shipped = Path(pytriton.__file__).parent / "tritonserver"
    shutil.copytree(shipped, folder)
    stub = folder / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}" / "triton_python_backend_stub"
    shutil.copy(stub, folder / "backends" / "python")
    return folder


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as scratch:
        models, triton = repository(Path(scratch) / "models"), server(Path(scratch) / "triton")
        packages = Path(pytriton.__file__).parent.parent
        libraries = [packages / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR")]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "PYTHONPATH": str(packages),
        }
        command = [
            triton / "bin" / "tritonserver",
            f"--model-repository={models}",
            f"--backend-directory={triton / 'backends'}",
            "--allow-http=false",
            "--allow-metrics=false",
            "--disable-auto-complete-config",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={port}",
        ]
        with subprocess.Popen(command, env=environment) as running:
            try:
                asker = Asker(f"127.0.0.1:{port}", "plain", "series")
                for _ in range(120):
                    if asker.call("ServerReady", service_pb2.ServerReadyRequest()).get("answer", {}).get("ready"):
                        break
                    time.sleep(0.5)
                heard = asker.all()
            finally:
                running.terminate()
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(heard, indent=1) + "\n")
    print(f"{GOLDEN}: {len(heard)} cases")


if __name__ == "__main__":
    main()
