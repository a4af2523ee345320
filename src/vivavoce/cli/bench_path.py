"""`vivavoce bench path`: a server of its own, and what its streams cost beside the engine's step."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vivavoce.core import ExitCode

if TYPE_CHECKING:
    from vivavoce.bench.figures import Summary
    from vivavoce.bench.path import Row

READY = 120.0  # seconds


def path(
    serve: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS OF SERVE]", help="Such as --model none of your own.")
    ] = None,
    streams: Annotated[str, typer.Option(help="Live streams at once, with commas between.")] = "64,500",
    workers: Annotated[str, typer.Option(help="The server's workers, with commas between.")] = "1",
    seconds: Annotated[float, typer.Option(min=1, help="Measured, of each load.")] = 10.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds of each load that are not measured.")] = 2.0,
    dialect: Annotated[str, typer.Option(help="Of stream, words (without vad) and moshi.")] = "stream,moshi",
    flame: Annotated[
        Path | None, typer.Option(help="A flame graph of the server's process, an SVG drawn by py-spy; of one load.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with rows.")] = False,
) -> int:
    """Processor time of the server for a second of a live stream, and how much later than sent a frame is answered.

    The engine computes nothing unless a model stands behind --; what stands there goes to `vivavoce serve`, which is
    started and stopped. Exit code 1 if a frame was not answered.
    """
    from vivavoce.bench import clip
    from vivavoce.bench.crowd import TONGUES
    from vivavoce.bench.path import measure
    from vivavoce.bench.targets import target
    from vivavoce.client.services import Service
    from vivavoce.client.supervise import ServerProcess, wait_ready

    dialects = dialect.split(",")
    if unknown := [name for name in dialects if name not in TONGUES]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(TONGUES)}", param_hint="--dialect")
    loads, fronts, spoken = _counts(streams, "--streams"), _counts(workers, "--workers"), clip.load()
    if flame and len(loads) * len(fronts) * len(dialects) > 1:
        raise typer.BadParameter("a flame graph is of one load: one of --streams, --workers and --dialect each")
    rows: list[Row] = []
    options = ["--model", "null", "--slots", str(max(loads)), "--load-limit", "0", "--tts-model", "none"]
    for count in fronts:
        with ServerProcess([*options, "--workers", str(count), *(serve or [])]) as server:
            server.wait_listening(READY)
            wait_ready(server.url, READY, server)
            goal = target(Service(server.url))
            for name in dialects:
                for load in loads:
                    rows.append(measure(goal, server.pid, spoken, name, load, seconds, warm_up, flame))
                    if not as_json:
                        _show(rows[-1], first=len(rows) == 1)
            server.stop()
    if as_json:
        typer.echo(json.dumps({"rows": [asdict(row) for row in rows]}, indent=2, allow_nan=False))
    return ExitCode.OK if all(row.passed for row in rows) else ExitCode.FAILURE


def _counts(text: str, hint: str) -> list[int]:
    try:
        counts = [int(count) for count in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        example = {"--streams": "64,500", "--workers": "1,2"}[hint]
        raise typer.BadParameter(f"{text!r} is not a list such as {example}", param_hint=hint)
    return counts


def _show(row: Row, first: bool) -> None:
    if first:
        typer.echo(
            "dialect  workers  streams  server ms/s  of it main  engine ms/s  clients ms/s  cores"
            "  answer p50, p99, max ms  late p99 ms"
        )
    typer.echo(
        f"{row.dialect:8} {row.workers:7}  {row.streams:7}  {row.server_ms:11.3f}  {row.main_ms:10.3f}"
        f"  {row.engine_ms:11.3f}  {row.clients_ms:12.3f}"
        f"  {row.cores:5.2f}  {_times(row.answer):>23}  {_milliseconds(row.late.p99 if row.late else None):>11}"
    )
    if not row.passed:
        reason = f"; {len(row.failed)} streams ended: {row.failed[0]}" if row.failed else ""
        typer.echo(f"  {row.answered} of {row.asked} frames were answered{reason}", err=True)


def _times(summary: Summary | None) -> str:
    return "-" if summary is None else ", ".join(map(_milliseconds, (summary.p50, summary.p99, summary.max)))


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.1f}"
