"""Capture: a microphone's sound as mono float32 at 24 kHz. Needs the extra `mic`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import numpy as np
import soxr

from vivavoce.core import FRAME_SECONDS, SAMPLE_RATE, UnsupportedError

from .devices import Device, library
from .source import Samples

QUEUE = 125  # blocks of 80 ms; beyond 10 s the oldest are thrown away


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
            self._stream = library().InputStream(
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
