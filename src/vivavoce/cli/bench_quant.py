"""`vivavoce bench quant`: what packed weights cost and what they save."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vivavoce.core import ExitCode, InvalidAudioError

if TYPE_CHECKING:
    from vivavoce.bench.quant import Row

COLUMNS = (
    "way", "weights_bytes", "peak_bytes", "load_seconds", "audio_seconds", "generation_seconds", "rtf", "rtf_total",
    "wer", "wer_full",
)  # fmt: skip


def quant(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[MANIFEST…]", help="As of eval: manifests, recordings, folders; else the example."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="As of transcribe; the embedded model if not given.")
    ] = None,
    ways: Annotated[
        str, typer.Option(help="Precisions, with commas between; the first is what the others are judged against.")
    ] = "float32,bfloat16,int8,int4",
    bits: Annotated[
        list[int] | None, typer.Option(metavar="4|8", help="The first of --ways and int4 or int8; repeatable.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="How many recordings are heard at once.")] = 8,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the arithmetic.")] = 1,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="A table of it all, without the texts.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with rows.")] = False,
) -> int:
    """Size, speed and word error of a model's precisions on the CPU, each loaded in a process of its own.

    Word errors are told against what is said, where that is known, and against what the full precision heard.
    """
    from vivavoce.bench.clip import EXAMPLE
    from vivavoce.bench.quant import compare

    from .eval import samples_of

    chosen = _ways(ways, bits or [])
    found = samples_of(inputs or [EXAMPLE])
    if not found:
        raise InvalidAudioError("nothing to hear: the manifests are empty")
    paths, references = [sample.path for sample in found], [sample.reference() for sample in found]
    rows: list[Row] = []
    for row in compare(chosen, model, paths, references, batch_size, threads):
        rows.append(row)
        if not as_json:
            _show(row, chosen[0])
    table = [_values(row) for row in rows]
    if csv_file is not None:
        with csv_file.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(table)
    if as_json:
        typer.echo(json.dumps({"model": model, "threads": threads, "rows": table}, indent=2, ensure_ascii=False))
    return ExitCode.OK


def _ways(ways: str, bits: list[int]) -> list[str]:
    from vivavoce.bench.quant import WAYS

    chosen = ways.split(",")
    if bits:
        if not set(bits) <= {4, 8}:
            raise typer.BadParameter(f"{bits} are not 4 and 8", param_hint="--bits")
        chosen = [chosen[0], *(f"int{number}" for number in dict.fromkeys(bits))]
    if unknown := [way for way in chosen if way not in WAYS]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(WAYS)}", param_hint="--ways")
    return list(dict.fromkeys(chosen))


def _values(row: Row) -> dict[str, Any]:
    return {**asdict(row), "rtf": row.rtf, "rtf_total": row.rtf_total}


def _show(row: Row, full: str) -> None:
    said = "" if row.wer is None else f"   word error {row.wer:.2%}"
    typer.echo(
        f"{row.way:9} {row.weights_bytes / 1e6:8.1f} MB weights {row.peak_bytes / 1e6:8.0f} MB peak   "
        f"load {row.load_seconds:5.2f} s   rtf {row.rtf:.4f}{said}   against {full} {row.wer_full:.2%}"
    )
