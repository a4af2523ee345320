"""What every cheap engine is asked to say: digit lists to cut apart, strings, other speech."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..align import align, segment
from ..audio import load, normalise, resample, trim
from ..corpus import DIGITS, SAMPLE_RATE, Audio, Clip, Job
from ..sentences import other_text
from ..strings import digit_string, isolated, spoken

Say = Callable[[str, np.random.Generator], Audio]  # text, source of rate and pitch -> [n] at 24 kHz


@dataclass(frozen=True)
class Voice:
    """A voice of a cheap engine, and what its clips are labelled with."""

    source: str
    name: str
    licence: str
    say: Say
    warp: float = 1.0  # resampling factor: scales pitch and formants, so it makes a new speaker
    text: Callable[[np.random.Generator], str] = other_text

    @property
    def speaker(self) -> str:
        """A name that no other voice has."""
        suffix = "" if self.warp == 1.0 else f"*{self.warp:.2f}"
        return f"{self.source}-{self.name}{suffix}"


def takes(voices: Sequence[Voice], seed: int, lists: int, strings: int, others: int) -> Iterator[Job]:
    """So many digit lists, strings and other texts of each voice, spread evenly over time."""
    for number in range(max(lists, strings, others)):
        for voice in voices:
            for kind, count in (("list", lists), ("string", strings), ("other", others)):
                if number < count:
                    yield _job(voice, kind, number, seed)


def _job(voice: Voice, kind: str, number: int, seed: int) -> Job:
    key = f"{voice.speaker}_{kind}{number:02d}".replace("*", "x").replace("+", "_").replace(" ", "")
    rng = partial(np.random.default_rng, (seed, *key.encode()))
    return Job(key, partial(_other if kind == "other" else _digits, voice, kind == "list", rng))


def _digits(voice: Voice, listed: bool, rng: Callable[[], np.random.Generator]) -> list[Clip]:
    source = rng()
    digits = digit_string(source, len(DIGITS) if listed else int(source.integers(3, 10)))
    audio = _said(voice, spoken(digits, source, listed), source)
    apart = segment(audio, digits) if listed else ()
    words = apart or align(audio, digits)
    if not words:
        return []
    pieces = isolated(audio, words) if apart else [trim(audio, words)]
    return [_clip(voice, *piece) for piece in pieces]


def _other(voice: Voice, _: bool, rng: Callable[[], np.random.Generator]) -> list[Clip]:
    source = rng()
    return [_clip(voice, trim(_said(voice, voice.text(source), source))[0])]


def _said(voice: Voice, text: str, rng: np.random.Generator) -> Audio:
    audio = voice.say(text, rng)
    return normalise(audio if voice.warp == 1.0 else resample(audio, round(SAMPLE_RATE * voice.warp)))


def _clip(voice: Voice, audio: Audio, words: tuple[tuple[str, float, float], ...] = ()) -> Clip:
    return Clip(audio, words, voice.source, voice.speaker, voice.licence)


def run(command: Sequence[str], text: str | None = None) -> Audio:
    """Run a synthesiser that writes the wav file named `{}` in its command; returns [n] at 24 kHz."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        line = [part.replace("{}", str(path)) for part in command]
        subprocess.run(line, input=text, text=True, check=True, capture_output=True)
        return load(path)
