"""Words to subtitles: what is said together, in at most two short lines, as SubRip and WebVTT write it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from textwrap import wrap

from vivavoce.core import Transcript, Word

LINE = 42  # characters
LINES = 2
LONGEST = 7.0  # seconds on the screen
SHORTEST = 1.0  # seconds; a single short word is unreadable otherwise
PAUSE = 0.8  # seconds of silence that end a cue


@dataclass(frozen=True)
class Cue:
    start: float
    stop: float
    lines: tuple[str, ...]


def srt(transcript: Transcript) -> str:
    """SubRip."""
    blocks = []
    for number, cue in enumerate(cues(transcript.words, transcript.turns), 1):
        times = f"{clock(cue.start, ',')} --> {clock(cue.stop, ',')}"
        blocks.append("\n".join([str(number), times, *cue.lines]) + "\n")
    return "\n".join(blocks)


def vtt(transcript: Transcript) -> str:
    """WebVTT."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript.words, transcript.turns):
        times = f"{clock(cue.start, '.')} --> {clock(cue.stop, '.')}"
        blocks.append("\n".join([times, *(escape(line, quote=False) for line in cue.lines)]) + "\n")
    return "\n".join(blocks)


def clock(time: float, point: str) -> str:
    """00:00:00.000"""
    milliseconds = max(0, round(time * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def cues(words: Sequence[Word], turns: Sequence[float]) -> list[Cue]:
    """Cues in order that do not overlap; they end at pauses, turn ends, and sentences when a line is full."""
    drafts = [_cue(group) for group in phrases(words, turns)]
    return [replace(cue, stop=_stop(cue, after)) for cue, after in pairwise([*drafts, None]) if cue]


def split_turns(words: Sequence[Word], turns: Sequence[float]) -> list[list[Word]]:
    """The words of each turn, in order; turns without words are left out."""
    groups: list[list[Word]] = []
    for index, word in enumerate(words):
        if index == 0 or _turn_between(words[index - 1], word, turns):
            groups.append([])
        groups[-1].append(word)
    return groups


def phrases(words: Sequence[Word], turns: Sequence[float]) -> Iterator[list[Word]]:
    """The words of each cue, in order."""
    for turn in split_turns(words, turns):
        group = turn[:1]
        for word in turn[1:]:
            if _breaks(group, word):
                yield group
                group = []
            group.append(word)
        yield group


def _breaks(group: Sequence[Word], word: Word) -> bool:
    last, text = group[-1], _text(group)
    return (
        word.start - last.stop > PAUSE
        or word.stop - group[0].start > LONGEST
        or len(wrap(f"{text} {word.text}", LINE, break_long_words=False, break_on_hyphens=False)) > LINES
        or (last.text.endswith((".", "?", "!")) and len(text) > LINE)
    )


def _turn_between(last: Word, word: Word, turns: Sequence[float]) -> bool:
    return bisect_right(turns, word.start) > bisect_right(turns, last.start)


def _cue(group: Sequence[Word]) -> Cue:
    lines = wrap(_text(group), LINE, break_long_words=False, break_on_hyphens=False)
    return Cue(group[0].start, min(group[-1].stop, group[0].start + LONGEST), tuple(lines))


def _stop(cue: Cue, after: Cue | None) -> float:
    """Long enough to read, and not into the next cue."""
    stop = max(cue.stop, cue.start + SHORTEST)
    return stop if after is None else max(cue.start, min(stop, after.start))


def _text(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)
