"""The Python client: a wheel for every system, checked, and tried with the oldest and the newest Python and packages that it takes."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from contract import ROOT
from venvs import CLIENT, client_in, pytest_in, python_of

OLDEST, NEWEST = "3.10", "3.13"
NEWEST_NEEDS = ROOT / "tests/py/requirements-client-newest.txt"
OLDEST_NEEDS = ROOT / "tests/py/requirements-client-oldest.txt"


def interpreter(version: str) -> str | None:
    """A Python of this version, if the machine has one."""
    found = [shutil.which(f"python{version}"), *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    for python in filter(None, found):
        asked = subprocess.run(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, timeout=60
        )
        if asked.stdout.strip() == version:
            return str(python)
    return None


@pytest.fixture(scope="module")
def newest() -> Path:
    """The newest Python, else the one that runs this, with the newest packages."""
    return python_of("client-newest", NEWEST_NEEDS, interpreter(NEWEST) or sys.executable)


@pytest.fixture(scope="module")
def installed(newest) -> Path:
    """A folder to import it from."""
    return client_in(newest)


@pytest.fixture(scope="module")
def wheel(installed) -> Path:
    """What it was installed from."""
    (built,) = (installed.parent / "wheel").glob("*.whl")
    return built


def run(*command, cwd: Path = ROOT, timeout: float = 600) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_client_works_with_the_newest_of_everything(newest, installed, tiny_model):
    pytest_in(newest, CLIENT / "tests/core", CELLSEGD_TINY_MODEL=str(tiny_model), PYTHONPATH=str(installed), timeout=1200)


def test_the_client_works_with_the_oldest_of_everything(installed, tiny_model):
    oldest = interpreter(OLDEST)
    if oldest is None:
        pytest.skip(f"no Python {OLDEST} here: the newest packages were tried with {sys.version.split()[0]}")
    python = python_of("client-oldest", OLDEST_NEEDS, oldest)
    # What the program makes of files that are recorded does not depend on the Python.
    less = ("-k", "not program and not export")
    pytest_in(
        python, CLIENT / "tests/core", *less, CELLSEGD_TINY_MODEL=str(tiny_model), PYTHONPATH=str(installed), timeout=1200
    )


def test_the_wheel_is_for_every_system_and_holds_what_it_should(wheel):
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    assert wheel.name == f"cellsegd-{version}-py3-none-any.whl", "the program and its client have one version"
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        metadata = next(files.read(name).decode() for name in names if name.endswith("METADATA"))
    held = {name.split("/", 1)[1] for name in names if name.startswith("cellsegd/")}
    assert {"py.typed", "segmentation.binpb", "contract.pyi", "client.py"} <= held
    # Of the contract only our own: stubs of `inference` clash with those of other clients.
    assert not [name for name in names if "inference" in name or name.endswith("_pb2.py")]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"cellsegd"}
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert {line.split()[1].split(">")[0].rstrip(";") for line in needed} == {"numpy", "grpcio", "protobuf", "tomli"}, needed


def test_what_the_package_carries_is_the_contract(tmp_path):
    """Rewritten with UPDATE_EXPECT=1."""
    update = os.environ.get("UPDATE_EXPECT") == "1"
    made = CLIENT / "cellsegd" if update else tmp_path
    run(sys.executable, CLIENT / "tools/contract.py", made)
    for name in ("segmentation.binpb", "contract.pyi"):
        assert (made / name).read_bytes() == (CLIENT / "cellsegd" / name).read_bytes(), f"{name}: run with UPDATE_EXPECT=1"


def test_types_and_style_are_checked(newest):
    mypy = ["mypy", "--cache-dir", os.devnull]
    # On Windows there is no fcntl, no memfd, no unix socket.
    windows = [*mypy, "--platform", "win32"]
    for command in (mypy, windows, ["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        run(newest, "-m", *command, cwd=CLIENT)
