"""What the voice learns from, once it has passed the codec: codes, audio and word times, many times from few takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vivavoce.core import FRAME_SIZE, SAMPLE_RATE, VivavoceError
from vivavoce.nn.mimi import Mimi

from ..augment import change_speed, decibels
from ..corpus import Audio, Clip, Word
from ..library import Library

START = (0.12, 0.20)  # seconds at which the first word starts: the script machine begins it at the third step
TAIL = 0.8  # seconds of quiet after the last one: enough to hear that it stays quiet
FLOOR = 1e-4  # of the noise that quiet is
SPEED, LEVEL = 0.03, 1.5  # by which a copy is faster or slower (log) and louder or softer (dB), standard deviations


@dataclass(frozen=True)
class Take:
    """A clip as the codec hears it."""

    audio: Audio  # float32 [frames * 1920]
    codes: NDArray[np.int16]  # [frames, codebooks]
    words: tuple[Word, ...]  # times from the start of `audio`
    speaker: str


def takes(mimi: Mimi, clips: Sequence[Clip], copies: int, seed: int, *, varied: bool = False) -> Iterator[Take]:
    """Every clip `copies` times, each at another place in its frames, so that its codes are others.

    `varied`: also a little faster or slower, louder or softer. A model learns few copies by heart.
    """
    rng = np.random.default_rng(seed)
    for _ in range(copies):
        for clip in clips:
            yield _take(mimi, _varied(clip, rng) if varied else clip, rng)


def _varied(clip: Clip, rng: np.random.Generator) -> Clip:
    speed, level = float(np.exp(rng.normal(0, SPEED))), decibels(rng.normal(0, LEVEL))
    words = tuple((text, start / speed, stop / speed) for text, start, stop in clip.words)
    return replace(clip, audio=change_speed(clip.audio, speed) * np.float32(level), words=words)


@torch.inference_mode()
def _take(mimi: Mimi, clip: Clip, rng: np.random.Generator) -> Take:
    lead = int(max(0.0, rng.uniform(*START) - clip.words[0][1]) * SAMPLE_RATE)
    audio = np.pad(clip.audio, (lead, int(TAIL * SAMPLE_RATE)))
    audio = np.pad(audio, (0, -len(audio) % FRAME_SIZE))
    audio = audio + rng.normal(0, FLOOR, len(audio)).astype(np.float32)
    codes = mimi.encode(torch.from_numpy(audio)[None])[0]
    shift = lead / SAMPLE_RATE
    words = tuple((text, start + shift, stop + shift) for text, start, stop in clip.words)
    return Take(audio, codes.to(torch.int16).numpy(), words, clip.speaker)


def spoken_clips(corpus: Path, *, held: bool = False) -> list[Clip]:
    """The clips of `train corpus --source speaking`."""
    clips = [clip for clip in Library(corpus, held=held).clips if clip.source == "speaking"]
    if not clips:
        raise VivavoceError(f"{corpus} has no {'held-out ' * held}clips of `train corpus --source speaking`")
    return clips
