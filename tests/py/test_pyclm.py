"""The client in PyCLM (closed-loop-microscopy): its own dry run, with our method."""

import sys

from conftest import skip
from venvs import CLIENT, client_in, pytest_in, python_of


def test_the_dry_demo_of_pyclm_is_segmented_by_the_daemon():
    if sys.version_info < (3, 11):
        skip("PyCLM needs Python 3.11")
    python = python_of("microscopes")
    pytest_in(python, CLIENT / "tests/pyclm", PYTHONPATH=str(client_in(python)), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
