"""The contract as a stranger gets it: stubs generated from proto/ into a temporary folder."""

import atexit
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]


def _generate() -> str:
    out = tempfile.mkdtemp(prefix="cellseg-stubs-")
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    well_known = resources.files("grpc_tools") / "_proto"
    arguments = [
        "protoc",
        f"-I{ROOT / 'proto'}",
        f"-I{well_known}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        str(ROOT / "proto/cellseg/v1/segmentation.proto"),
    ]
    assert protoc.main(arguments) == 0, "proto/ does not compile"
    return out


STUBS = _generate()
sys.path.insert(0, STUBS)

from cellseg.v1 import segmentation_pb2 as pb  # noqa: E402
from cellseg.v1 import segmentation_pb2_grpc as rpc  # noqa: E402

__all__ = ["ROOT", "STUBS", "pb", "rpc"]
