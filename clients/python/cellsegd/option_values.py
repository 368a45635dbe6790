"""What an option may be: words for the contract's enums, and how a mistake is said."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cellsegd import contract as pb

_ENUMS = {"delivery": pb.Delivery, "priority": pb.Priority, "border": pb.BorderRule, "label_by": pb.LabelBy}
_PREFIXES = {"delivery": "DELIVERY_", "priority": "PRIORITY_", "border": "BORDER_RULE_", "label_by": "LABEL_BY_"}
_SHARE, _COUNT, _AREA, _SWITCH = "a number from 0 to 1", "a whole number from 0", "a number, square micrometres", "True or False"
_IMAGE = "an array of uint8 or uint16, (height, width) or (height, width, 3)"
# protobuf says neither which field it was, nor what would be right.
_RIGHT = {
    "model": "a str",
    "name": "a str",
    "window": _COUNT,
    "follow_reload": _SWITCH,
    "confidence": _SHARE,
    "iou": _SHARE,
    "class_agnostic": _SWITCH,
    "max_cells": _COUNT,
    "min_area_um2": _AREA,
    "max_area_um2": _AREA,
    "min_area_px": _COUNT,
    "classes": "class indices, whole numbers from 0",
    "class_confidence": "a dict of class indices and numbers from 0 to 1",
    "normalization": "full_range(), window(...), percentiles(...) or reference(...)",
    "tiling": '"auto", "off", "on", or a cellseg.v1.Tiling',
    "measure": "names of measurements, or a cellseg.v1.Measurements",
    "track": "True, False, or a cellseg.v1.Tracking",
    "growth": "True, False, or a cellseg.v1.GrowthOptions",
    "region_yx": "closed lines, each (n, 2): row and column of each corner",
    "flat_field": _IMAGE,
    "dark": _IMAGE,
    "more": "a cellseg.v1.SessionOptions",
}


@contextmanager
def said_of(option: str, given: object) -> Iterator[None]:
    """Whatever is wrong with what was given is a TypeError or a ValueError that names the option, and what would be right."""
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{option} {reprlib.repr(given)}: must be {_RIGHT[option]}") from None


def words(option: str, given: str | Iterable[str], known: Sequence[str], everything: bool = False) -> list[str]:
    """Words, as a list or separated by commas."""
    right = f"must be of {', '.join(known)}{', or all' if everything else ''}"
    parts = given.split(",") if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    for part in parts:
        if not isinstance(part, str):
            raise TypeError(f"{option} {reprlib.repr(given)}: {right}")
    chosen = [part.strip() for part in parts]
    if everything and chosen == ["all"]:
        return list(known)
    for word in chosen:
        if word and word not in known:
            raise ValueError(f"{option} {word!r}: {right}")
    return [word for word in chosen if word]


def number_of(option: str, word: str) -> Any:
    """The contract's number for a word of one of the options that are enums."""
    return value_of(_ENUMS[option], _PREFIXES[option], option, word)


def value_of(enum: Any, prefix: str, option: str, word: str) -> Any:
    """The contract's number for a word, with or without the enum's prefix."""
    known = [key.removeprefix(prefix) for key in enum.keys() if not key.endswith("_UNSPECIFIED")]
    right = f"must be one of {', '.join(key.lower() for key in known)}"
    if not isinstance(word, str):
        raise TypeError(f"{option} {reprlib.repr(word)}: {right}")
    short = word.upper().removeprefix(prefix)
    if short not in known:
        raise ValueError(f"{option} {word!r}: {right}")
    return enum.Value(prefix + short)


def word_of(option: str, number: int) -> str:
    """The word for the contract's number."""
    key = str(_ENUMS[option].Name(number)).removeprefix(_PREFIXES[option]).lower()
    return "" if key == "unspecified" else key
