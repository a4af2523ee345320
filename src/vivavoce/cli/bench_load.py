"""A load, or a search for the largest that passes: run, watched, shown."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.status import Status
from rich.table import Table

from vivavoce.bench.clip import Clip
from vivavoce.bench.driver import Told
from vivavoce.bench.gate import Gate, ramp
from vivavoce.bench.load import Plan, Report, load, lone
from vivavoce.bench.targets import Target
from vivavoce.core import VivavoceError

from .bench_views import figures, row, stdout
from .console import complain, stderr

WATCH = 1.0  # seconds between two looks at the server
LOOK = 0.1  # seconds, while streams leave
EMPTY = 15.0  # seconds for the streams of one load to leave before the next


@dataclass(frozen=True)
class Outcome:
    """Loads in the order they ran; of a ramp `capacity` is what passed."""

    target: str
    tried: list[tuple[Report, list[str]]]  # and why it did not pass
    capacity: int | None = None

    @property
    def ran(self) -> bool:
        """Whether any stream did."""
        return any(report.ran for report, _ in self.tried)

    @property
    def passed(self) -> bool:
        if self.capacity is not None:
            return self.capacity > 0
        return not any(faults for _, faults in self.tried)

    def as_json(self) -> dict[str, Any]:
        loads = [{**report.as_json(), "passed": not faults, "faults": faults} for report, faults in self.tried]
        ramped = {} if self.capacity is None else {"capacity": self.capacity}
        return {"target": self.target, "passed": self.ran and self.passed, **ramped, "loads": loads}

    def show(self) -> None:
        if self.capacity is None:
            _show(*self.tried[0])
        else:
            stdout().print(f"capacity: {self.capacity} streams pass")
            for report, faults in self.tried:
                if report.streams == self.capacity:
                    _show(report, faults)
        if not self.ran:
            report, faults = self.tried[-1]
            complain(f"{self.target}: nothing ran: {faults[0] if faults else f'{report.streams} streams'}")


class Bench:
    """One server, one recording, one gate."""

    def __init__(
        self,
        target: Target,
        clip: Clip,
        gate: Gate,
        *,
        wav: Path | None,
        seconds: float,
        speed: float,
        processes: int,
        spread: float,
        quiet: bool,
    ) -> None:
        self._target, self._clip, self._gate, self._quiet = target, clip, gate, quiet
        loops = max(1, math.ceil(seconds / clip.duration))
        self._plan = Plan(str(wav) if wav else None, speed, loops, processes, spread)
        self._tried: list[tuple[Report, list[str]]] = []

    async def once(self, streams: int) -> Outcome:
        """One load. Raises VivavoceError when not even a lone stream runs."""
        await self._try(streams, await lone(self._target, self._plan))
        return Outcome(self._target.name, self._tried)

    async def ramp(self, first: int, most: int) -> Outcome:
        """Loads until the largest that passes is known, at most the server's slots where it tells them."""
        alone = await lone(self._target, self._plan)
        account = await self._target.account()
        if account and account.slots:
            most = min(most, account.slots[1])

        async def passes(streams: int) -> bool:
            await self._empty()
            return not await self._try(streams, alone)

        return Outcome(self._target.name, self._tried, await ramp(passes, first, most))

    async def _try(self, streams: int, alone: Told) -> list[str]:
        with self._watched(streams):
            report = await load(self._target, self._clip, self._plan, streams, alone)
        faults = self._gate.faults(report)
        self._tried.append((report, faults))
        if not self._quiet:
            stderr().print(_line(report, faults))
        return faults

    async def _empty(self) -> None:
        """Until the server has let go of all streams. Raises VivavoceError when it does not."""
        for _ in range(round(EMPTY / LOOK)):
            account = await self._target.account()
            if account is None or account.slots is None or not account.slots[0]:
                return
            await asyncio.sleep(LOOK)
        raise VivavoceError(f"{self._target.name}: others have streams there; --ramp needs a server of its own")

    @contextmanager
    def _watched(self, streams: int) -> Iterator[None]:
        """What the server tells about itself, on a terminal."""
        if self._quiet or not stderr().is_terminal:
            yield
            return
        with stderr().status(f"{streams} streams") as status:
            watch = asyncio.get_running_loop().create_task(self._watch(streams, status))
            try:
                yield
            finally:
                watch.cancel()

    async def _watch(self, streams: int, status: Status) -> None:
        while True:
            account = await self._target.account()
            if account is not None:
                used = f"{account.slots[0]} of {account.slots[1]} slots" if account.slots else ""
                step = "" if account.step_p95_ms is None else f"step p95 {account.step_p95_ms:.1f} ms"
                status.update(f"{streams} streams   {used}   {step}")
            await asyncio.sleep(WATCH)


def _line(report: Report, faults: list[str]) -> str:
    final = f"final text p95 {1000 * report.flushed.p95:.0f} ms  " if report.flushed else ""
    steps = report.steps
    step = f"step p95 {steps.p95_ms:.1f} ms  " if steps and steps.p95_ms is not None else ""
    wer = "" if report.wer is None else f"word error rate {report.wer:.3f}  "
    return f"{report.streams} streams  {final}{step}{wer}{'failed: ' + '; '.join(faults) if faults else 'passed'}"


def _show(report: Report, faults: list[str]) -> None:
    out = stdout()
    out.print(
        f"{report.ran} of {report.streams} streams ran, {len(report.refused)} refused, {len(report.failed)} failed, "
        f"{report.behind} fell behind"
    )
    if report.ran:
        out.print(f"{report.audio_seconds:.0f} s of audio in {report.wall_seconds:.1f} s", end="   ")
        out.print(f"speed_x {report.speed_x:.2f}   rtf {report.rtf:.4f}")
        out.print(_texts(report))
        out.print(_times(report))
    for line in _server(report):
        out.print(line)
    out.print(f"gate: {'passed' if not faults else 'not passed'}")
    for fault in faults:
        out.print(f"  {fault}")


def _texts(report: Report) -> str:
    wer = "no reference" if report.wer is None else f"word error rate {report.wer:.4f} (alone {report.lone_wer:.4f})"
    return f"{wer}   {report.differences} words differ from a lone stream's, {report.shifted} at another time"


def _times(report: Report) -> Table:
    table = figures("milliseconds")
    rows = {
        "connect and ready": report.connect,
        "first token, from the start of speech": report.speech_to_token,
        "final text, from the end of speech": report.final_text,
        "flushed, from the end of speech": report.flushed,
        "audio sent late by the clients": report.sent_late,
    }
    for title, summary in rows.items():
        if summary:
            table.add_row(title, *row(summary))
    return table


def _server(report: Report) -> Iterator[str]:
    steps = report.steps
    if steps is None or steps.mean_ms is None:
        yield "the server does not tell its step times"
    else:
        p95 = "beyond its histogram" if steps.p95_ms is None else f"{steps.p95_ms:.1f} ms"
        yield (
            f"{steps.count} steps: mean {steps.mean_ms:.1f} ms, p95 {p95}, {steps.within_80ms or 0:.1%} within 80 ms; "
            f"{report.restarts} engine restarts"
        )
    if report.server_flush_p95 is not None:
        yield f"flush to answer inside the server: p95 {1000 * report.server_flush_p95:.0f} ms (of its histogram)"
    yield f"the clients took {report.clients_cpu:.1f} s of processor time"
