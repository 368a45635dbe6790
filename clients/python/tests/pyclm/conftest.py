"""A real daemon for PyCLM."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real_daemon import RealDaemon


@pytest.fixture(scope="session")
def daemon():
    daemon = RealDaemon()
    yield daemon
    daemon.stop()
