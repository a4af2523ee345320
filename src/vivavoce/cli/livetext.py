"""Text that is being spoken: what is settled, what may still grow, and where turns end. Knows no terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vivavoce.core import Flushed, Token, TurnEnded, WordStarted

SETTLES = 1.8  # seconds after which a piece is settled though no word was told of, as where only text was asked for


@dataclass
class _Piece:
    text: str
    start: float  # of the stream
    arrived: float  # of the reader's clock


@dataclass
class LiveText:
    """Grows by `add`; `now` is any clock that only moves forward."""

    turns: list[str] = field(default_factory=list)  # complete
    pieces: int = 0
    last: float | None = None  # when the newest piece arrived
    _settled: str = ""
    _pending: list[_Piece] = field(default_factory=list)

    def add(self, event: object, now: float) -> None:
        """One event, at the time it arrived; those that say nothing of the text are passed over."""
        match event:
            case Token(text, start):
                self._pending.append(_Piece(text, start, now))
                self.pieces, self.last = self.pieces + 1, now
            case WordStarted() | Flushed():  # all pieces so far are of words that will not change
                self._settle(lambda _: True)
            case TurnEnded():
                self._settle(lambda _: True)
                if self._settled.strip():
                    self.turns.append(self._settled.strip())
                self._settled = ""

    def current(self, now: float) -> tuple[str, str]:
        """The turn being spoken: its settled text and its pending text, to be shown one after the other."""
        self._settle(lambda piece: now - piece.arrived >= SETTLES)
        pending = "".join(piece.text for piece in self._pending)
        settled = self._settled.lstrip()
        return settled, pending if settled else pending.lstrip()

    def whole(self) -> str:
        """Everything said, a turn a line."""
        rest = self._settled + "".join(piece.text for piece in self._pending)
        return "\n".join([*self.turns, *([rest.strip()] if rest.strip() else [])])

    def _settle(self, done: Callable[[_Piece], bool]) -> None:
        while self._pending and done(self._pending[0]):
            self._settled += self._pending.pop(0).text
