"""What it takes to go on with a stream in another slot, engine or process. Without torch: servers keep it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import FRAME_SIZE


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
        self, token: int, codes_frames: int, audio_frames: int, n_q: int, temperature: float = 0.0, seed: int = 0
    ) -> None:
        assert codes_frames > 0 and audio_frames > 0, f"nothing kept: {codes_frames} columns, {audio_frames} frames"
        self.frames = 0  # stepped since the slot was opened
        self._text = deque([token], maxlen=codes_frames + 1)
        self._codes = deque[Sequence[int]](maxlen=codes_frames)
        self._audio = deque[NDArray[np.float32]](maxlen=audio_frames)
        self._n_q, self._temperature, self._seed = n_q, temperature, seed

    def add(self, samples: NDArray[np.float32], token: int, codes: Sequence[int]) -> None:
        """One step: its frame [frame_size], which is kept and not copied, its token and its n_q codes."""
        self.frames += 1
        self._audio.append(samples)
        self._text.append(token)
        self._codes.append(codes)

    def snapshot(self) -> Snapshot:
        """The stream as it stands after the newest step; a copy."""
        return Snapshot(
            self.frames,
            np.array(self._text, np.int32),
            np.array(self._codes, np.int32).reshape(-1, self._n_q),
            np.stack(self._audio) if self._audio else np.zeros((0, FRAME_SIZE), np.float32),
            self._temperature,
            self._seed,
        )
