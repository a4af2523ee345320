"""How well, and how soon, recordings are heard: word and character errors, times of words, and waiting times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import mean
from time import perf_counter
from typing import TYPE_CHECKING, Any

from vivavoce import audio
from vivavoce.bench import clip
from vivavoce.bench.calibration import Judged, bins, expected_error, judge
from vivavoce.bench.figures import summarise
from vivavoce.bench.latency import Failed, Run, run_once
from vivavoce.bench.scoring import character_errors, normalise, word_errors
from vivavoce.bench.targets import Target
from vivavoce.core import AudioNotFoundError, Transcript, VivavoceError, Word

from .manifest import Sample, WordTime

if TYPE_CHECKING:
    from vivavoce.transcriber import Transcriber

WAITS = ("connect", "ready", "first_token", "speech_to_token", "final_text", "flushed")  # of bench latency


@dataclass(frozen=True)
class Heard:
    """One recording; None without a reference, or where there is no such figure. Seconds."""

    id: str
    text: str
    reference: str | None
    duration: float
    word_errors: int | None = None
    words: int | None = None  # of the reference
    character_errors: int | None = None
    characters: int | None = None
    start_error: float | None = None  # mean distance of the starts of words that were heard right
    stop_error: float | None = None
    waits: dict[str, float | None] = field(default_factory=dict)
    confidences: list[Judged] = field(default_factory=list)  # of the heard words, and whether each is right

    @property
    def wer(self) -> float | None:
        return rate(self.word_errors, self.words)

    @property
    def cer(self) -> float | None:
        return rate(self.character_errors, self.characters)


def rate(errors: int | None, of: int | None) -> float | None:
    """Against an empty reference 0 if nothing was heard, else 1."""
    if errors is None or of is None:
        return None
    return errors / of if of else float(errors > 0)


@dataclass(frozen=True)
class Evaluation:
    """Everything that was heard, what failed and why, and the seconds that it took."""

    heard: list[Heard]
    failed: list[tuple[str, VivavoceError]]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        scored = [one for one in self.heard if one.wer is not None]
        words, characters = sum(one.words or 0 for one in scored), sum(one.characters or 0 for one in scored)
        spoken = sum(one.duration for one in self.heard)
        confidences = [word for one in self.heard for word in one.confidences]
        return {
            "samples": len(self.heard),
            "failed": len(self.failed),
            "words": words,
            "wer": rate(sum(one.word_errors or 0 for one in scored), words) if scored else None,
            "cer": rate(sum(one.character_errors or 0 for one in scored), characters) if scored else None,
            "wer_mean": mean(one.wer or 0.0 for one in scored) if scored else None,
            "cer_mean": mean(one.cer or 0.0 for one in scored) if scored else None,
            "start_error": _mean(one.start_error for one in self.heard),
            "stop_error": _mean(one.stop_error for one in self.heard),
            "calibration_error": expected_error(confidences),
            "calibration": [asdict(one) for one in bins(confidences)],
            "audio_seconds": spoken,
            "seconds": self.seconds,
            "rtf": self.seconds / spoken if spoken else None,
            "speed_x": spoken / self.seconds if self.seconds else None,
            "waits": {
                name: asdict(summary)
                for name in WAITS
                if (summary := summarise(one.waits.get(name) for one in self.heard))
            },
        }


def _mean(values: Iterator[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return mean(there) if there else None


def judged(sample: Sample, heard: Transcript) -> Heard:
    """What was heard of a sample against what it says."""
    reference = sample.reference()
    if reference is None:
        return Heard(sample.id, heard.text, None, heard.duration)
    wrong, words = word_errors(reference, heard.text)
    off, characters = character_errors(reference, heard.text)
    start, stop = _distances(sample.times() or (), heard.words)
    return Heard(
        sample.id, heard.text, reference, heard.duration, wrong, words, off, characters, start, stop,
        confidences=judge(reference, heard.words),
    )  # fmt: skip


def _distances(said: Sequence[WordTime], heard: Sequence[Word]) -> tuple[float | None, float | None]:
    """Mean distances of starts and stops, of the words that the alignment has as the same."""
    import jiwer

    one, other = [normalise(word) for word, _, _ in said], [normalise(word.text) for word in heard]
    if not said or not heard or any(len(word.split()) != 1 for word in (*one, *other)):
        return None, None
    pairs = [
        (said[place], heard[chunk.hyp_start_idx + place - chunk.ref_start_idx])
        for chunk in jiwer.process_words(" ".join(one), " ".join(other)).alignments[0]
        if chunk.type == "equal"
        for place in range(chunk.ref_start_idx, chunk.ref_end_idx)
    ]
    if not pairs:
        return None, None
    return mean(abs(a[1] - b.start) for a, b in pairs), mean(abs(a[2] - b.stop) for a, b in pairs)


def evaluate(
    samples: Sequence[Sample], transcriber: Transcriber, progress: Callable[[float], None] | None = None
) -> Evaluation:
    """By a model in this process, as many at once as its batch holds and as fast as it can."""
    from vivavoce.transcriber import recording

    there = [sample for sample in samples if sample.path.is_file()]
    heard, failed, begun = dict[int, Heard](), _absent(samples), perf_counter()
    for index, result in transcriber.transcribe_all([recording(sample.path) for sample in there], progress):
        if isinstance(result, VivavoceError):
            failed.append((there[index].id, result))
        else:
            heard[index] = judged(there[index], result)
    return Evaluation([heard[index] for index in sorted(heard)], failed, perf_counter() - begun)


def evaluate_server(
    samples: Sequence[Sample], target: Target, speed: float, parallel: int, progress: Callable[[float], None]
) -> Evaluation:
    """By a server, each spoken to it as a microphone would, so that there are waiting times too."""
    there = [sample for sample in samples if sample.path.is_file()]
    heard, failed, begun = dict[int, Heard](), _absent(samples), perf_counter()
    room = asyncio.Semaphore(parallel)

    async def one(index: int, sample: Sample) -> None:
        async with room:
            try:
                spoken = await asyncio.to_thread(clip.load, sample.path, sample.reference() or "")
                run = await run_once(target, spoken, speed)
                if isinstance(run, Failed):
                    raise VivavoceError(f"{sample.id}: {run.reason}")
                heard[index] = _with_waits(sample, run)
            except VivavoceError as error:
                failed.append((sample.id, error))
                return
            progress(spoken.duration)

    async def every() -> None:
        await asyncio.gather(*(one(index, sample) for index, sample in enumerate(there)))

    asyncio.run(every())
    return Evaluation([heard[index] for index in sorted(heard)], failed, perf_counter() - begun)


def _with_waits(sample: Sample, run: Run) -> Heard:
    words = tuple(Word(text, 0.0, 0.0, 1.0) for text in run.text.split())
    told = judged(Sample(sample.id, sample.path, sample.reference(), words=()), Transcript(words, run.audio))
    return Heard(**{**vars(told), "waits": {name: getattr(run, name) for name in WAITS}, "confidences": []})


def _absent(samples: Sequence[Sample]) -> list[tuple[str, VivavoceError]]:
    missing = [sample for sample in samples if not sample.path.is_file()]
    return [(sample.id, AudioNotFoundError(f"{sample.path}: no such file")) for sample in missing]


def total(samples: Sequence[Sample]) -> float | None:
    """Seconds of audio, where all tell it."""
    lengths = [sample.duration or audio.duration(sample.path) for sample in samples if sample.path.is_file()]
    return None if None in lengths else sum(length for length in lengths if length is not None)
