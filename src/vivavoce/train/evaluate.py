"""What a model can do, in figures: word error, word times, false words, and the codec's round trip."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
import torch
from numpy.typing import NDArray

from vivavoce.core import FRAME_SIZE, SAMPLE_RATE, Word, seconds
from vivavoce.nn.mimi import Mimi
from vivavoce.transcriber import Transcriber, recording

from .augment import Audio, colour, decibels, fade
from .corpus import Clip


@dataclass(frozen=True)
class Utterance:
    """A test recording and the words in it."""

    audio: Audio
    words: tuple[tuple[str, float, float], ...]
    speaker: str


@dataclass(frozen=True)
class Score:
    """Word error over utterances, with the mean absolute error of the starts of words that were recognised."""

    errors: int
    words: int
    start_error: float  # seconds
    start_bias: float  # seconds, positive when late
    stop_error: float  # seconds

    @property
    def wer(self) -> float:
        """Word error rate in percent."""
        return 100 * self.errors / max(self.words, 1)


def strung(
    clips: Sequence[Clip], seed: int, length: int = 10, gap: tuple[float, float] = (0.04, 0.5)
) -> list[Utterance]:
    """Every clip once, in random order, `length` clips of one speaker to an utterance, with random pauses."""
    rng = np.random.default_rng(seed)
    by_speaker: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_speaker[clip.speaker].append(clip)
    utterances = []
    for speaker, own in sorted(by_speaker.items()):
        order = rng.permutation(len(own))
        groups = [order[first : first + length] for first in range(0, len(own), length)]
        utterances += [_join([own[i] for i in group], speaker, rng, gap) for group in groups]
    return utterances


def _join(clips: Sequence[Clip], speaker: str, rng: np.random.Generator, gap: tuple[float, float]) -> Utterance:
    parts: list[Audio] = [_quiet(rng, rng.uniform(0.2, 0.8))]
    words: list[tuple[str, float, float]] = []
    for clip in clips:
        offset = seconds(sum(map(len, parts)))
        words += [(text, offset + start, offset + stop) for text, start, stop in clip.words]
        parts += [fade(clip.audio), _quiet(rng, rng.uniform(*gap))]
    return Utterance(np.concatenate([*parts, _quiet(rng, 0.3)]), tuple(words), speaker)


def _quiet(rng: np.random.Generator, length: float) -> Audio:
    return (rng.standard_normal(int(length * SAMPLE_RATE)) * 1e-4).astype(np.float32)


def noisy(utterances: Sequence[Utterance], snr: float, seed: int) -> list[Utterance]:
    """The same with coloured noise, `snr` dB below the speech."""
    rng = np.random.default_rng(seed)
    return [
        Utterance(u.audio + colour(rng, len(u.audio)) * u.audio.std() * decibels(-snr), u.words, u.speaker)
        for u in utterances
    ]


def score(transcriber: Transcriber, utterances: Sequence[Utterance]) -> Score:
    """Transcribe and compare."""
    heard = transcribe(transcriber, [u.audio for u in utterances])
    errors, starts, stops = 0, list[float](), list[float]()
    for utterance, words in zip(utterances, heard, strict=True):
        result = jiwer.process_words(_text([w[0] for w in utterance.words]), _text([w.text for w in words]))
        errors += result.substitutions + result.deletions + result.insertions
        for chunk in result.alignments[0]:
            if chunk.type == "equal":
                own = utterance.words[chunk.ref_start_idx : chunk.ref_end_idx]
                for (_, start, stop), word in zip(own, words[chunk.hyp_start_idx : chunk.hyp_end_idx], strict=True):
                    starts.append(word.start - start)
                    stops.append(word.stop - stop)
    late = np.array(starts or [0.0])
    return Score(
        errors,
        sum(len(u.words) for u in utterances),
        float(np.abs(late).mean()),
        float(late.mean()),
        float(np.abs(np.array(stops or [0.0])).mean()),
    )


def false_words_per_minute(transcriber: Transcriber, recordings: Sequence[NDArray[np.float32]]) -> float:
    """Words heard in recordings that hold none."""
    heard = sum(len(words) for words in transcribe(transcriber, recordings))
    return heard / (seconds(sum(map(len, recordings))) / 60)


def silence_and_noise(seed: int, length: float = 20.0) -> list[Audio]:
    """Digital silence, faint and loud noise of several colours."""
    rng, samples = np.random.default_rng(seed), int(length * SAMPLE_RATE)
    levels = (-70, -50, -40, -30, -20, -12)
    return [np.zeros(samples, np.float32), *(colour(rng, samples) * decibels(level) for level in levels)]


@torch.inference_mode()
def round_trip(mimi: Mimi, utterances: Sequence[Utterance], codebooks: int | None = None) -> list[Utterance]:
    """The utterances through the codec: encoded and decoded."""
    return [Utterance(_round_trip(mimi, u.audio, codebooks), u.words, u.speaker) for u in utterances]


def _round_trip(mimi: Mimi, audio: Audio, codebooks: int | None) -> Audio:
    padded = np.pad(audio, (0, -len(audio) % FRAME_SIZE))
    codes = mimi.encode(torch.from_numpy(padded)[None], codebooks=codebooks)
    return np.asarray(mimi.decode(codes)[0].numpy()[: len(audio)])


def cpu_per_second(transcriber_of: Callable[[], Transcriber], audio: Audio) -> float:
    """CPU seconds of this process for a second of audio, batch 1, one thread, the first second left out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    transcriber = transcriber_of()
    transcribe(transcriber, [audio[:SAMPLE_RATE]])
    before = time.process_time()
    transcribe(transcriber, [audio])
    torch.set_num_threads(threads)
    return (time.process_time() - before) / seconds(len(audio))


def transcribe(transcriber: Transcriber, recordings: Sequence[NDArray[np.float32]]) -> list[tuple[Word, ...]]:
    """The words of each recording, in order."""
    results = dict(transcriber.transcribe_all([recording(audio) for audio in recordings]))
    words = []
    for index in range(len(recordings)):
        result = results[index]
        if isinstance(result, Exception):
            raise result
        words.append(result.words)
    return words


def _text(words: Sequence[str]) -> str:
    return " ".join(words)
