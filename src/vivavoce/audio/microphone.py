"""Capture: what microphones there are, and their sound as mono float32 at 24 kHz. Needs the extra `mic`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Self

import numpy as np
import soxr

from vivavoce.core import FRAME_SECONDS, SAMPLE_RATE, UnsupportedError

from .source import Samples

QUEUE = 125  # blocks of 80 ms; beyond 10 s the oldest are thrown away


@dataclass(frozen=True)
class Device:
    """An input that can be recorded from."""

    index: int
    name: str
    channels: int
    rate: int  # Hz, its own
    default: bool


def devices() -> list[Device]:
    """Every input device, in the system's order. Raises UnsupportedError where none can be looked for."""
    library = _library()
    try:
        found, default = library.query_devices(), library.default.device[0]
    except Exception as error:  # PortAudioError has no common base
        raise UnsupportedError(f"the sound system does not answer: {error}") from None
    return [
        Device(
            index,
            str(entry["name"]),
            int(entry["max_input_channels"]),
            round(entry["default_samplerate"]),
            index == default,
        )
        for index, entry in enumerate(found)
        if entry["max_input_channels"] > 0
    ]


def choose(found: list[Device], wanted: str | None) -> Device:
    """The device of that index, or the only one whose name holds `wanted`; without one the default, else the first.

    Raises UnsupportedError.
    """
    if not found:
        raise UnsupportedError("no microphone: this machine has no input device")
    if wanted is None:
        return next((device for device in found if device.default), found[0])
    if wanted.isdigit():
        fitting = [device for device in found if device.index == int(wanted)]
    else:
        fitting = [device for device in found if device.name.lower() == wanted.lower()]
        fitting = fitting or [device for device in found if wanted.lower() in device.name.lower()]
    if len(fitting) != 1:
        names = ", ".join(f"{device.index} ({device.name})" for device in fitting or found)
        what = "fits several inputs" if fitting else "is no input"
        raise UnsupportedError(f"--device {wanted} {what}; there are {names}")
    return fitting[0]


class Microphone:
    """`async with Microphone(device) as sound: async for samples in sound` gives blocks of about 80 ms."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.lost = 0.0  # seconds that came faster than they were taken
        self._blocks: asyncio.Queue[Samples] = asyncio.Queue()
        self._stream: Any = None
        self._resample = (
            None if device.rate == SAMPLE_RATE else soxr.ResampleStream(device.rate, SAMPLE_RATE, 1, dtype="float32")
        )

    async def __aenter__(self) -> Self:
        """Begin to record. Raises UnsupportedError when the device cannot be opened."""
        loop = asyncio.get_running_loop()

        def arrived(data: Any, frames: int, time: Any, status: Any) -> None:  # noqa: ARG001 - PortAudio's own signature
            loop.call_soon_threadsafe(self._take, np.array(data).mean(1, dtype=np.float32))

        try:
            self._stream = _library().InputStream(
                device=self.device.index,
                samplerate=self.device.rate,
                channels=min(2, self.device.channels),
                dtype="float32",
                blocksize=round(self.device.rate * FRAME_SECONDS),
                callback=arrived,
            )
            self._stream.start()
        except UnsupportedError:
            raise
        except Exception as error:  # PortAudioError has no common base
            raise UnsupportedError(f"{self.device.name}: cannot be recorded from ({error})") from None
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stream.close()

    def _take(self, samples: Samples) -> None:
        if self._blocks.qsize() >= QUEUE:
            self.lost += len(self._blocks.get_nowait()) / self.device.rate
        self._blocks.put_nowait(samples)

    async def __aiter__(self) -> AsyncIterator[Samples]:
        while True:
            samples = await self._blocks.get()
            yield samples if self._resample is None else self._resample.resample_chunk(samples)


def _library() -> ModuleType:
    try:
        return import_module("sounddevice")
    except ImportError:
        raise UnsupportedError("a microphone needs the extra `mic`: pip install 'vivavoce[mic]'") from None
    except OSError as error:  # the module is there, PortAudio is not
        raise UnsupportedError(f"a microphone needs the PortAudio library ({error})") from None
