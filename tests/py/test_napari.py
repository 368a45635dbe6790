"""The plugin in napari, in a window on a screen that nobody sees, against a real daemon."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import skip
from venvs import CLIENT, client_in, pytest_in, python_of

# What Qt needs of Debian to open a window on it; napari draws by OpenGL, which Qt's own "offscreen" does not have.
PACKAGES = "xvfb libegl1 libgl1 libgl1-mesa-dri libopengl0 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1"
STOP_S = 20


@contextmanager
def screen() -> Iterator[str]:
    """The name of a display."""
    server = shutil.which("Xvfb")
    if server is None:
        skip(f"no Xvfb: apt-get install {PACKAGES} libxcb-render-util0 libxcb-shape0")
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [server, "-displayfd", str(writing), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            number = told.readline().strip()
        assert number, f"Xvfb ended with {process.wait(STOP_S)}"
        yield f":{number}"
    finally:
        process.terminate()
        process.wait(STOP_S)


def test_the_plugin_shows_cells_in_napari():
    python = python_of("microscopes")
    with screen() as display:
        pytest_in(
            python,
            CLIENT / "tests/napari",
            PYTHONPATH=str(client_in(python)),
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
            DISPLAY=display,
            QT_QPA_PLATFORM="xcb",
            LIBGL_ALWAYS_SOFTWARE="1",
        )
