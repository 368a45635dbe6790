"""What the controller knows about a frame: a mapping with the contract's names, or the contract's message."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, TypeAlias

from cellsegd import contract as pb

Metadata: TypeAlias = Mapping[str, Any]
"""FrameMetadata's fields by name: index {"t": 3}, channel, position, pixel_size_um, elapsed_ms, captured_at (aware datetime), ...
The indices "t", "p", "c", "z", "g" may also stand at the top: {"t": 3, "channel": "Phase"}."""

_AXES = ("t", "p", "c", "z", "g")
_NAMES = tuple(field.name for field in pb.FrameMetadata.DESCRIPTOR.fields)


def to_message(metadata: Metadata | pb.FrameMetadata | None) -> pb.FrameMetadata:
    """Checked by name and type; an unknown name is a TypeError that lists those there are. None values are left out."""
    message = pb.FrameMetadata()
    if metadata is None:
        return message
    if not isinstance(metadata, Mapping):
        adopt(metadata, message)
        return message
    for name, value in metadata.items():
        if value is None:
            continue
        if name in _AXES:
            message.index[name] = int(value)
        elif name not in _NAMES:
            raise TypeError(
                f"metadata {name!r}: must be one of {', '.join((*_AXES, *_NAMES))}; anything else goes into 'properties'"
            )
        elif name == "captured_at":
            message.captured_at.FromDatetime(_aware(value))
        elif name == "index":
            for axis, i in value.items():
                message.index[axis] = int(i)
        elif name == "properties":
            for key, text in value.items():
                message.properties[str(key)] = str(text)
        elif name == "pixel_to_stage":
            message.pixel_to_stage.extend(float(number) for number in value)
        else:
            try:
                setattr(message, name, value)
            except (TypeError, ValueError) as error:
                raise TypeError(f"metadata {name!r}: {error}") from None
    return message


def from_message(message: pb.FrameMetadata) -> dict[str, Any]:
    """What is known, by the contract's names; `captured_at` is a datetime in UTC."""
    known: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.name == "captured_at":
            known[field.name] = message.captured_at.ToDatetime(timezone.utc)
        elif field.name in ("index", "properties"):
            known[field.name] = dict(value)
        elif field.name == "pixel_to_stage":
            known[field.name] = list(value)
        else:
            known[field.name] = value
    return known


def series_of(metadata: pb.FrameMetadata) -> tuple[object, ...]:
    """Frames that follow one another in time share it: position, else index p; index g; camera; channel; index z."""
    index = metadata.index
    place = metadata.position or index.get("p")
    return (place, index.get("g"), metadata.camera, metadata.channel, index.get("z"))


def adopt(other: Any, into: Any) -> None:
    """Fills `into` from a message of the same name, whoever generated its class."""
    if not hasattr(other, "DESCRIPTOR") or other.DESCRIPTOR.full_name != into.DESCRIPTOR.full_name:
        raise TypeError(f"{type(other).__name__}: must be a {into.DESCRIPTOR.full_name}, or what its documentation names")
    into.ParseFromString(other.SerializeToString())


def _aware(moment: object) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise TypeError(f"metadata 'captured_at': {moment!r} must be a datetime with a time zone")
    return moment.astimezone(timezone.utc).replace(tzinfo=None)
