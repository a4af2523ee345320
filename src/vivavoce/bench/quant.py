"""One model in several precisions, each in a process of its own: its size, its speed, and what it hears."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

from vivavoce.core import UnsupportedError, VivavoceError

from .scoring import word_errors

WAYS = ("float32", "bfloat16", "int8", "int4")


@dataclass(frozen=True)
class Job:
    """What is asked of a process."""

    way: str
    model: str | None
    recordings: tuple[Path, ...]
    batch: int
    threads: int


@dataclass(frozen=True)
class Heard:
    """What a process told. Seconds and bytes."""

    way: str
    load: float  # until the engine is made
    weights: int  # of the LM as steps read it
    peak: int  # of the process's memory
    audio: float
    generation: float  # for all recordings
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One precision; rates are errors / words, None where there is nothing to compare with."""

    way: str
    weights_bytes: int
    peak_bytes: int
    load_seconds: float
    audio_seconds: float
    generation_seconds: float
    wer: float | None  # against what is said
    wer_full: float  # against what the full precision heard
    texts: tuple[str, ...]

    @property
    def rtf(self) -> float:
        """Time taken / audio, without loading."""
        return self.generation_seconds / self.audio_seconds

    @property
    def rtf_total(self) -> float:
        """The same with loading."""
        return (self.load_seconds + self.generation_seconds) / self.audio_seconds


def compare(
    ways: Sequence[str], model: str | None, recordings: Sequence[Path], references: Sequence[str | None],
    batch: int, threads: int,
) -> Iterator[Row]:  # fmt: skip
    """A row for each way as it is done; the first is full precision, against which the others are judged.

    Raises what loading or a recording raises.
    """
    full: tuple[str, ...] | None = None
    for way in ways:
        heard = _apart(Job(way, model, tuple(recordings), batch, threads))
        full = heard.texts if full is None else full
        said = [(reference, text) for reference, text in zip(references, heard.texts, strict=True) if reference]
        yield Row(
            way, heard.weights, heard.peak, heard.load, heard.audio, heard.generation,
            _rate(said) if said else None, _rate(list(zip(full, heard.texts, strict=True))), heard.texts,
        )  # fmt: skip


def _rate(pairs: list[tuple[str, str]]) -> float:
    counted = [word_errors(reference, text) for reference, text in pairs]
    errors, words = sum(errors for errors, _ in counted), sum(words for _, words in counted)
    return errors / words if words else float(errors > 0)


def _apart(job: Job) -> Heard:
    """In a fresh process, so that its peak of memory is its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(run, job).result()


def run(job: Job) -> Heard:
    """In this process."""
    import torch

    from vivavoce.checkpoints import load_stt
    from vivavoce.transcriber import Transcriber, recording

    torch.set_num_threads(job.threads)
    begun = perf_counter()
    loaded = load_stt(job.model, device="cpu", dtype=job.way)
    transcriber = Transcriber(loaded, batch_size=min(job.batch, len(job.recordings)), temperature=0.0)
    weights = transcriber.engine.weight_bytes
    if weights is None:
        raise UnsupportedError("bench quant measures the native CPU kernels, which this model or machine has not")
    made, texts, audio = perf_counter(), [""] * len(job.recordings), 0.0
    for index, result in transcriber.transcribe_all([recording(path) for path in job.recordings]):
        if isinstance(result, VivavoceError):
            raise result
        texts[index] = result.text
        audio += result.duration
    return Heard(job.way, made - begun, weights, _peak(), audio, perf_counter() - made, tuple(texts))


def _peak() -> int:
    import psutil

    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
