"""From audio of any length to frames of 1920 samples, with silence where the model needs it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import FRAME_SIZE, Flushed, InvalidAudioError
from vivavoce.session.heal import energies

Samples = NDArray[np.float32]


@dataclass(slots=True)
class Frame:
    """One frame on its way to the engine, and what to do when its step comes back."""

    samples: Samples | None  # [1920]; None is silence
    heard: int = 0  # samples of it that the caller pushed, 0 to 1920
    energy: list[float] | None = None  # of those, as `heal.energies` has it, where it is known already
    closes: bool = False  # the last frame of a flush or of the stream
    answer: Flushed | None = None


class Framer:
    """A queue of frames, cut from chunks of any length."""

    def __init__(self, prefix_frames: int) -> None:
        self._rest: Samples = np.zeros(0, np.float32)  # fewer than 1920 samples
        self._queue = deque[Frame]()
        self.precede(prefix_frames)

    def __len__(self) -> int:
        return len(self._queue)

    def precede(self, silent_frames: int) -> None:
        """Silence before all that waits: what the model wants to hear first in a new context."""
        self._queue.extendleft([Frame(None)] * silent_frames)

    def push(self, samples: Samples) -> None:
        """Appends audio, 1-D float32; raises InvalidAudioError and changes nothing when it is not usable."""
        _refuse_other_types(samples)
        if not len(self._rest) and len(samples) == FRAME_SIZE:  # what live callers send
            energy = energies(samples)
            if not math.isfinite(sum(energy)):  # loud audio may still be finite where this is not
                _refuse_infinite(samples)
            self._queue.append(Frame(samples.copy(), FRAME_SIZE, energy))
            return
        _refuse_infinite(samples)
        audio = np.concatenate([self._rest, samples])
        whole = len(audio) - len(audio) % FRAME_SIZE
        for at in range(0, whole, FRAME_SIZE):
            # copied, so that one frame kept alive does not keep the whole chunk
            self._queue.append(Frame(audio[at : at + FRAME_SIZE].copy(), FRAME_SIZE))
        self._rest = audio[whole:].copy()

    def seal(self, silent_frames: int, answer: Flushed | None) -> None:
        """Pads the partial frame and appends silence (at least one frame), the last of which carries `answer`."""
        if heard := len(self._rest):
            self._queue.append(Frame(np.pad(self._rest, (0, FRAME_SIZE - heard)), heard))
            self._rest = self._rest[:0].copy()
        self._queue.extend([Frame(None)] * (silent_frames - 1))
        self._queue.append(Frame(None, closes=True, answer=answer))

    def pop(self) -> Frame:
        """The oldest frame."""
        return self._queue.popleft()


def _refuse_other_types(samples: Samples) -> None:
    if not isinstance(samples, np.ndarray):
        raise InvalidAudioError(f"audio must be a 1-D array of float32, got {type(samples).__name__}")
    if samples.dtype != np.float32 or samples.ndim != 1:
        raise InvalidAudioError(f"audio must be a 1-D array of float32, got {samples.dtype} {list(samples.shape)}")


def _refuse_infinite(samples: Samples) -> None:
    finite = np.isfinite(samples)
    if not finite.all():
        index = int(finite.argmin())
        raise InvalidAudioError(f"audio must be finite, but sample {index} of {len(samples)} is {samples[index]}")
