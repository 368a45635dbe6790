"""Which channel goes to which model, and which channels are measured in the cells of another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cellsegd.options import Options


@dataclass(frozen=True)
class Measure:
    """A channel that is not segmented: its intensities are measured in the cells of another channel."""

    on: str


def measure(on: str) -> Measure:
    """The channel is measured in the cells of the channel `on`, frame by frame: same time, position and plane."""
    return Measure(on)


# A model's name, the options of a session, `measure(...)`, or None for a channel that is left alone.
Target = str | Options | Measure | None
Channels = Mapping[str, Target]


class Plan:
    """What becomes of each channel, checked once."""

    def __init__(self, channels: Channels | None, options: Options):
        self.sessions: list[Options] = []
        """The options of each session: one a model."""
        self._channels = dict(channels) if channels is not None else None
        self._session_of: dict[str, int] = {}
        if self._channels is None:
            self.sessions.append(options)
        for name, target in (self._channels or {}).items():
            if isinstance(target, str):
                self._add(name, replace(options, model=target))
            elif isinstance(target, Options):
                self._add(name, target)
            elif target is not None and not isinstance(target, Measure):
                raise TypeError(
                    f"channel {name!r}: a model's name, Options, measure(...) or None is right, not {type(target).__name__}"
                )
        for name, target in (self._channels or {}).items():
            if isinstance(target, Measure) and target.on not in self._session_of:
                segmented = ", ".join(map(repr, self._session_of)) or "none"
                raise ValueError(f"channel {name!r} is measured on {target.on!r}, which is not segmented; segmented: {segmented}")
        if not self.sessions:
            raise ValueError(f"no channel of {sorted(self._channels or {})} is segmented")

    def _add(self, channel: str, options: Options) -> None:
        message = options.message()
        for number, other in enumerate(self.sessions):
            if other.message() == message:
                self._session_of[channel] = number
                return
        self._session_of[channel] = len(self.sessions)
        self.sessions.append(options)

    def session(self, channel: str) -> int | None:
        """The number of the session in which a channel is segmented; None: it is measured, or left alone."""
        return 0 if self.is_open else self._session_of.get(channel)

    def measured_on(self, channel: str) -> str | None:
        """The channel in whose cells this one is measured."""
        target = (self._channels or {}).get(channel)
        return target.on if isinstance(target, Measure) else None

    @property
    def is_open(self) -> bool:
        """Nothing was said of channels: there is to be one."""
        return self._channels is None

    def check(self, channels: Iterable[str]) -> None:
        """Raises ValueError if a run has channels of which it was not said what becomes of them, and lists them."""
        channels = list(dict.fromkeys(channels))
        if self._channels is None:
            if len(channels) > 1:
                raise ValueError(
                    f"this run has the channels {', '.join(channels)}: say what becomes of each, as in "
                    f"attach(core, client, {{{channels[0]!r}: 'MODEL', {channels[1]!r}: measure({channels[0]!r})}})"
                )
            return
        unknown = [name for name in channels if name not in self._channels]
        if unknown:
            raise ValueError(
                f"this run has the channels {', '.join(channels)}, but nothing was said of {', '.join(unknown)}: "
                "name a model, measure(...), or None to leave it alone"
            )


def channels_of(sequence: Any) -> list[str]:
    """Names of all channels of a useq.MDASequence, those of its positions' own sequences included."""
    names = [str(channel.config) for channel in getattr(sequence, "channels", ())]
    for position in getattr(sequence, "stage_positions", ()):
        inner = getattr(position, "sequence", None)
        if inner is not None:
            names += channels_of(inner)
    return list(dict.fromkeys(names))
