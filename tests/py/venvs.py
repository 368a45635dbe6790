"""Environments of their own for what a client lives in: kept under target, made anew when their requirements change."""

import fcntl
import hashlib
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
        # Byte code is made of what is imported, when it is: of everything it takes three times as long as installing it.
        install = [*pip(interpreter), "install", "--no-compile", "--only-binary", ":all:", "-r", requirements]
        for command in ([python, "-m", "venv", "--without-pip", folder], install):
            done = subprocess.run(
                [*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_S
            )
            if done.returncode != 0:
                shutil.rmtree(folder, ignore_errors=True)
                skip(f"no environment for {requirements.name}: {(done.stderr or done.stdout).strip()[-500:]}")
        made.write_text(wanted)
    return interpreter


def pip(interpreter: Path) -> list[str | Path]:
    """This environment's pip, at work in another: making one with a pip of its own takes longer than filling it."""
    return [sys.executable, "-m", "pip", "--python", interpreter, "--disable-pip-version-check", "--quiet"]


def client_in(interpreter: Path) -> Path:
    """The client as it is installed, in a folder to import it from: its wheel, with what other programs find it by. One for every
    interpreter; it is made anew when the sources change."""
    folder = TARGET / "client"
    wheels, installed = folder / "wheel", folder / "installed"
    folder.mkdir(parents=True, exist_ok=True)
    sources = sorted(path for path in CLIENT.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    wanted = hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in sources)).hexdigest()
    with (TARGET / "client.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "made-of"
        if made.exists() and made.read_text() == wanted:
            return installed
        shutil.rmtree(folder)
        # Built from a copy: builders leave things beside the sources.
        copied = shutil.copytree(CLIENT, folder / "sources", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
        for command in (
            [*pip(interpreter), "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, copied],
            [*pip(interpreter), "install", "--no-deps", "--no-index", "--find-links", wheels, "--target", installed, "cellsegd"],
        ):
            done = subprocess.run(
                [*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_S
            )
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        made.write_text(wanted)
    return installed


def pytest_in(interpreter: Path, folder: Path, *arguments: str, timeout: float = 600, **extra: str) -> str:
    """Runs the tests of a folder in another environment, against the same daemon's binary; what they said if all passed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"CELLSEGD_BIN": str(BIN), "PYTHONPATH": str(CLIENT), **extra}
    # Nothing is left beside the sources.
    environment["PYTHONPYCACHEPREFIX"] = str(TARGET / "pycache")
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
