"""A real daemon for PyCLM."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real_daemon import daemon  # noqa: F401
