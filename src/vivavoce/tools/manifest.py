"""Lists of recordings with what they say: JSON lines as of the Modal project, or a JSON array; and sidecar files.

A line: id, wav24k_path, ref_text, sha256, duration_s. In an array also path or paths.wav, text, start, end, duration,
words. Beside a recording may lie FILE.wav.txt or FILE.txt, and FILE.wav.words.json: a list of word, start, end.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vivavoce.core import AudioNotFoundError, VivavoceError

WordTime = tuple[str, float, float]  # text, start, stop in seconds


class ManifestError(VivavoceError):
    """A manifest or a sidecar cannot be read, or an entry is not what it should be."""


@dataclass(frozen=True)
class Sample:
    """One recording; None for what is not known."""

    id: str
    path: Path
    text: str | None = None
    sha256: str | None = None
    duration: float | None = None  # seconds
    words: tuple[WordTime, ...] | None = None

    def reference(self) -> str | None:
        """What it says: of the manifest, else of the text beside it. Raises ManifestError."""
        if self.text is not None:
            return self.text
        for beside in (self.path.with_name(f"{self.path.name}.txt"), self.path.with_suffix(".txt")):
            if beside.is_file():
                return _text(beside).strip()
        return None

    def times(self) -> tuple[WordTime, ...] | None:
        """Its words: of the manifest, else of the file beside it. Raises ManifestError."""
        beside = self.path.with_name(f"{self.path.name}.words.json")
        if self.words is not None or not beside.is_file():
            return self.words
        return words_of(_json(_text(beside), str(beside)), str(beside))


def read(path: Path) -> list[Sample]:
    """Every entry, in order; ids are unique. Raises ManifestError with the line, AudioNotFoundError without a file."""
    text = _text(path)
    if text.lstrip().startswith("["):
        entries = [(f"{path}, entry {number}", entry) for number, entry in enumerate(_array(text, path), 1)]
    else:
        lines = [(f"{path}, line {number}", line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        entries = [(where, _json(line, where)) for where, line in lines]
    samples = [_sample(entry, where, path.parent) for where, entry in entries]
    seen = set[str]()
    for (where, _), sample in zip(entries, samples, strict=True):
        if sample.id in seen:
            raise ManifestError(f"{where}: the id {sample.id!r} stands there twice")
        seen.add(sample.id)
    return samples


def write(path: Path, samples: Iterable[Sample]) -> None:
    """JSON lines with paths relative to the manifest; whole or not at all."""
    lines = [
        {
            "id": sample.id,
            "wav24k_path": Path(os.path.relpath(sample.path, path.parent)).as_posix(),
            "ref_text": sample.text,
            "sha256": sample.sha256,
            "duration_s": None if sample.duration is None else round(sample.duration, 3),
        }
        for sample in samples
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    part.replace(path)


def write_beside(sample: Sample, text: str | None, words: Iterable[WordTime]) -> None:
    """FILE.wav.txt, unless `text` is None, and FILE.wav.words.json, unless there are no words."""
    timed = [{"word": word, "start": start, "end": stop} for word, start, stop in words]
    if text is not None:
        sample.path.with_name(f"{sample.path.name}.txt").write_text(f"{text}\n", "utf-8")
    if timed:
        told = json.dumps(timed, ensure_ascii=False, indent=1)
        sample.path.with_name(f"{sample.path.name}.words.json").write_text(told, "utf-8")


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def words_of(value: Any, where: str) -> tuple[WordTime, ...]:
    """From a list of {word, start, end} or [word, start, length]. Raises ManifestError."""
    if not isinstance(value, list):
        raise ManifestError(f"{where}: expected a list of words, found {type(value).__name__}")
    return tuple(_word(entry, where) for entry in value)


def _word(entry: Any, where: str) -> WordTime:
    try:
        if isinstance(entry, Mapping):
            return str(entry["word"]), float(entry["start"]), float(entry["end"])
        word, start, length = entry
        return str(word), float(start), float(start) + float(length)
    except (KeyError, TypeError, ValueError):
        raise ManifestError(f"{where}: expected word, start and end, found {json.dumps(entry)[:80]}") from None


def _sample(entry: Any, where: str, folder: Path) -> Sample:
    if not isinstance(entry, Mapping):
        raise ManifestError(f"{where}: expected an object, found {json.dumps(entry)[:80]}")
    paths = entry.get("paths")
    wav = _first(entry, where, str, "wav24k_path", "path", "audio")
    if wav is None and isinstance(paths, Mapping):
        wav = _first(paths, where, str, "wav")
    if not wav:
        raise ManifestError(f"{where}: wav24k_path is missing")
    words = None if entry.get("words") is None else words_of(entry["words"], where)
    text, sha256 = _first(entry, where, str, "ref_text", "text"), _first(entry, where, str, "sha256")
    duration = _first(entry, where, (int, float), "duration_s", "duration", "dur")
    name = wav if entry.get("id") is None else entry["id"]
    return Sample(str(name), _place(wav, folder), text, sha256, duration, words)


def _first(entry: Mapping[str, Any], where: str, kind: type | tuple[type, ...], *names: str) -> Any:
    """The value under the first of these names that has one."""
    for name in names:
        value = entry.get(name)
        if value is not None:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ManifestError(f"{where}: {name} is {json.dumps(value)[:80]}, of the wrong kind")
            return value
    return None


def _place(wav: str, folder: Path) -> Path:
    """Beside the manifest; else where the command runs, as the Modal project's manifests have it."""
    beside = folder / wav
    return beside if beside.exists() or not Path(wav).exists() else Path(wav)


def _array(text: str, path: Path) -> list[Any]:
    value = _json(text, str(path))
    assert isinstance(value, list)  # it begins with a bracket
    return value


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ManifestError(f"{where}: not JSON ({error})") from None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise AudioNotFoundError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from None
