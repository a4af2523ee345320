"""Playback: float32 at 24 kHz to a speaker of any sample rate, begun with a reserve and ended when all was heard."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any, Self

import numpy as np
import soxr

from vivavoce.core import SAMPLE_RATE, UnsupportedError

from .devices import Device, library
from .source import Samples

PREBUFFER = 0.24  # seconds that wait before the first is heard, and after a gap
HELD = 10.0  # seconds that may wait; then `play` does
LATENCY = 0.2  # seconds inside the device: Python is at times that late, and what the device lacks is heard as a gap


class Player:
    """`async with Player(device) as speaker: await speaker.play(samples); await speaker.drain()`.

    Nothing is heard before `prebuffer` seconds are there, or the end is. When the audio comes too slowly there is
    silence, counted in `gaps`, until as much is there again.
    """

    def __init__(self, device: Device, prebuffer: float = PREBUFFER) -> None:
        self.device = device
        self.gaps = 0
        self._prebuffer = prebuffer * device.rate
        self._lock = threading.Lock()  # PortAudio calls back in a thread of its own
        self._blocks = deque[Samples]()
        self._waiting = 0  # samples, at the device's rate
        self._running = False  # the reserve was filled
        self._draining = False
        self._moved = asyncio.Event()  # the device took samples
        self._stream: Any = None
        self._resample = self._new_resampler()

    async def __aenter__(self) -> Self:
        """Open the device. Raises UnsupportedError when it cannot be."""
        self._loop = asyncio.get_running_loop()
        try:
            self._stream = library("output").OutputStream(
                device=self.device.index,
                samplerate=self.device.rate,
                channels=min(2, self.device.channels),
                dtype="float32",
                latency=LATENCY,
                callback=self._fill,
            )
            self._stream.start()
        except UnsupportedError:
            raise
        except Exception as error:  # PortAudioError has no common base
            raise UnsupportedError(f"{self.device.name}: cannot be played on ({error})") from None
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stream.close()

    async def play(self, samples: Samples) -> None:
        """More audio, float32 [n]; waits while much of it waits."""
        self._add(samples if self._resample is None else self._resample.resample_chunk(samples))
        while self._waiting > HELD * self.device.rate:
            await self._move()

    async def drain(self) -> None:
        """Until everything was heard; audio that comes later begins anew."""
        if self._resample is not None:
            self._add(self._resample.resample_chunk(np.zeros(0, np.float32), last=True))
            self._resample = self._new_resampler()
        self._draining = True
        while self._waiting:
            await self._move()
        await asyncio.sleep(float(self._stream.latency))  # what the device has taken and not played
        with self._lock:
            self._draining = self._running = False

    def clear(self) -> None:
        """Be silent at once, but for what the device has taken: what was not heard never will be."""
        with self._lock:
            self._blocks.clear()
            self._waiting, self._running = 0, False
        self._resample = self._new_resampler()

    def _new_resampler(self) -> soxr.ResampleStream | None:
        if self.device.rate == SAMPLE_RATE:
            return None
        return soxr.ResampleStream(SAMPLE_RATE, self.device.rate, 1, dtype="float32")

    def _add(self, samples: Samples) -> None:
        if len(samples):
            with self._lock:
                self._blocks.append(samples)
                self._waiting += len(samples)

    async def _move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def _fill(self, out: Any, frames: int, time: Any, status: Any) -> None:  # noqa: ARG002 - PortAudio's own signature
        """The device wants samples, float32 [frames, channels]."""
        with self._lock:
            out[:, :] = self._next(frames)[:, None]
        self._loop.call_soon_threadsafe(self._moved.set)

    def _next(self, count: int) -> Samples:
        block = np.zeros(count, np.float32)
        self._running |= self._draining or self._waiting >= self._prebuffer
        filled = 0
        while self._running and self._blocks and filled < count:
            piece = self._blocks.popleft()
            taken = piece[: count - filled]
            block[filled : filled + len(taken)] = taken
            filled += len(taken)
            if len(taken) < len(piece):
                self._blocks.appendleft(piece[len(taken) :])
        self._waiting -= filled
        if self._running and filled < count and not self._draining:
            self._running = False
            self.gaps += 1
        return block
