"""What it takes to go on with a stream in another slot, engine or process. Without torch: servers keep it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import FRAME_SIZE

from .terms import Term


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The newest inputs of a stream, from which `SttEngine.restore` rebuilds its state. Pickles.

    Raises ValueError when the parts do not belong together.
    """

    frames: int  # stepped since the stream was opened; the LM's next position is frames + 1
    text: NDArray[np.int32]  # [k + 1]: the newest text tokens, oldest first; the last one is the next input
    codes: NDArray[np.int32]  # [k, n_q]: the newest columns of codes, k from 1 (0 without frames) to frames
    audio: NDArray[np.float32]  # [m, frame_size]: the newest frames, m from 1 (0 without frames) to frames
    temperature: float = 0.0
    seed: int = 0
    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        for name, kept in (("columns of codes", len(self.codes)), ("frames of audio", len(self.audio))):
            if not min(1, self.frames) <= kept <= self.frames:
                raise ValueError(f"a snapshot after {self.frames} frames cannot hold {kept} {name}")
        if len(self.text) != len(self.codes) + 1:
            raise ValueError(
                f"a snapshot with {len(self.codes)} columns of codes needs {len(self.codes) + 1} text tokens, "
                f"got {len(self.text)}"
            )

    def must_fit(self, n_q: int, card: int, text_ids: int, frame_size: int) -> None:
        """Raises ValueError unless a model with these sizes can have made it: on a GPU a wrong id ends every stream."""
        if self.codes.shape[1:] != (n_q,):
            raise ValueError(f"the LM hears {n_q} codebooks, the snapshot's codes are {list(self.codes.shape)}")
        if self.frames and self.audio.shape[1:] != (frame_size,):
            raise ValueError(f"the codec hears frames of {frame_size}, the snapshot's are {list(self.audio.shape)}")
        for name, ids, end in (("codes", self.codes, card), ("text tokens", self.text, text_ids)):
            if ids.size and not 0 <= ids.min() <= ids.max() < end:
                raise ValueError(f"the LM hears {name} 0 to {end - 1}, the snapshot has {ids.min()} to {ids.max()}")


class History:
    """Collects a stream's snapshot while it is stepped; `SttEngine.snapshot_frames` says how much is worth keeping.

    `token` is the one that opening the slot gave.
    """

    def __init__(
        self, token: int, codes_frames: int, audio_frames: int, n_q: int, temperature: float = 0.0, seed: int = 0,
        terms: tuple[Term, ...] = (),
    ) -> None:  # fmt: skip
        assert codes_frames > 0 and audio_frames > 0, f"nothing kept: {codes_frames} columns, {audio_frames} frames"
        self.frames = 0  # stepped since the slot was opened
        self._text = np.full(codes_frames + 1, token, np.int32)
        self._codes = np.empty((codes_frames, n_q), np.int32)
        self._audio: NDArray[np.float32] | None = None  # made when the first frame shows its length
        self._audio_frames = audio_frames
        self._how = temperature, seed, terms

    def add(self, samples: NDArray[np.float32], token: int, codes: Sequence[int] | NDArray[np.int32]) -> None:
        """One step: its frame [frame_size], its token and its n_q codes, all copied.

        Into rings of a fixed size: hundreds of frames kept one by one between the server's small objects would leave
        its memory in splinters, which no stream that ends gives back.
        """
        if self._audio is None:
            self._audio = np.empty((self._audio_frames, len(samples)), np.float32)
        self._audio[self.frames % len(self._audio)] = samples
        self._codes[self.frames % len(self._codes)] = codes
        self.frames += 1
        self._text[self.frames % len(self._text)] = token

    def snapshot(self) -> Snapshot:
        """The stream as it stands after the newest step; a copy."""
        silence = np.zeros((0, FRAME_SIZE), np.float32)
        return Snapshot(
            self.frames,
            in_order(self._text, self.frames + 1),
            in_order(self._codes, self.frames),
            silence if self._audio is None else in_order(self._audio, self.frames),
            *self._how,
        )


def in_order(ring: NDArray[Any], written: int) -> NDArray[Any]:
    """What a ring holds after so many rows were written, oldest first; a copy."""
    if written <= len(ring):
        return ring[:written].copy()
    return np.roll(ring, -(written % len(ring)), 0)
