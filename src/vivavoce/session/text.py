"""From text that arrives in pieces to words and breaks (spec/model.md §4.1, spec/moshi-server.md §6.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vivavoce.core import FRAME_RATE, VivavoceError

LONGEST_WORD = 256  # characters; what is longer is spoken as several words, so that no text fills the memory
LONGEST_BREAK = 10.0  # seconds
SPEAKERS = 2

_REPLACED = str.maketrans({"’": "'", ":": " ", "(": None, ")": None, "–": None})
_SECONDS = r"(?=[0-9.]{1,16}s)(?P<seconds>[0-9]+\.?[0-9]*|\.[0-9]+)"
_SEPARATOR = re.compile(rf'<break\s{{1,16}}time="{_SECONDS}s"\s{{0,16}}/?>|\s+')
_TAG_PARTS = (*"<break", r"\s{1,16}", *'time="', "[0-9.]{1,16}", "s", '"', r"\s{0,16}", "/?")


def _any_beginning(parts: tuple[str, ...]) -> re.Pattern[str]:
    pattern = ""
    for part in reversed(parts):
        pattern = f"(?:{part}{pattern})?"
    return re.compile(pattern)


_TAG_BEGINNING = _any_beginning(_TAG_PARTS)


@dataclass(frozen=True, slots=True)
class Entry:
    """A word to speak, or a break: then the text is empty."""

    text: str
    pause: int = 0  # frames of a break
    speaker: int = 0  # 0: the main one, 1: the other


class TextReader:
    """Cuts text into entries; what they are does not depend on how the text was cut before it was pushed.

    A word is known once something follows it: whitespace, a tag `<break time="0.5s"/>` or the end.
    """

    def __init__(self) -> None:
        self._rest = ""  # a word that may go on, or a tag
        self._speaker = 0

    def push(self, text: str, *, whole: bool = False, speaker: int = 0) -> list[Entry]:
        """The entries that are complete with this piece of text.

        `whole`: the piece ends a word, as if whitespace followed (one message of a moshi client). Another speaker than
        before always does. Raises VivavoceError, and changes nothing, for what is no text and for an unknown speaker.
        """
        _refuse_invalid(text, speaker)
        entries = self.end() if speaker != self._speaker else []
        self._speaker = speaker
        self._rest += text.translate(_REPLACED) + " " * whole
        return entries + self._read(self._complete())

    def end(self) -> list[Entry]:
        """The entries of what was held back: nothing follows it."""
        entries = self._read(len(self._rest))
        entries += self._words(self._rest)
        self._rest = ""
        return entries

    def clear(self) -> None:
        """Forgets what was held back."""
        self._rest = ""

    def _complete(self) -> int:
        """How much of the rest is certain: all before a tag that may still become complete."""
        begin = self._rest.rfind("<")
        return begin if begin >= 0 and _TAG_BEGINNING.fullmatch(self._rest, begin) else len(self._rest)

    def _read(self, complete: int) -> list[Entry]:
        entries, begin = list[Entry](), 0
        for separator in _SEPARATOR.finditer(self._rest):
            if separator.start() >= complete:
                break
            entries += self._words(self._rest[begin : separator.start()])
            if seconds := separator["seconds"]:
                frames = round(min(float(seconds), LONGEST_BREAK) * FRAME_RATE)
                entries.append(Entry("", frames, self._speaker))
            begin = separator.end()
        whole = max(0, complete - begin) // LONGEST_WORD * LONGEST_WORD
        entries += self._words(self._rest[begin : begin + whole])
        self._rest = self._rest[begin + whole :]
        return entries

    def _words(self, text: str) -> list[Entry]:
        cuts = range(0, len(text), LONGEST_WORD)
        return [Entry(text[at : at + LONGEST_WORD], speaker=self._speaker) for at in cuts]


def _refuse_invalid(text: str, speaker: int) -> None:
    if not isinstance(text, str):
        raise VivavoceError(f"text must be a str, got {type(text).__name__}")
    if not 0 <= speaker < SPEAKERS:
        raise VivavoceError(f"speaker must be 0 (the main one) or 1 (the other), got {speaker}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise VivavoceError(
            f"text must be Unicode, but character {error.start} of {len(text)} is half a surrogate pair"
        ) from error
