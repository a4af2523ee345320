"""`vivavoce bench`: measurements."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(help="Measure the engine, as a ratio against a peer in the same run.")


@app.callback()
def _bench() -> None:
    """Measure the engine, as a ratio against a peer in the same run."""


@app.command()
def engine(
    shape: Annotated[str, typer.Option(help="Sizes: embedded or stt-1b, with random weights.")] = "embedded",
    batch: Annotated[str, typer.Option(help="Batch sizes, with commas between.")] = "1,4,16",
    peer: Annotated[str, typer.Option(help="moshi, the reference package, or none.")] = "moshi",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16, of the language model.")] = "float32",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the arithmetic.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with rows.")] = False,
) -> None:
    """Milliseconds of one 80 ms frame (codec and language model), medians at full context."""
    import torch

    from vivavoce.bench.step import SHAPES, compare

    if shape not in SHAPES:
        raise typer.BadParameter(f"{shape!r} is none of {', '.join(SHAPES)}", param_hint="--shape")
    if dtype not in ("float32", "bfloat16"):
        raise typer.BadParameter(f"{dtype!r} is neither float32 nor bfloat16", param_hint="--dtype")
    if peer not in ("moshi", "none"):
        raise typer.BadParameter(f"{peer!r} is neither moshi nor none", param_hint="--peer")
    try:
        batches = [int(size) for size in batch.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{batch!r} is not a list such as 1,4,16", param_hint="--batch") from None
    torch.set_num_threads(threads)
    rows = []
    for row in compare(shape, batches, getattr(torch, dtype), peer == "moshi"):
        rows.append({"batch": row.batch, "ours_ms": row.ours_ms, "peer_ms": row.peer_ms, "ratio": row.ratio})
        if not as_json:
            against = f"   {peer} {row.peer_ms:8.1f} ms   ratio {row.ratio:.2f}" if row.peer_ms and row.ratio else ""
            typer.echo(f"B={row.batch:<4} ours {row.ours_ms:8.1f} ms{against}")
    if as_json:
        typer.echo(json.dumps({"shape": shape, "dtype": dtype, "threads": threads, "peer": peer, "rows": rows}))
