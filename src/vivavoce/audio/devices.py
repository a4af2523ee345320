"""What there is to record from and to play on. Needs the extra `mic`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

from vivavoce.core import UnsupportedError

Kind = Literal["input", "output"]
_CALLED = {"input": "microphone", "output": "speaker"}


@dataclass(frozen=True)
class Device:
    """One that can be recorded from, or played on."""

    index: int
    name: str
    channels: int
    rate: int  # Hz, its own
    default: bool


def devices(kind: Kind = "input") -> list[Device]:
    """All of a kind, in the system's order. Raises UnsupportedError where none can be looked for."""
    sounds = library(kind)
    try:
        found, default = sounds.query_devices(), sounds.default.device[kind == "output"]
    except Exception as error:  # PortAudioError has no common base
        raise UnsupportedError(f"the sound system does not answer: {error}") from None
    return [
        Device(
            index,
            str(entry["name"]),
            int(entry[f"max_{kind}_channels"]),
            round(entry["default_samplerate"]),
            index == default,
        )
        for index, entry in enumerate(found)
        if entry[f"max_{kind}_channels"] > 0
    ]


def choose(found: list[Device], wanted: str | None, kind: Kind = "input") -> Device:
    """The device of that index, or the only one whose name holds `wanted`; without one the default, else the first.

    Raises UnsupportedError.
    """
    if not found:
        raise UnsupportedError(f"no {_CALLED[kind]}: this machine has no {kind} device")
    if wanted is None:
        return next((device for device in found if device.default), found[0])
    if wanted.isdigit():
        fitting = [device for device in found if device.index == int(wanted)]
    else:
        fitting = [device for device in found if device.name.lower() == wanted.lower()]
        fitting = fitting or [device for device in found if wanted.lower() in device.name.lower()]
    if len(fitting) != 1:
        names = ", ".join(f"{device.index} ({device.name})" for device in fitting or found)
        what = f"fits several {kind}s" if fitting else f"is no {kind}"
        raise UnsupportedError(f"--device {wanted} {what}; there are {names}")
    return fitting[0]


def library(kind: Kind = "input") -> ModuleType:
    """`sounddevice`. Raises UnsupportedError where it, or PortAudio, is not installed."""
    try:
        return import_module("sounddevice")
    except ImportError:
        raise UnsupportedError(f"a {_CALLED[kind]} needs the extra `mic`: pip install 'vivavoce[mic]'") from None
    except OSError as error:  # the module is there, PortAudio is not
        raise UnsupportedError(f"a {_CALLED[kind]} needs the PortAudio library ({error})") from None
