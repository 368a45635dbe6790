"""Writes what the package carries of the contract: its descriptor, and the names in it for type checkers.

Run with grpcio-tools in the repository: python clients/python/tools/contract.py [FOLDER]
"""

import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[3] / "proto"
NAME = "cellseg/v1/segmentation"


def write(folder: Path) -> None:
    """`segmentation.binpb` and `contract.pyi` in `folder`."""
    shutil.copyfile(PROTO / f"{NAME}.binpb", folder / "segmentation.binpb")
    well_known = Path(protoc.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as made:
        arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--pyi_out={made}", f"{PROTO / NAME}.proto"]
        if protoc.main(arguments) != 0:
            raise SystemExit("proto/ does not compile")
        shutil.copyfile(Path(made) / f"{NAME}_pb2.pyi", folder / "contract.pyi")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "cellsegd")
