"""One caller's stream, as the dialects see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import Event


@dataclass(frozen=True)
class StreamOptions:
    """What a caller may choose."""

    temperature: float | None = None  # of the text; None is the model's own choice, 0 is greedy
    seed: int = 0
    vad_head: int | None = None  # None is the model's own choice
    vad_threshold: float = 0.5
    heal: bool = True  # begin the model's context afresh when it has gone silent over speech
    resumable: bool = False  # events stay after they were read, so that `Runtime.resume` can give them again


class Stream:
    """One caller's stream; made by `Runtime.open`."""

    id: str  # unguessable: who knows it may resume the stream
    options: StreamOptions
    created: float  # seconds, time.time()
    received: int  # samples that push has taken so far
    steps: int  # frames stepped so far

    @property
    def queued(self) -> int:
        """Samples that wait for their step."""
        raise NotImplementedError

    @property
    def position(self) -> int:
        """How many events have been read: the number (from 1) of the newest one."""
        raise NotImplementedError

    async def push(self, samples: NDArray[np.float32]) -> None:
        """More audio."""
        raise NotImplementedError

    def flush(self, id: int | str) -> None:
        """Ask for everything said so far."""
        raise NotImplementedError

    def end(self) -> None:
        """No more audio will come."""
        raise NotImplementedError

    def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """Events in order; with `after`, of a resumable stream, from the event behind that number."""
        raise NotImplementedError

    def keepalive(self) -> None:
        """The caller is there, though it sends no audio."""
        raise NotImplementedError

    def park(self) -> None:
        """The connection was lost: keep the stream for `Runtime.resume`."""
        raise NotImplementedError

    def close(self) -> None:
        """The caller is gone: the slot is free at once."""
        raise NotImplementedError
