"""How a transcript is written: text, JSON, subtitles, a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vivavoce.core import Transcript, Word
from vivavoce.subtitles import split_turns, srt, vtt


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"

    @property
    def suffix(self) -> str:
        return ".txt" if self is Format.TEXT else f".{self.value}"


@dataclass(frozen=True)
class Style:
    """What the user wants to see."""

    format: Format
    timestamps: bool = False  # in text: a word a line, with its times
    vad: bool = False  # show where turns end


@dataclass(frozen=True)
class Result:
    """A transcript, of which file and by which model."""

    file: str
    model: str
    transcript: Transcript


def one(result: Result, style: Style) -> str:
    """The whole content of a file that holds one transcript."""
    match style.format:
        case Format.TEXT:
            return _text(result.transcript, style)
        case Format.JSON:
            return _json(fields(result, style), indent=2)
        case Format.JSONL:
            return _json(fields(result, style))
        case Format.SRT:
            return srt(result.transcript)
        case Format.VTT:
            return vtt(result.transcript)
        case Format.TSV:
            return table([result], named=False)


def fields(result: Result, style: Style) -> dict[str, Any]:
    """The JSON object of one transcript."""
    transcript = result.transcript
    found: dict[str, Any] = {
        "file": result.file,
        "model": result.model,
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
        "words": [_word(word) for word in transcript.words],
    }
    if transcript.dropped:
        found["dropped"] = [_word(word) for word in transcript.dropped]
    if style.vad:
        found["turns"] = [round(turn, 3) for turn in transcript.turns]
        found["turns_started"] = [round(turn, 3) for turn in transcript.started]
        found["turns_resumed"] = [round(turn, 3) for turn in transcript.resumed]
    return found


def array(results: Sequence[Result], style: Style) -> str:
    """A JSON array of transcripts."""
    return _json([fields(result, style) for result in results], indent=2)


def table(results: Sequence[Result], *, named: bool, header: bool = True) -> str:
    """Tab-separated words; `named` puts the file into the first column."""
    rows = [("start", "stop", "text", "confidence")] if header else []
    rows = [("file", *row) if named else row for row in rows]  # type: ignore[misc]
    for result in results:
        for word in result.transcript.words:
            row = (f"{word.start:.3f}", f"{word.stop:.3f}", word.text, f"{word.confidence:.4f}")
            rows.append((result.file, *row) if named else row)  # type: ignore[arg-type]
    return "".join("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows)


def _word(word: Word) -> dict[str, Any]:
    times = {"start": round(word.start, 3), "stop": round(word.stop, 3)}
    told = {"text": word.text, **times, "confidence": round(word.confidence, 4)}
    return told if word.suspect is None else {**told, "suspect": word.suspect}


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent) + "\n"


def _text(transcript: Transcript, style: Style) -> str:
    turns = split_turns(transcript.words, transcript.turns) if style.vad else [list(transcript.words)]
    if style.timestamps:
        return "\n".join("".join(_timed(word) for word in turn) for turn in turns)
    return "\n".join(" ".join(word.text for word in turn) for turn in turns) + "\n"


def _timed(word: Word) -> str:
    return f"{word.start:9.3f} {word.stop:9.3f}  {word.text}\n"
