"""The client in pymmcore-plus: the real Micro-Manager core with its demo camera, against a real daemon."""

from venvs import CLIENT, client_in, pytest_in, python_of


def test_a_micro_manager_core_is_segmented_while_it_acquires():
    python = python_of("microscopes")
    # The tests leave out what only the machine's load would decide.
    pytest_in(python, CLIENT / "tests/mmcore", PYTHONPATH=str(client_in(python)), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
