"""Sample recordings: brought into one form with a manifest, checked, and given what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np

from vivavoce import audio
from vivavoce.core import SAMPLE_RATE, Transcript, VivavoceError, seconds

from .manifest import Sample, WordTime, digest, read, write, write_beside

MANIFEST = "manifest.jsonl"
POINTER = b"version https://git-lfs"
CLOSE = 0.005  # seconds by which a duration may differ
Annotator = Callable[[Path], tuple[str, tuple[WordTime, ...]]]  # what a recording says, and when


@dataclass(frozen=True)
class Made:
    """One recording that came into the folder, or was there already."""

    sample: Sample
    new: bool


def build(
    recordings: Sequence[Path], folder: Path, annotator: Annotator | None = None
) -> Iterator[Made | VivavoceError]:
    """Each recording as 24 kHz mono 16-bit WAV in `folder`, and an entry in its manifest, which is added to.

    A recording whose very samples are there already is not taken twice; two of one name get two ids. What one says
    comes from the text beside it, else from the `annotator`. The manifest is written after each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    known = read(manifest) if manifest.exists() else []
    ids, digests = {sample.id for sample in known}, {sample.sha256: sample for sample in known}
    for path in recordings:
        try:
            made = _one(path, folder, ids, digests, annotator)
        except VivavoceError as error:
            yield error
            continue
        if made.new:
            known.append(made.sample)
            ids.add(made.sample.id)
            digests[made.sample.sha256] = made.sample
            write(manifest, known)
        yield made


def _one(
    path: Path, folder: Path, ids: set[str], digests: dict[str | None, Sample], annotator: Annotator | None
) -> Made:
    samples, part = audio.load(path), folder / ".part.wav"
    try:
        audio.save(part, samples)
        print_of = digest(part)
        if print_of in digests:
            return Made(digests[print_of], new=False)
        name = _unused(_plain(path.stem), ids, folder)
        target = part.replace(folder / f"{name}.wav")
    finally:
        part.unlink(missing_ok=True)
    sample = Sample(name, target, Sample(name, path).reference(), print_of, seconds(len(samples)))
    if words := Sample(name, path).times():
        write_beside(sample, None, words)
    return Made(annotated(sample, annotator) if sample.text is None and annotator else sample, new=True)


def _plain(stem: str) -> str:
    return re.sub(r"[^\w.-]+", "_", stem).strip("._") or "sample"


def _unused(name: str, ids: set[str], folder: Path) -> str:
    tries = (name, *(f"{name}-{number}" for number in range(2, 1_000_000)))
    return next(one for one in tries if one not in ids and not (folder / f"{one}.wav").exists())


def annotated(sample: Sample, annotator: Annotator) -> Sample:
    """With what the annotator heard; text and words are written beside the recording."""
    text, words = annotator(sample.path)
    write_beside(sample, text, words)
    return replace(sample, text=text)


def annotate(manifest: Path, annotator: Annotator, *, all: bool = False) -> Iterator[Sample | VivavoceError]:
    """Every entry without a text, or all; the manifest is written after each. Yields those that were annotated."""
    samples = read(manifest)
    for place, sample in enumerate(samples):
        if not all and sample.reference():
            continue
        try:
            samples[place] = annotated(sample, annotator)
        except VivavoceError as error:
            yield error
            continue
        write(manifest, samples)
        yield samples[place]


def faults(samples: Sequence[Sample]) -> Iterator[tuple[str, str]]:
    """(id, what is wrong) of every entry that is not as its manifest says, or of no use to a benchmark."""
    for sample in samples:
        yield from ((sample.id, fault) for fault in _faults(sample))


def _faults(sample: Sample) -> Iterator[str]:
    if not sample.path.is_file():
        yield f"{sample.path} does not exist"
        return
    with sample.path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            yield f"{sample.path} is only a pointer to the recording (git lfs pull)"
            return
    if sample.sha256 is None:
        yield "no sha256"
    elif digest(sample.path) != sample.sha256:
        yield f"{sample.path} is not the file of the manifest: its sha256 differs"
    try:
        yield from _form(sample)
        if not (sample.reference() or "").strip():
            yield "no reference text"
        if sample.times() == ():
            yield "its list of words is empty"
    except VivavoceError as error:
        yield str(error)


def _form(sample: Sample) -> Iterator[str]:
    samples = audio.load(sample.path)
    length = seconds(len(samples))
    with av.open(str(sample.path)) as opened:
        stream = opened.streams.audio[0]
        rate, channels = stream.rate, stream.channels
    if (rate, channels) != (SAMPLE_RATE, 1):
        yield f"{rate} Hz and {channels} channels, not {SAMPLE_RATE} Hz mono"
    if sample.duration is not None and abs(length - sample.duration) > CLOSE:
        yield f"{length:.3f} s long, {sample.duration:.3f} s by the manifest"
    if not np.abs(samples).max(initial=0.0):
        yield "silence only"


def by_model(hear: Callable[[Path], Transcript]) -> Annotator:
    """A model in this process, `Transcriber.transcribe`."""

    def annotator(path: Path) -> tuple[str, tuple[WordTime, ...]]:
        heard = hear(path)
        return heard.text, tuple((word.text, round(word.start, 3), round(word.stop, 3)) for word in heard)

    return annotator
