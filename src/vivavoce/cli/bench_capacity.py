"""`vivavoce bench capacity`: a server of its own, and the most live streams that it carries."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vivavoce.core import ExitCode, VivavoceError

if TYPE_CHECKING:
    from vivavoce.bench.targets import Account

    from .bench_load import Outcome

SLO = 80.0  # milliseconds: a step that takes longer is late for every stream
READY = 600.0  # seconds; a large model is loaded and warmed up


@dataclass(frozen=True)
class Row:
    """What a server carried; None where it told nothing or nothing passed. Milliseconds, but `wer`, errors per word."""

    model: str
    device: str
    dtype: str
    machine: str
    streams: int  # the most that passed
    step_p95_ms: float | None
    final_p95_ms: float | None  # from the end of speech to the answer of the flush, at the client
    wer: float | None
    differences: int | None  # words that differ from a lone stream's
    limit: str  # why one more did not pass


def capacity(
    serve: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS OF SERVE]", help="Model, dtype, slots, threads …")
    ] = None,
    streams: Annotated[int, typer.Option(min=1, help="Streams to begin with; then twice as many, and so on.")] = 4,
    seconds: Annotated[float, typer.Option(min=1, help="Audio of each stream, rounded up to whole recordings.")] = 20.0,
    step_max: Annotated[float, typer.Option(metavar="MS", help="The highest p95 of the engine's step.")] = SLO,
    latency_max: Annotated[
        float, typer.Option(metavar="MS", help="The highest p95 from end of speech to final text.")
    ] = 500.0,
    wav: Annotated[Path | None, typer.Option(metavar="FILE", help="What each stream says; else the example.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: the row, and every load tried.")] = False,
) -> int:
    """The most live streams that a server carries: more and more of them until the promise of 80 ms breaks.

    What stands behind -- goes to `vivavoce serve`, which is started and stopped. Exit code 1 if not one stream passes.
    """
    from vivavoce.client.services import Service
    from vivavoce.client.supervise import ServerProcess, wait_ready

    with ServerProcess(["--load-limit", "0", *(serve or [])]) as server:
        server.wait_listening(READY)
        wait_ready(server.url, READY, server)
        outcome, account = asyncio.run(_measure(Service(server.url), streams, seconds, step_max, latency_max, wav))
        server.stop()
    row = _row(outcome, account)
    if as_json:
        typer.echo(json.dumps({**asdict(row), **outcome.as_json()}, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _show(row)
    return ExitCode.OK if row.streams else ExitCode.FAILURE


async def _measure(
    service: Any, streams: int, seconds: float, step_max: float, latency_max: float, wav: Path | None
) -> tuple[Outcome, Account]:
    from vivavoce.bench import clip
    from vivavoce.bench.gate import Gate
    from vivavoce.bench.targets import target

    from .bench_load import Bench

    spoken = clip.load(wav)
    goal = target(service)
    account = await goal.account()
    if account is None or account.slots is None:
        raise VivavoceError(f"{goal.name} does not tell its slots")
    gate = Gate(None, latency_max, step_max)
    bench = Bench(
        goal, spoken, gate, wav=wav, seconds=seconds, speed=1.0, processes=1, spread=spoken.duration, quiet=False
    )
    return await bench.ramp(streams, account.slots[1]), account


def _row(outcome: Outcome, account: Account) -> Row:
    engine = account.status["engines"][0]
    best = next((report for report, _ in outcome.tried if report.streams == outcome.capacity), None)
    over = min((pair for pair in outcome.tried if pair[1]), key=lambda pair: pair[0].streams, default=None)
    return Row(
        model=engine["model"],
        device=engine["device"],
        dtype=engine["dtype"],
        machine=_machine(),
        streams=outcome.capacity or 0,
        step_p95_ms=best.steps.p95_ms if best and best.steps else None,
        final_p95_ms=1000 * best.flushed.p95 if best and best.flushed else None,
        wer=best.wer if best else None,
        differences=best.differences if best else None,
        limit=over[1][0] if over else "all slots were taken",
    )


def _machine() -> str:
    """Processor and how many of its cores are this process's."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _show(row: Row) -> None:
    figures = {
        "streams": str(row.streams),
        "step p95": _number(row.step_p95_ms, ".1f", " ms"),
        "end of speech to final p95": _number(row.final_p95_ms, ".0f", " ms"),
        "word error rate": _number(row.wer, ".3f"),
        "words that differ from a lone stream's": _number(row.differences, "d"),
        "one more": row.limit,
    }
    typer.echo(f"{row.model}, {row.dtype}, {row.device}: {row.machine}")
    for what, figure in figures.items():
        typer.echo(f"  {what}: {figure}")


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else format(value, form) + unit
