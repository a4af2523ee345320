"""`vivavoce bench tts`: text to speech as a listener hears it."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vivavoce.core import ExitCode, VivavoceError

from . import remote

if TYPE_CHECKING:
    from vivavoce.bench.speakers import Speaker
    from vivavoce.bench.speech import Load

TEXT = "four one five, two two nine, zero six eight, three seven one, nine nine four, five zero two"

COLUMNS = {
    "streams": "streams", "kept up": "kept_up", "failed": "failed", "first ms": "first_audio_p50_ms",
    "p95": "first_audio_p95_ms", "rtf": "rtf_p50", "p95 ": "rtf_p95", "late p95": "late_p95_ms", "speed_x": "speed_x",
}  # fmt: skip


def tts(
    text: Annotated[str, typer.Option(metavar="TEXT|@FILE", help="What every stream says.")] = TEXT,
    streams: Annotated[str, typer.Option(help="Streams at once, with commas between.")] = "1",
    runs: Annotated[int, typer.Option("--runs", "-n", min=1, help="Rounds of each.")] = 3,
    ramp: Annotated[
        bool, typer.Option("--ramp", help="Find how many streams keep up: double from --streams, then halve.")
    ] = False,
    ramp_max: Annotated[int, typer.Option(min=1, help="Where --ramp stops.")] = 256,
    voice: Annotated[str | None, typer.Option(metavar="NAME", help="A voice.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="In this process: the model, as of say.")] = None,
    dtype: Annotated[str | None, typer.Option(help="In this process: float32 or bfloat16.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="In this process: threads of the arithmetic.")] = 2,
    url: remote.URL = None,
    service: remote.SERVICE = None,
    key: remote.KEY = None,
    token: remote.TOKEN = None,
    mint: remote.MINT = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The table as CSV on standard output.")] = False,
) -> int:
    """How soon text to speech is heard, and how many streams keep up. docs/benchmarks.md defines every figure.

    Without a server the model works in this process. Exit code 1 if any stream failed.
    """
    counts = _counts(streams)
    if ramp and len(counts) > 1:
        raise typer.BadParameter("--ramp begins with one number of --streams")
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    found = remote.service(service, url, key=key, token=token, mint=mint, dialect=None)
    if found is not None and (model or dtype):
        raise typer.BadParameter("--model and --dtype are for a model in this process; a server has its own")
    said, most = _read(text), ramp_max if ramp else max(counts)
    speaker = _local(model, dtype, threads, most, {"voice": voice}) if found is None else _remote(found, voice)
    loads, capacity = asyncio.run(_measure(speaker, said, counts, runs, most, ramp=ramp))
    if as_json:
        told = {"target": speaker.name, "text": said, "capacity": capacity, "loads": [load.as_json() for load in loads]}
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False))
    elif as_csv:
        _csv(loads)
    else:
        _table(speaker.name, loads, capacity)
    return ExitCode.OK if ramp or not any(load.failures for load in loads) else ExitCode.FAILURE


async def _measure(
    speaker: Speaker, text: str, counts: list[int], runs: int, most: int, *, ramp: bool
) -> tuple[list[Load], int | None]:
    from vivavoce.bench import gate
    from vivavoce.bench.speakers import load

    tried = list["Load"]()
    (warm,) = await speaker.together([text])  # the first of a process or a server is slower than all others
    if isinstance(warm, str):
        raise VivavoceError(f"{speaker.name}: {warm}")

    async def passes(streams: int) -> bool:
        tried.append(await load(speaker, text, streams, runs))
        return tried[-1].passed

    if ramp:
        return tried, await gate.ramp(passes, counts[0], most)
    for count in counts:
        await passes(count)
    return tried, None


def _counts(streams: str) -> list[int]:
    try:
        counts = [int(count) for count in streams.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise typer.BadParameter(f"{streams!r} is not a list such as 1,4,16", param_hint="--streams")
    return counts


def _read(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise VivavoceError(f"{text[1:]}: cannot be read ({error})") from None


def _remote(service: Any, voice: str | None) -> Speaker:
    from vivavoce.bench.speakers import RemoteSpeaker

    return RemoteSpeaker(service, {"voice": voice})


def _local(model: str | None, dtype: str | None, threads: int, most: int, manner: dict[str, Any]) -> Speaker:
    import torch

    from vivavoce.bench.speakers import LocalSpeaker
    from vivavoce.synthesizer import Synthesizer

    torch.set_num_threads(threads)
    return LocalSpeaker(Synthesizer.load(model, dtype=dtype, batch_size=most), manner)


def _csv(loads: list[Load]) -> None:
    rows = [load.row() for load in loads]
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _table(name: str, loads: list[Load], capacity: int | None) -> None:
    from rich.table import Table

    from .bench_views import stdout

    table = Table(title=name, box=None, pad_edge=False, title_justify="left")
    for title in COLUMNS:
        table.add_column(title, justify="right")
    for row in (load.row() for load in loads):
        table.add_row(*("" if row[column] is None else str(row[column]) for column in COLUMNS.values()))
    stdout().print(table)
    for load in loads:
        for failure in dict.fromkeys(load.failures):
            stdout().print(f"{load.streams} streams: {failure}")
    if capacity is not None:
        stdout().print(f"capacity: {capacity} streams keep up")
