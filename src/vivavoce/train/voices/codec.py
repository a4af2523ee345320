"""Voices as they arrive: the others through codecs of few bits, our own voice's among them.

What a synthetic voice says has passed a codec too: one who knows only clean recordings takes it for something else.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch

from vivavoce.checkpoints import load_tts
from vivavoce.core import FRAME_SIZE
from vivavoce.nn.mimi import Mimi

from ..audio import load, normalise
from ..corpus import SAMPLE_RATE, Audio, Clip, EngineMissingError, Entry, Job, Request, read_manifest
from .mix import run

# source: the share of its clips; other speech goes through them as well, or a codec's sound would mean digits
SHARES = {"kokoro": 1.0, "prompts": 0.25, "asterisk": 0.25, "flite": 0.4, "festival": 0.4, "pico": 0.15}
AROUND = SAMPLE_RATE // 4  # samples of silence for a codec to settle in
FFMPEG = ("ffmpeg", "-loglevel", "error", "-i")
RATES = {"opus": (6, 8, 12), "mp3": (16, 24, 32)}  # kbit/s


def jobs(request: Request) -> Iterator[Job]:
    """One codec for each clip drawn, of those that the corpus holds by now; validation clips left alone."""
    if not shutil.which("ffmpeg"):
        raise EngineMissingError("`apt-get install ffmpeg`")
    for name, share in SHARES.items():
        for entry in read_manifest(request.out / name):
            rng = np.random.default_rng((request.seed, 7, *entry.path.stem.encode()))
            if not entry.held and rng.random() < share:
                kind, key = _kind(rng), f"{entry.source}_{entry.path.stem}"
                yield Job(f"{key}_{kind[0]}", partial(_clip, entry, *kind))


def _kind(rng: np.random.Generator) -> tuple[str, Callable[[Audio], Audio]]:
    """Our own voice's codec half of the time."""
    if rng.random() < 0.5:
        return "own", own
    name = str(rng.choice(list(RATES)))
    return name, partial(coded, name=name, rate=int(rng.choice(RATES[name])))


def _clip(entry: Entry, name: str, codec: Callable[[Audio], Audio]) -> Sequence[Clip]:
    audio = load(entry.path)
    heard = codec(np.pad(audio, AROUND))[AROUND : AROUND + len(audio)]
    return [Clip(normalise(heard), entry.words, "codec", f"{entry.speaker}*{name}", entry.licence)]


def coded(audio: Audio, name: str, rate: int) -> Audio:
    """Samples [n] through a codec of ffmpeg's at `rate` kbit/s; returns [n]."""
    with TemporaryDirectory() as folder:
        path, small = Path(folder) / "in.wav", Path(folder) / f"small.{name}"
        soundfile.write(path, audio, SAMPLE_RATE)
        subprocess.run([*FFMPEG, str(path), "-b:a", f"{rate}k", str(small)], check=True, capture_output=True)
        return _fit(run([*FFMPEG, str(small), "{}"]), len(audio))


def _fit(audio: Audio, length: int) -> Audio:
    return np.pad(audio[:length], (0, max(length - len(audio), 0)))


@torch.no_grad()
def own(audio: Audio) -> Audio:
    """Samples [n] through the codec of the voice that ships; returns [n]."""
    padded = torch.from_numpy(np.pad(audio, (0, -len(audio) % FRAME_SIZE)))
    mimi = _own()
    return np.asarray(mimi.decode(mimi.encode(padded[None]))[0].numpy()[: len(audio)])


@cache
def _own() -> Mimi:
    return load_tts().mimi.float()
