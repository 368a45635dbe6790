"""The core's signals, which are psygnal's, or Qt's where the process has a QApplication."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psygnal import SignalInstance


def connect(signal: Any, listener: Callable[..., Any]) -> None:
    """`listener` is called in the thread that emits: Qt would carry it to the one that connects, which may have no event loop."""
    if isinstance(signal, SignalInstance):
        signal.connect(listener)
    else:
        from qtpy.QtCore import Qt

        signal.connect(listener, Qt.ConnectionType.DirectConnection)


def carries_errors(signal: Any) -> bool:
    """Whether what a listener raises comes to whoever emits. In Qt it ends the process."""
    return isinstance(signal, SignalInstance)
