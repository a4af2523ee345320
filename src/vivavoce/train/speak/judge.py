"""How well a voice is understood, by ears that are not ours and by ours, how it sounds, and whether it keeps time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import jiwer
import numpy as np

from vivavoce.checkpoints import TtsModel, load_stt, load_tts
from vivavoce.checkpoints.voices import Voices
from vivavoce.core import SAMPLE_RATE
from vivavoce.transcriber import Transcriber

from ..audio import bounds
from ..corpus import Audio, Clip
from ..dnsmos import quality
from ..evaluate import transcribe
from ..moonshine import Moonshine, digit_words
from ..report import Row, table
from ..voices.speaking import script
from .pool import spoken_clips
from .say import Line, Spoken, options_for, say
from .sizes import VOICES

STRINGS = 120
END = round(0.2 * SAMPLE_RATE)


def report(corpus: Path, model: str | None = None) -> str:
    """A Markdown table for a model: random strings, shared out among its voices, and the held-out takes' texts."""
    return table(_rows(load_tts(model), spoken_clips(corpus, held=True)))


def random_lines(model: TtsModel, voices: Voices, count: int, seed: int) -> list[Line]:
    """Digit strings of one to ten words, voices in turn; half of each one's strings go without their full stop."""
    rng = np.random.default_rng(seed)
    scripts = [" ".join(script(rng)) for _ in range(count)]
    texts = [text if number % 4 < 2 else text.rstrip(".") for number, text in enumerate(scripts)]
    names = [voices.names[number % len(voices)] for number in range(count)]
    return [
        Line(text, name, options_for(model, voices.get(name), seed)) for text, name in zip(texts, names, strict=True)
    ]


def _rows(model: TtsModel, held: Sequence[Clip]) -> Iterator[Row]:
    voices = Voices(Path(model.files["lm"]).parent / "voices", model.config, model.voice_dim)
    spoken = say(model, random_lines(model, voices, STRINGS, 1))
    moonshine = Moonshine("base")
    heard = [digit_words(moonshine.hear(one.audio)) for one in spoken]
    ours = [[w.text for w in words] for words in transcribe(Transcriber(load_stt()), [one.audio for one in spoken])]
    for ears, all_words in ("Moonshine base", heard), ("stt-digits-en", ours):
        for which, belongs in _parts(voices.names).items():
            own = [(one, words) for one, words in zip(spoken, all_words, strict=True) if belongs(one.line)]
            rate, count = error_rate(*zip(*own, strict=True))
            yield f"word error rate, {ears}{which}", f"{rate:.1f} %", f"{len(own)} random strings, {count} words"
    scores = np.mean([quality(one.audio) for one in spoken], 0)
    yield "DNSMOS overall, signal, background", " / ".join(f"{score:.2f}" for score in scores), "the same"
    ends = [level(one.audio[-END:]) for one in spoken]
    yield "level of the last 200 ms, median and worst", f"{np.median(ends):.0f} and {max(ends):.0f} dBFS", "the same"
    begins = [level(one.audio[: END // 4]) for one in spoken]
    yield (
        "level of the first 50 ms, median and worst",
        f"{np.median(begins):.0f} and {max(begins):.0f} dBFS",
        "the same",
    )
    yield from _durations(model, voices, held)


def _parts(voices: Sequence[str]) -> dict[str, Callable[[Line], bool]]:
    """The strings that have a row of their own, by its name: all, each voice's, and by how they are strung."""
    parts: dict[str, Callable[[Line], bool]] = {"": lambda _: True}
    for name in voices:
        parts[f", {name}"] = partial(_is_by, name)
    for manner in ("one word", "in one breath", "with commas"):
        parts[f", {manner}"] = partial(_is_said, manner)
    return parts


def _is_by(voice: str, line: Line) -> bool:
    return line.speaker == voice


def _is_said(manner: str, line: Line) -> bool:
    words = line.text.split()
    marked = "with commas" if any(word[-1] in ",." for word in words[:-1]) else "in one breath"
    return manner == (marked if len(words) > 1 else "one word")


def _durations(model: TtsModel, voices: Voices, held: Sequence[Clip]) -> Iterator[Row]:
    named = [(VOICES[clip.speaker], clip) for clip in held]
    lines = [
        Line(" ".join(w for w, _, _ in clip.words), name, options_for(model, voices.get(name), 2))
        for name, clip in named
    ]
    ratios = [
        sounding(one.audio) / sounding(clip.audio) for one, (_, clip) in zip(say(model, lines), named, strict=True)
    ]
    yield "duration against the held-out take, median", f"{np.median(ratios):.2f}", f"{len(held)} takes"
    yield "the same within 20 %", f"{100 * np.mean(np.abs(np.array(ratios) - 1) <= 0.2):.0f} %", f"{len(held)} takes"


def error_rate(spoken: Sequence[Spoken], heard: Sequence[Sequence[str]]) -> tuple[float, int]:
    """Word error in percent, and of how many words."""
    said = [[word.rstrip(",.") for word in one.line.text.split()] for one in spoken]
    result = jiwer.process_words([" ".join(words) for words in said], [" ".join(words) or "-" for words in heard])
    wrong, count = result.substitutions + result.deletions + result.insertions, sum(map(len, said))
    return 100 * wrong / count, count


def level(audio: Audio) -> float:
    """RMS in dB of full scale, at least -120."""
    return float(10 * np.log10(max(float(np.mean(audio.astype(np.float64) ** 2)), 1e-12)))


def sounding(audio: Audio) -> float:
    """Seconds from the first sound to the last."""
    start, stop = bounds(audio)
    return stop - start
