"""In the place of the library where no device exists: a speaker that writes what it is given to $SPEAKER_FILE.

As PortAudio does, it asks for blocks from a thread of its own, but a hundred times faster. Float32, interleaved, two
channels at $SPEAKER_RATE Hz. `$SPEAKER_BROKEN`: it cannot be opened.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

BLOCK = 500  # frames
SPEED = 100
default = SimpleNamespace(device=(-1, 1))


def query_devices() -> list[dict[str, Any]]:
    rate = float(os.environ.get("SPEAKER_RATE", "24000"))
    inputs = {"name": "Line in", "max_input_channels": 1, "max_output_channels": 0, "default_samplerate": rate}
    return [inputs, {**inputs, "name": "Desk speaker", "max_input_channels": 0, "max_output_channels": 2}]


class OutputStream:
    latency = 0.01

    def __init__(
        self,
        *,
        device: int,
        samplerate: int,
        channels: int,
        dtype: str,
        latency: float,  # noqa: ARG002 - it plays at once
        callback: Callable[..., None],
    ) -> None:
        if os.environ.get("SPEAKER_BROKEN"):
            raise RuntimeError("device unavailable")
        assert (device, channels, dtype) == (1, 2, "float32")
        self._rate, self._callback = samplerate, callback
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with Path(os.environ["SPEAKER_FILE"]).open("wb") as heard:
            while not self._over.wait(BLOCK / self._rate / SPEED):
                block = np.full((BLOCK, 2), np.nan, np.float32)
                self._callback(block, BLOCK, None, None)
                heard.write(block.tobytes())
