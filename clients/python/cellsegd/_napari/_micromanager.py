"""Frames of a Micro-Manager core in this process (napari-micromanager has one) as a source of the widget."""

from __future__ import annotations

import re
from typing import Any

from cellsegd.client import Client
from cellsegd.options import Options

MICRO_MANAGER = ("Micro-Manager: acquisitions", "Micro-Manager: live view")

# Seconds: the window waits for it when it is closed in the middle of a run.
FINISH_S = 5.0
# "on Phase": measured in the cells of another channel.
MEASURED = re.compile(r"on\s+(.+)", re.IGNORECASE)


def listen(what: str, client: Client, channels: str, options: Options) -> Any:
    """An attachment to the core that this process has. RuntimeError without pymmcore-plus."""
    try:
        from pymmcore_plus import CMMCorePlus

        from cellsegd import mmcore
    except ImportError:
        raise RuntimeError("there is no Micro-Manager in this process: pip install pymmcore-plus") from None
    core = CMMCorePlus.instance()
    if what == MICRO_MANAGER[1]:
        return mmcore.live(core, client, options)
    return mmcore.attach(core, client, channels_of(channels), options=options, finish_s=FINISH_S)


def channels_of(text: str) -> dict[str, Any] | None:
    """Of "Phase: cells, GFP: on Phase"; None of an empty text. ValueError says what would be right."""
    from cellsegd.mmcore import measure

    channels: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, target = (piece.strip() for piece in part.partition(":"))
        if not (name and colon and target):
            raise ValueError(f"channels {part!r}: 'CHANNEL: MODEL' or 'CHANNEL: on OTHER' is right")
        on = MEASURED.fullmatch(target)
        channels[name] = measure(on[1]) if on else target
    return channels or None
