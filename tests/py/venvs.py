"""Environments of their own for what a client lives in: kept under target, made anew when their requirements change."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import skip
from contract import ROOT
from daemon import BIN, TARGET

CLIENT = ROOT / "clients/python"
REQUIREMENTS = ROOT / "tests/py"
INSTALL_S = 900


def python_of(name: str, requirements: Path | None = None, python: str = sys.executable) -> Path:
    """The interpreter of the environment `name`; the test is skipped where it cannot be made."""
    requirements = requirements or REQUIREMENTS / f"requirements-{name}.txt"
    folder = TARGET / "venvs" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    interpreter = folder / "bin/python"
    with (folder.parent / f"{name}.lock").open("w") as lock:
        # Tests run side by side: one makes it, the others wait.
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "made-of"
        wanted = f"{python}\n{requirements.read_text()}"
        if made.exists() and made.read_text() == wanted:
            return interpreter
        shutil.rmtree(folder, ignore_errors=True)
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
        for command in ([python, "-m", "venv", folder], [*pip, "-r", requirements]):
            done = subprocess.run(
                [*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_S
            )
            if done.returncode != 0:
                shutil.rmtree(folder, ignore_errors=True)
                skip(f"no environment for {requirements.name}: {(done.stderr or done.stdout).strip()[-500:]}")
        made.write_text(wanted)
    return interpreter


def client_in(interpreter: Path, folder: Path) -> Path:
    """The client as it is installed, in a folder to import it from: its wheel, with what other programs find it by."""
    pip = [interpreter, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheels, installed = folder / "wheel", folder / "installed"
    # Built from a copy: builders leave things beside the sources, and tests run side by side.
    sources = shutil.copytree(CLIENT, folder / "sources", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    for command in (
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, sources],
        [*pip, "install", "--no-deps", "--no-index", "--find-links", wheels, "--target", installed, "cellsegd"],
    ):
        done = subprocess.run(
            [*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_S
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return installed


def pytest_in(interpreter: Path, folder: Path, *arguments: str, timeout: float = 600, **extra: str) -> str:
    """Runs the tests of a folder in another environment, against the same daemon's binary; what they said if all passed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"CELLSEGD_BIN": str(BIN), "PYTHONPATH": str(CLIENT), "PYTHONDONTWRITEBYTECODE": "1", **extra}
    done = subprocess.run(
        [interpreter, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", f"--rootdir={folder}", folder, *arguments],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
