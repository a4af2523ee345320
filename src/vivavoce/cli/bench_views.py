"""How latency looks: a live table on a terminal, a line for each run in a pipe, then the figures."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vivavoce.bench.figures import Summary, summarise
from vivavoce.bench.latency import MEASURES, Failed, Report, Result
from vivavoce.bench.scoring import Piece, compare

from .console import complain, stderr

if TYPE_CHECKING:
    from vivavoce.bench.clip import Clip
    from vivavoce.bench.speaker import Pass

T = TypeVar("T")
SHOWN = 12  # newest runs in the live table
TITLES = {
    "connect": "connect",
    "ready": "ready",
    "first_token": "first token, from the first audio sent",
    "speech_to_token": "first token, from the start of speech",
    "final_text": "final text, from the end of speech",
    "flushed": "flushed, from the end of speech",
    "total": "total",
}
STYLES = {"match": "green", "extra": "red", "missing": "dim strike", "pending": "dim"}
PLAIN = {"match": "{}", "extra": "{{+{}+}}", "missing": "[-{}-]", "pending": "{}"}


def stdout() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


def difference(pieces: Sequence[Piece], *, colours: bool) -> Text:
    """Green what was said and heard, red what was not said, struck out what was not heard; in a pipe as wdiff does."""
    text = Text()
    for number, piece in enumerate(pieces):
        text.append(" " if number else "")
        text.append(piece.text if colours else PLAIN[piece.kind].format(piece.text), STYLES[piece.kind])
    return text


class LatencyView:
    """What happens while runs are measured; says nothing if `quiet`."""

    def __init__(self, total: int, parallel: int, *, quiet: bool) -> None:
        self._total, self._parallel, self._quiet = total, parallel, quiet
        self._running: dict[int, tuple[Clip, Pass]] = {}
        self._done: list[tuple[int, Result]] = []
        self._name = ""
        on_screen = not quiet and stderr().is_terminal
        self._live = Live(console=stderr(), get_renderable=self._table, transient=True) if on_screen else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def target(self, name: str) -> None:
        """The runs that follow are against this one."""
        self._name = name
        self._running.clear()

    def begun(self, number: int, clip: Clip, heard: Pass) -> None:
        """A run sends audio; what it hears goes on changing."""
        self._running[number] = (clip, heard)

    def done(self, number: int, result: Result) -> None:
        """A run has ended."""
        self._running.pop(number, None)
        self._done.append((number, result))
        if self._live is None and not self._quiet:
            stderr().print(f"{len(self._done)}/{self._total}  {self._name}  {_line(result)}")

    def _table(self) -> Table:
        table = Table(title=f"{self._name}   {len(self._done)} of {self._total} runs", title_justify="left", box=None)
        for name in ("run", "first token", "final text", "tokens", "text"):
            table.add_column(name, overflow="fold", justify="left" if name == "text" else "right")
        for number, result in self._done[-SHOWN:]:
            if isinstance(result, Failed):
                table.add_row(str(number + 1), "", "", "", Text(result.reason, "red"))
            else:
                times = (_ms(result.first_token), _ms(result.final_text))
                table.add_row(str(number + 1), *times, str(result.tokens), Text(result.text))
        for number, (clip, heard) in list(self._running.items()):
            text = Text(heard.text)
            if clip.reference is not None:
                text = difference(compare(clip.reference, heard.text, running=True), colours=True)
            table.add_row(str(number + 1), _ms(heard.to_first_token()), "", str(heard.tokens), text)
        return table


def _line(result: Result) -> str:
    if isinstance(result, Failed):
        return f"{result.clip}  failed: {result.reason}"
    return (
        f"{result.clip}  connect {_ms(result.connect)}  first token {_ms(result.first_token)}  "
        f"final text {_ms(result.final_text)}  total {result.total:.2f} s  {result.tokens} tokens"
    )


def show_latency(report: Report, references: Mapping[str, str | None]) -> None:
    """Every measure of one target, and what was heard, once for each different text."""
    out = stdout()
    out.print(Text(report.target, "bold"))
    for reason, count in _counted([failure.reason for failure in report.failures]):
        complain(f"{report.target}: {count} of {len(report.results)} runs failed: {reason}")
    if not report.runs:
        return
    table = figures("milliseconds")
    for name in MEASURES:
        if summary := summarise(getattr(run, name) for run in report.runs):
            table.add_row(TITLES[name], *row(summary))
    out.print(table)
    for name in ("speed_x", "rtf"):
        if summary := summarise(getattr(run, name) for run in report.runs):
            out.print(f"{name} {summary.avg:.3f}", end="   ")
    out.print(f"{_summed(report, 'tokens')} tokens   {_summed(report, 'words')} words   {len(report.runs)} runs")
    for (clip, text), count in _counted([(run.clip, run.text) for run in report.runs]):
        reference = references.get(clip)
        shown = Text(text) if reference is None else difference(compare(reference, text), colours=out.is_terminal)
        rates = {run.wer for run in report.runs if (run.clip, run.text) == (clip, text)}
        rate = "" if reference is None else f", word error rate {rates.pop():.3f}"
        out.print(Text(f"{clip} ({count} runs{rate}): "), shown, sep="")
    out.print()


def show_comparison(reports: Sequence[Report]) -> None:
    """Targets by the average time to the first token, the fastest first."""
    table = Table("target", box=None)
    for name in ("first token avg", "min", "max", "final text p95", "runs", "failed"):
        table.add_column(name, justify="right")
    for report in reports:
        first = summarise(run.first_token for run in report.runs)
        final = summarise(run.final_text for run in report.runs)
        times = (first.avg, first.min, first.max) if first else (None,) * 3
        told = (_ms(seconds) for seconds in (*times, final.p95 if final else None))
        table.add_row(report.target, *told, str(len(report.runs)), str(len(report.failures)))
    stdout().print(table)


def _summed(report: Report, name: str) -> int:
    return sum(getattr(run, name) for run in report.runs)


def figures(unit: str) -> Table:
    """A table with a column for each figure of a summary."""
    table = Table(unit, box=None)
    for name in ("avg", "min", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="right")
    return table


def row(summary: Summary) -> list[str]:
    """Its figures in milliseconds."""
    return [_number(getattr(summary, name)) for name in ("avg", "min", "p50", "p95", "p99", "max")]


def _number(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{_number(seconds)} ms"


def _counted(items: Sequence[T]) -> list[tuple[T, int]]:
    return [(item, items.count(item)) for item in dict.fromkeys(items)]
