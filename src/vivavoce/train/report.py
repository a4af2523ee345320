"""The figures of a model card, measured on the held-out part of a corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from vivavoce.checkpoints import SttModel, load_stt
from vivavoce.core import SAMPLE_RATE
from vivavoce.transcriber import Transcriber

from . import evaluate
from .corpus import Audio, Clip
from .library import Library

Row = tuple[str, str, str]  # what, figure, on what


def report(corpus: Path, model: str | None = None) -> str:
    """A Markdown table; the held-out clips of every source, never trained on."""
    return table(_rows(load_stt(model), Library(corpus, held=True).clips))


def table(rows: Iterable[Row]) -> str:
    """Rows as Markdown."""
    lines = [f"| {what} | {figure} | {over} |" for what, figure, over in rows]
    return "\n".join(["| figure | value | measured on |", "|---|---|---|", *lines])


def _rows(model: SttModel, held: list[Clip]) -> Iterator[Row]:
    transcriber = Transcriber(model, batch_size=16)
    digits = [clip for clip in held if clip.words]
    for source in sorted({clip.source for clip in digits}):
        yield from _recognition(transcriber, model, source, [clip for clip in digits if clip.source == source])
    noise = evaluate.silence_and_noise(1)
    rate = evaluate.false_words_per_minute(transcriber, noise)
    yield "false words on silence and noise", f"{rate:.1f} a minute", f"{_minutes(noise):.1f} min"
    others = [clip.audio for clip in held if not clip.words]
    rate = evaluate.false_words_per_minute(transcriber, others)
    yield "false words on speech without digits", f"{rate:.1f} a minute", f"{_minutes(others):.1f} min"
    long = evaluate.strung(digits, seed=3, length=60)[0].audio
    cost = evaluate.cpu_per_second(lambda: Transcriber(model, batch_size=1), long)
    yield "CPU seconds for a second of audio", f"{cost:.3f}", "one stream, one thread"


def _recognition(transcriber: Transcriber, model: SttModel, source: str, clips: list[Clip]) -> Iterator[Row]:
    utterances = [u for seed in (1, 2, 3) for u in evaluate.strung(clips, seed)]  # each clip thrice, in other company
    clean = evaluate.score(transcriber, utterances)
    words = f"{source}, {clean.words} words"
    yield "word error rate", f"{clean.wer:.1f} %", words
    yield "word start, mean absolute error", f"{clean.start_error * 1e3:.0f} ms", words
    yield "word stop, mean absolute error", f"{clean.stop_error * 1e3:.0f} ms", words
    for speaker in sorted({clip.speaker for clip in clips}):
        own = evaluate.score(transcriber, [u for u in utterances if u.speaker == speaker])
        yield f"word error rate, {speaker}", f"{own.wer:.1f} %", f"{own.words} words"
    for snr in (20, 10, 5):
        noisy = evaluate.score(transcriber, evaluate.noisy(utterances, snr, seed=2))
        yield f"word error rate at {snr} dB of noise", f"{noisy.wer:.1f} %", words
    again = evaluate.score(transcriber, evaluate.round_trip(model.mimi, utterances))
    yield "word error rate after the codec's round trip", f"{again.wer:.1f} %", words


def _minutes(recordings: list[Audio]) -> float:
    return sum(map(len, recordings)) / SAMPLE_RATE / 60
