"""Where each digit of a connected string lies: forced alignment, refined by energy at pauses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import soxr

from .audio import spans
from .corpus import MIN_DIGIT, SAMPLE_RATE, Audio, EngineMissingError, Word, sane

RATE = 16_000  # what the acoustic model was trained on
PAUSE = 0.04  # seconds of silence; shorter dips are inside a word
LIST_PAUSE = 0.12  # longer than the closures inside "six" and "eight"
DEPTH = 45.0  # dB below the peak; f and th are that weak
COVERED = 0.95  # of the sound must lie in words, or a word was put elsewhere
REACH = 0.3  # seconds by which the aligner may be late at an onset that no other word claims
TAIL = 0.05  # seconds of the word before that the aligner may have left to this one


@cache
def _decoder() -> Any:
    try:
        import soundswallower  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise EngineMissingError("alignment needs `pip install soundswallower==0.6.7`") from None
    # The log goes to stderr at every utterance otherwise.
    # The beams are wide because a robot matches the acoustic model so badly that all paths die.
    return soundswallower.Decoder(
        hmm=soundswallower.get_model_path("en-us"),
        loglevel="FATAL",
        beam=1e-200,
        pbeam=1e-200,
        wbeam=1e-150,
    )


def align(audio: Audio, digits: Sequence[str]) -> tuple[Word, ...]:
    """Time the digits said in samples [n] at 24 kHz; empty when no sane alignment is found."""
    decoder = _decoder()
    decoder.set_align_text(" ".join(digits))
    narrow = soxr.resample(audio, SAMPLE_RATE, RATE)
    decoder.start_utt()
    decoder.process_raw((np.clip(narrow, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    found = [
        (str(seg.text).split("(")[0], float(seg.start), float(seg.start + seg.duration))
        for seg in (decoder.seg or ())
        if not str(seg.text).startswith(("<", "("))
    ]
    if [text for text, _, _ in found] != list(digits):
        return ()
    speech = spans(audio, PAUSE, DEPTH)
    words = snap(found, speech)
    covered = _overlap(words, speech) >= COVERED * sum(stop - start for start, stop in speech)
    return words if covered and sane(words, len(audio) / SAMPLE_RATE) else ()


def segment(audio: Audio, digits: Sequence[str]) -> tuple[Word, ...]:
    """Time a comma list by its pauses alone; empty when there is not one stretch a digit."""
    speech = spans(audio, LIST_PAUSE, DEPTH)
    if len(speech) != len(digits):
        return ()
    words = tuple((text, *span) for text, span in zip(digits, speech, strict=True))
    return words if sane(words, len(audio) / SAMPLE_RATE) else ()


def _overlap(words: Sequence[Word], speech: Sequence[tuple[float, float]]) -> float:
    return sum(max(0.0, min(stop, last) - max(start, first)) for _, start, stop in words for first, last in speech)


def snap(words: Sequence[Word], speech: Sequence[tuple[float, float]]) -> tuple[Word, ...]:
    """Move word edges that border a pause to where the sound starts and stops.

    The aligner is good between words that touch, but gives a pause to one of its neighbours and
    is late at soft onsets (f, th, s), where energy is exact.
    """
    mirrored = [(-stop, -start) for start, stop in reversed(speech)]
    snapped: list[Word] = []
    for index, (text, start, stop) in enumerate(words):
        before = words[index - 1][2] if index else -1.0
        after = words[index + 1][1] if index + 1 < len(words) else 1e9
        first, last = _onset(start, before, stop, speech), -_onset(-stop, -after, -start, mirrored)
        whole = last - first >= MIN_DIGIT  # "eight" may be cut at its closure
        snapped.append((text, first, last) if whole else (text, start, stop))
    return tuple(snapped)


def _onset(start: float, before: float, stop: float, speech: Sequence[tuple[float, float]]) -> float:
    """Where the word that begins about `start` first sounds; `before` is the last word's end."""
    for first, last in speech:
        if last - start < TAIL and last < stop - TAIL:  # a pause, or the tail of the word before
            continue
        late = start - REACH <= first < start and before <= first + TAIL
        return first if start <= first < stop or late else start
    return start
