"""`vivavoce bench engine` and `bench lm`: what a step costs, without a server."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

DTYPES = ("float32", "bfloat16", "int8", "int4")
BATCH = Annotated[str, typer.Option(help="Batch sizes, with commas between.")]
PEER = Annotated[str, typer.Option(help="moshi, the reference package, or none.")]
THREADS = Annotated[int, typer.Option(min=1, help="Threads of the arithmetic.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="One JSON object with rows.")]


def engine(
    shape: Annotated[
        str, typer.Option(help="Sizes: embedded, stt-1b, stt-2.6b, tts-tiny, tts-0.75b, tts-1.6b, with random weights.")
    ] = "embedded",
    batch: BATCH = "1,4,16",
    peer: PEER = "moshi",
    dtype: Annotated[
        str, typer.Option(help="Of the language model: float32, bfloat16; int8 or int4, where the peer has bfloat16.")
    ] = "float32",
    threads: THREADS = 2,
    steps: Annotated[int, typer.Option(min=1, help="Frames that are timed.")] = 9,
    as_json: AS_JSON = False,
) -> None:
    """Milliseconds of one 80 ms frame (codec and language model) at full context: median and 95th percentile."""
    import torch

    from vivavoce.bench.step import SHAPES, compare

    if shape not in SHAPES:
        raise typer.BadParameter(f"{shape!r} is none of {', '.join(SHAPES)}", param_hint="--shape")
    if dtype not in DTYPES:
        raise typer.BadParameter(f"{dtype!r} is none of {', '.join(DTYPES)}", param_hint="--dtype")
    batches, against = _sizes(batch), _has_peer(peer)
    torch.set_num_threads(threads)
    rows = []
    for row in compare(shape, batches, dtype, against, steps):
        rows.append({**asdict(row), "ratio": row.ratio})
        if not as_json:
            theirs = f"   {peer} {row.peer_ms:8.1f} ms   ratio {row.ratio:.2f}" if row.peer_ms and row.ratio else ""
            typer.echo(f"B={row.batch:<4} ours {row.ours_ms:8.1f} ms   p95 {row.ours_p95_ms:8.1f} ms{theirs}")
    if as_json:
        typer.echo(json.dumps({"shape": shape, "dtype": dtype, "threads": threads, "peer": peer, "rows": rows}))


def lm(
    shape: Annotated[str, typer.Option(help="Sizes: embedded, stt-1b or stt-2.6b, with random weights.")] = "embedded",
    batch: BATCH = "1,4,8,16",
    ways: Annotated[
        str, typer.Option(help="Of pytorch, float32, bfloat16, int8, int4; with commas between.")
    ] = "pytorch,float32,bfloat16,int8,int4",
    peer: PEER = "moshi",
    threads: THREADS = 2,
    accuracy: Annotated[
        bool, typer.Option("--accuracy", help="No times: how far the logits are from those of fp32 weights.")
    ] = False,
    as_json: AS_JSON = False,
) -> None:
    """Milliseconds of the language model alone, in PyTorch and in the native kernels' formats, medians at full context.

    The ratio is to the faster of the peer in fp32 and in bf16; cpu is processor time, which a busy machine spoils less.
    """
    import torch

    from vivavoce.bench.lm_step import FORMATS, STT_SHAPES, compare_lm, compare_logits

    if shape not in STT_SHAPES:
        raise typer.BadParameter(f"{shape!r} is none of {', '.join(STT_SHAPES)}", param_hint="--shape")
    chosen = ways.split(",")
    if unknown := [way for way in chosen if way not in FORMATS]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(FORMATS)}", param_hint="--ways")
    batches, against = _sizes(batch), _has_peer(peer)
    torch.set_num_threads(threads)
    rows: list[dict[str, object]] = []
    if accuracy:
        for far in compare_logits(shape, chosen):
            rows.append(asdict(far))
            if not as_json:
                typer.echo(f"{far.way:15} relative error {far.error:.5f}   same token {far.top1:.1%}")
        if as_json:
            typer.echo(json.dumps({"shape": shape, "rows": rows}))
        return
    for row in compare_lm(shape, batches, chosen, threads=threads, peer=against):
        rows.append({**asdict(row), "ratio": row.ratio})
        if not as_json:
            ratio = f"   ratio {row.ratio:.3f}" if row.ratio else ""
            typer.echo(f"{row.way:15} B={row.batch:<4} {row.ms:8.2f} ms   cpu {row.cpu_ms:8.2f} ms{ratio}")
    if as_json:
        typer.echo(json.dumps({"shape": shape, "threads": threads, "peer": peer, "rows": rows}))


def _sizes(batch: str) -> list[int]:
    try:
        sizes = [int(size) for size in batch.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise typer.BadParameter(f"{batch!r} is not a list such as 1,4,16", param_hint="--batch")
    return sizes


def _has_peer(peer: str) -> bool:
    if peer not in ("moshi", "none"):
        raise typer.BadParameter(f"{peer!r} is neither moshi nor none", param_hint="--peer")
    return peer == "moshi"
