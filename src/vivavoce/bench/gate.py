"""What a load must reach to pass, and the search for the largest one that does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from .load import Report

PRECISION = 20  # the search ends within a twentieth of what passes


@dataclass(frozen=True)
class Gate:
    """Every stream must end well and keep up; the rest is judged where a limit is given."""

    wer_max: float | None = 0.25
    latency_max_ms: float | None = None  # p95 from the last sample sent to the answer of the flush
    step_max_ms: float | None = None  # p95 of the engine's steps, as the server tells
    differences_max: int | None = None  # words that differ from a lone stream's

    def faults(self, report: Report) -> list[str]:
        """Why it does not pass, one line each; empty when it does."""
        return list(self._faults(report))

    def _faults(self, report: Report) -> Iterator[str]:
        for what, reasons in (("refused", report.refused), ("failed", report.failed)):
            if reasons:
                yield f"{len(reasons)} of {report.streams} streams {what}: {reasons[0]}"
        if report.behind:
            yield f"{report.behind} of {report.streams} streams fell behind by more than a second"
        if self.wer_max is not None and report.wer is not None and report.wer > self.wer_max:
            yield f"word error rate {report.wer:.3f}, at most {self.wer_max:g} allowed"
        if self.differences_max is not None and report.differences > self.differences_max:
            yield f"{report.differences} words differ from a lone stream's, at most {self.differences_max} may"
        if self.latency_max_ms is not None and report.flushed:
            yield from _over("final text p95", 1000 * report.flushed.p95, self.latency_max_ms)
        if self.step_max_ms is not None and report.ran:
            yield from self._step(report)

    def _step(self, report: Report) -> Iterator[str]:
        if report.steps is None or not report.steps.count:
            yield "the server does not tell its step times, which --step-max asks for"
        elif report.steps.p95_ms is None:
            yield "step p95 is beyond the last bound of the server's histogram"
        else:
            yield from _over("step p95", report.steps.p95_ms, self.step_max_ms or 0.0)


def _over(what: str, seen: float, limit: float) -> Iterator[str]:
    if seen > limit:
        yield f"{what} {seen:.1f} ms, at most {limit:g} ms allowed"


async def ramp(passes: Callable[[int], Awaitable[bool]], first: int, most: int) -> int:
    """The largest number of streams, up to `most`, that passes; 0 when one stream does not.

    Doubles from `first` until one fails, then halves the distance until it is a twentieth of what passes.
    """
    good, bad, asked = 0, most + 1, min(first, most)
    while bad - good > max(1, good // PRECISION):
        if await passes(asked):
            good = asked
            asked = min(2 * good, most) if bad > most else (good + bad) // 2
        else:
            bad = asked
            asked = (good + bad) // 2
    return good
