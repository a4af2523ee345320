"""What `vivavoce mic` shows: on a terminal a screen that lives, in a pipe lines that are final."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from vivavoce.audio.level import CLIPPING, LOUD, Level, share
from vivavoce.core import Token, TurnEnded, Vad, WordEnded

from .console import note
from .livetext import LiveText

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

    from vivavoce.client import ClientEvent

WIDTH = 36  # cells of a meter
QUIET_TEXT, SOUND_SINCE, SOUND = 15.0, 5.0, -45.0  # seconds, seconds, dBFS: when "no words" is worth saying


class View(Protocol):
    def tell(self, event: ClientEvent, now: float) -> None:
        """An event has arrived."""

    def hear(self, level: Level, now: float) -> None:
        """The sound goes on."""

    def refresh(self, now: float) -> None:
        """Called ten times a second."""

    def remark(self, said: str) -> None:
        """News of the connection."""

    def close(self) -> None:
        """Leave the final transcript behind."""


@dataclass
class Watch:
    """When there was sound and when there were words."""

    begun: float
    sound: float | None = None
    word: float | None = None

    def stalled(self, now: float) -> bool:
        """Sound within the last 5 s, and no word for 15 s."""
        silent = now - (self.begun if self.word is None else self.word)
        return self.sound is not None and now - self.sound < SOUND_SINCE and silent > QUIET_TEXT


class Lines:
    """For pipes: the text as it comes, a turn a line; with `timestamps` a word a line. No colours, nothing erased."""

    def __init__(self, *, timestamps: bool = False) -> None:
        self._timestamps = timestamps
        self._open = False  # a line has begun

    def tell(self, event: ClientEvent, now: float) -> None:  # noqa: ARG002 - a view's interface
        match event:
            case WordEnded(word) if self._timestamps:
                _write(f"[{clock(word.start)}] {word.text}\n")
            case Token(text) if not self._timestamps:
                _write(text if self._open else text.lstrip())
                self._open = self._open or bool(text.strip())
            case TurnEnded():
                self._break()

    def hear(self, level: Level, now: float) -> None:
        """Not shown."""

    def refresh(self, now: float) -> None:
        """Nothing to draw again."""

    def remark(self, said: str) -> None:
        note(said)

    def close(self) -> None:
        self._break()

    def _break(self) -> None:
        if self._open:
            _write("\n")
        self._open = False


@dataclass
class Screen:
    """For terminals: where it goes, the text with what may still grow in italics, meters for level and pauses."""

    console: Console
    title: str
    begun: float
    vad_head: int = 2
    timestamps: bool = False
    text: LiveText = field(default_factory=LiveText)
    words: list[WordEnded] = field(default_factory=list)
    level: Level | None = None
    pause: float | None = None
    notice: str = ""
    _live: Live | None = None

    def __post_init__(self) -> None:
        from rich.live import Live

        self.watch = Watch(self.begun)
        self._live = Live(self.render(self.begun), console=self.console, auto_refresh=False, transient=True)
        self._live.start()

    def tell(self, event: ClientEvent, now: float) -> None:
        self.text.add(event, now)
        if isinstance(event, Token):
            self.watch.word = now
        if isinstance(event, WordEnded):
            self.words.append(event)
        if isinstance(event, Vad) and event.pauses:
            self.pause = event.pauses[min(self.vad_head, len(event.pauses) - 1)]

    def hear(self, level: Level, now: float) -> None:
        self.level = level
        if level.rms > SOUND:
            self.watch.sound = now

    def remark(self, said: str) -> None:
        self.notice = said

    def refresh(self, now: float) -> None:
        if self._live is not None:
            self._live.update(self.render(now), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
        if self.timestamps:
            _write("".join(f"[{clock(event.word.start)}] {event.word.text}\n" for event in self.words))
        elif whole := self.text.whole():
            _write(whole + "\n")

    def render(self, now: float) -> RenderableType:
        """The whole screen; pure but for what it shows."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        settled, pending = self.text.current(now)
        height = max(3, self.console.height - 9)
        said = Text("\n").join(
            [*map(Text, self.text.turns[-height:]), Text.assemble(settled, (pending, "italic yellow"))]
        )
        rows: list[RenderableType] = [self._header(now), Panel(_tail(said, self.console, height))]
        if self.level is not None:
            rows.append(self._meter(self.level))
        if self.pause is not None:
            rows.append(Text.assemble("pause ", *_bar(self.pause, "magenta"), f" {self.pause:4.2f}"))
        if self.notice or self.watch.stalled(now):
            rows.append(Text(self.notice or "there is sound, but no words for 15 s", style="yellow"))
        return Group(*rows, Text("q or Ctrl+C ends", style="dim"))

    def _header(self, now: float) -> Text:
        from rich.text import Text

        ago = "" if self.text.last is None else f", the last {now - self.text.last:.0f} s ago"
        return Text.assemble(
            ("vivavoce ", "bold"), self.title, f"  {clock(now - self.begun)}  {self.text.pieces} pieces{ago}"
        )

    def _meter(self, level: Level) -> Text:
        from rich.text import Text

        colour = "red" if level.peak > CLIPPING else "yellow" if level.rms > LOUD else "green"
        shown = f" {level.rms:6.1f} dBFS, peak {level.peak:6.1f}"
        return Text.assemble("level ", *_bar(share(level.rms), colour, share(level.peak)), shown)


def clock(seconds: float) -> str:
    """00:00:00"""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def _bar(value: float, colour: str, mark: float | None = None) -> list[tuple[str, str]]:
    cells = ["█" if cell < round(value * WIDTH) else "·" for cell in range(WIDTH)]
    styles = [colour if cell == "█" else "dim" for cell in cells]
    if mark:
        place = min(WIDTH - 1, round(mark * WIDTH))
        cells[place], styles[place] = "│", colour
    return list(zip(cells, styles))


def _tail(text: Text, console: Console, height: int) -> Text:
    """The last lines that fit."""
    from rich.text import Text

    lines = text.wrap(console, max(20, console.width - 4))
    return Text("\n").join(lines[-height:])


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
