"""From takes to what the model is taught: groups of words strung together at their pauses, and the text's steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivavoce.core import FRAME_RATE, TEXT_BOUNDARY, TEXT_PAD
from vivavoce.nn.delays import skew
from vivavoce.session.script import ScriptMachine
from vivavoce.session.text import Entry

from ..corpus import Word
from ..targets import IGNORE
from .pool import Take
from .sizes import DELAY_STEPS, LM, PIECES, PROFILE

PAUSE = 0.16  # seconds of quiet between two words, at least, to cut there
QUIET = 0.12  # seconds after the last word before the quiet at a take's end
BREAK = 0.06  # how often a longer pause stands between two groups
STEPS = 75  # of a stream, at most
UNMARKED = 0.5  # how often the last word of all goes without its full stop: people do not type it
GO_ON = 0.5  # how often another group follows the end of a take

T = TypeVar("T")
_IDS = {piece[1:]: number for number, piece in enumerate(PIECES)}


@dataclass(frozen=True)
class Group:
    """Words between two pauses: frames of codes and the words' times in them."""

    codes: NDArray[np.int16]  # [frames, codebooks]
    words: tuple[Word, ...]
    first: bool  # of its take
    last: bool


@dataclass
class Speech:
    """A stream as it should be said."""

    codes: list[NDArray[np.int16]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)  # at which each entry is taken
    frames: int = 0
    end: int | None = None  # the step at which the text runs out; None: not within the stream


@dataclass(frozen=True)
class Lesson:
    """A batch: columns as `Lm.teach` takes them, and what is to be predicted."""

    text: Tensor  # int64 [B, T]
    codes: Tensor  # int64 [B, T, n_q]
    choices: Tensor  # int64 [B, T]: TEXT_BOUNDARY or TEXT_PAD where the model is asked, else IGNORE
    voices: list[str]


class Teacher:
    """Draws lessons from the takes of several speakers."""

    def __init__(self, takes: Sequence[Take], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.first: dict[str, list[Group]] = defaultdict(list)
        self.later: dict[str, list[Group]] = defaultdict(list)
        self.quiet: dict[str, list[NDArray[np.int16]]] = defaultdict(list)
        for take in takes:
            groups = groups_of(take)
            self.first[take.speaker].append(groups[0])
            self.later[take.speaker] += groups
            self.quiet[take.speaker].append(groups[-1].codes[-3:])
        self.speakers = sorted(self.first)

    def lesson(self, batch: int) -> Lesson:
        """`batch` streams, padded at their ends."""
        voices = [str(self.rng.choice(self.speakers)) for _ in range(batch)]
        columns = [columns_of(self.speech(voice)) for voice in voices]
        longest = max(len(text) for text, _, _ in columns)
        return Lesson(
            torch.stack([_padded(text, longest, TEXT_PAD) for text, _, _ in columns]),
            torch.stack([_padded(codes, longest, -1) for _, codes, _ in columns]),
            torch.stack([_padded(choices, longest, IGNORE) for _, _, choices in columns]),
            voices,
        )

    def speech(self, speaker: str) -> Speech:
        """Groups until one ends a take and nothing follows, or there is no room."""
        out, group = Speech(), self._one(self.first[speaker])
        while out.frames < STEPS:
            if out.frames and self.rng.random() < BREAK:
                self._pause(out, speaker)
            done = group.last and self.rng.random() > GO_ON
            self._say(out, group, final=done)
            if done:
                return out
            group = self._one(self.later[speaker])
        return out

    def _say(self, out: Speech, group: Group, final: bool) -> None:
        skipped = _onset(group) if group.first and out.frames else 0  # the quiet before a take is for beginnings
        kept = group.codes[skipped:]
        begin = out.frames - skipped
        texts = [text for text, _, _ in group.words]
        if final and self.rng.random() < UNMARKED:
            texts[-1] = texts[-1].rstrip(".")
        out.entries += [Entry(text) for text in texts]
        out.steps += [begin + _step(start) for _, start, _ in group.words]
        over = _step(group.words[-1][2] + QUIET)
        if group.last and not final:
            kept = kept[: over - skipped + int(self.rng.integers(0, 4))]
        out.codes.append(kept)
        out.frames += len(kept)
        if final:
            out.end = begin + over

    def _pause(self, out: Speech, speaker: str) -> None:
        length = int(self.rng.integers(5, 25))
        out.entries.append(Entry("", length))
        out.steps.append(out.frames)
        quiet = [self._one(self.quiet[speaker]) for _ in range(-(-length // 3))]
        out.codes.append(np.concatenate(quiet)[:length])
        out.frames += length

    def _one(self, of: Sequence[T]) -> T:
        return of[int(self.rng.integers(len(of)))]


def groups_of(take: Take) -> list[Group]:
    """The take, cut in the middle of every pause that is long enough."""
    words = take.words
    cuts = [i for i in range(1, len(words)) if words[i][1] - words[i - 1][2] >= PAUSE]
    edges = [0, *(int((words[i][1] + words[i - 1][2]) / 2 * FRAME_RATE) for i in cuts), len(take.codes)]
    groups = []
    for number, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(words)], strict=True)):
        shift = edges[number] / FRAME_RATE
        own = tuple((text, start - shift, stop - shift) for text, start, stop in words[begin:end])
        codes = take.codes[edges[number] : edges[number + 1]]
        groups.append(Group(codes, own, number == 0, number == len(cuts)))
    return groups


def columns_of(speech: Speech) -> tuple[Tensor, Tensor, Tensor]:
    """Text [T], codes [T, n_q] and choices [T]: the script machine decides as it will when the model speaks."""
    machine = ScriptMachine(PROFILE, lambda word: [_IDS[word]])
    for entry in speech.entries:
        machine.add(entry)
    machine.end()
    codes = torch.from_numpy(np.concatenate(speech.codes)[:STEPS, : LM.n_q].astype(np.int64))
    columns = skew(codes, LM.delays, DELAY_STEPS, LM.card)
    wanted, text, choices = [*speech.steps, STEPS if speech.end is None else speech.end], [], []
    for step in range(len(columns)):
        state = machine.state
        free = not (state.queued or state.forced) and state.remaining > 0 and state.end_step is None
        take = state.end_step is None and step >= wanted[state.taken]
        choice = TEXT_BOUNDARY if take else TEXT_PAD
        text.append(machine.act(choice))
        choices.append(choice if free and step < STEPS else IGNORE)
    return torch.tensor(text), columns, torch.tensor(choices)


def _onset(group: Group) -> int:
    return max(0, _step(group.words[0][1]) - 1)


def _step(time: float) -> int:
    return int(np.floor(time * FRAME_RATE + 0.5))


def _padded(column: Tensor, length: int, value: int) -> Tensor:
    filled = column.new_full((length, *column.shape[1:]), value)
    filled[: len(column)] = column
    return filled
