"""`vivavoce plan`: how many streams a machine carries."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vivavoce.core import ExitCode, UnsupportedError

if TYPE_CHECKING:
    from vivavoce.tools.gpus import Gpu
    from vivavoce.tools.plan import Plan

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "Say how many streams a machine carries: what the model and its streams take of its memory, and, where it was "
    "measured, what their steps take of 80 ms. Nothing is downloaded.\n\n"
    "vivavoce plan\n\n"
    "vivavoce plan --model kyutai/stt-1b-en_fr --gpu L4\n\n"
    "vivavoce plan --model kyutai/stt-2.6b-en --gpu H100 --streams 10000\n\n"
    "Without --gpu: the first NVIDIA GPU of this machine, else its processor. Exit code 1 if not one stream fits, or "
    "fewer than --slots."
)
FORK = "The fork's estimate"
LIMITS = {
    "step": "by the time of a step",
    "memory": "by memory",
    "fork": "by the fork's estimate, which no plan goes beyond",
    "server": "the most that a server takes",
}


@app.command(help=HELP)
def plan(
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="As of transcribe; the embedded model if not given.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="A GPU by name (L4, RTX 2070, H100 …), or its number here.")
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="This machine's processor, whatever GPUs there are.")] = False,
    vram_mb: Annotated[
        int | None, typer.Option(metavar="MIB", min=1, help="The GPU's whole memory, of one that has no name here.")
    ] = None,
    free_mb: Annotated[
        int | None, typer.Option(metavar="MIB", min=0, help="What is free of the GPU; else what the driver says.")
    ] = None,
    sm: Annotated[str, typer.Option(metavar="SM", help="Compute capability, with --vram-mb: sm75, 8.6 …")] = "sm80",
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="float32, bfloat16, float16, int8; int4 on a CPU.")
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Must so many streams fit? Else exit code 1.")] = None,
    streams: Annotated[
        int | None, typer.Option(min=1, help="How many such machines so many live streams need.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Load the model and time its steps on this processor, for a minute or so.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the arithmetic, with --measure; all cores.")] = None,
    reserved_mb: Annotated[
        int | None,
        typer.Option(
            metavar="MIB", min=0, envvar="MOSHI_VRAM_RESERVED_MB", help="Left free; 2560.", rich_help_panel=FORK
        ),
    ] = None,
    codec_mb: Annotated[
        int | None,
        typer.Option(
            metavar="MIB", min=0, envvar="MOSHI_MIMI_ESTIMATE_MB", help="Of the codec; 1024.", rich_help_panel=FORK
        ),
    ] = None,
    per_slot_mb: Annotated[
        int | None,
        typer.Option(
            metavar="MIB", min=1, envvar="MOSHI_PER_BATCH_ITEM_MB", help="Of a stream; computed.", rich_help_panel=FORK
        ),
    ] = None,
    params_billions: Annotated[
        float | None,
        typer.Option(
            min=0, envvar="MOSHI_MODEL_PARAMS_BILLIONS", help="Weights, 10⁹; the model's own.", rich_help_panel=FORK
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One object, in bytes and milliseconds.")] = False,
) -> int:
    if cpu and (gpu or vram_mb or free_mb):
        raise typer.BadParameter("--cpu excludes --gpu, --vram-mb and --free-mb")
    card = None if cpu else _card(gpu, vram_mb, free_mb, sm)
    if card is not None and measure:
        raise typer.BadParameter("--measure times this machine's processor; say --cpu")
    fork = {"reserved": reserved_mb, "codec": codec_mb, "per_slot": per_slot_mb, "billions": params_billions}
    made = _made(model, card, dtype, {name: value for name, value in fork.items() if value is not None})
    if measure:
        made = _measured(made, model, dtype, threads)
    machines = None if streams is None or not made.slots else -(-streams // made.slots)
    if json:
        typer.echo(json_module.dumps(_as_json(made, streams, machines), indent=2, ensure_ascii=False))
    else:
        _show(made, streams, machines)
    return ExitCode.OK if made.slots >= (slots or 1) else ExitCode.FAILURE


def _card(name: str | None, total: int | None, free: int | None, sm: str) -> Gpu | None:
    """The GPU that is meant; None: the processor."""
    from dataclasses import replace

    from vivavoce.tools.cards import MIB, TAKEN, card
    from vivavoce.tools.gpus import detect, simulated

    if total is not None:
        if name is not None:
            raise typer.BadParameter("one of --gpu and --vram-mb says which GPU is meant")
        (one,) = simulated([sm]).gpus
        found: Gpu | None = replace(one, total=total * MIB, free=max(0, total - TAKEN) * MIB)
    elif name is not None and not name.isdigit():
        found = card(name)
    else:
        here = detect()
        if name is not None and int(name) >= len(here.gpus):
            raise UnsupportedError(f"--gpu {name}: this machine has {len(here.gpus)} GPUs")
        found = here.gpus[int(name or 0)] if here.gpus else None
    if free is not None:
        if found is None:
            raise typer.BadParameter("--free-mb is of a GPU, and this machine has none: name one with --gpu")
        found = replace(found, free=free * MIB)
    return found


def _made(model: str | None, card: Gpu | None, dtype: str | None, fork: dict[str, Any]) -> Plan:
    from vivavoce.tools.plan import on_cpu, on_gpu, sizes_of

    sizes = sizes_of(model)
    return on_cpu(sizes, model, dtype) if card is None else on_gpu(sizes, card, dtype, **fork)


def _measured(made: Plan, model: str | None, dtype: str | None, threads: int | None) -> Plan:
    from vivavoce.checkpoints import load_stt
    from vivavoce.checkpoints.random import RANDOM
    from vivavoce.tools.machine import cores
    from vivavoce.tools.plan import measure, measured, shape_of

    shape = shape_of(model)  # what a step costs does not depend on what the weights are
    source = model if shape is None else f"{RANDOM}{shape}"
    return measured(made, measure(load_stt(source, device="cpu", dtype=dtype), threads or cores()))


def _as_json(made: Plan, streams: int | None, machines: int | None) -> dict[str, Any]:
    told: dict[str, Any] = {**asdict(made), "slots": made.slots, "limit": made.limit}
    told["fork"] = made.fork and {**asdict(made.fork), "critical": made.fork.critical}
    return told if streams is None else {**told, "streams": streams, "machines": machines}


def _show(made: Plan, streams: int | None, machines: int | None) -> None:
    from vivavoce.tools.finding import bytes_of

    typer.echo(f"{made.model}, {made.dtype}, on {made.where}")
    typer.echo(f"  memory: {bytes_of(made.free)} free, {bytes_of(made.weights)} for the model")
    for kept in made.memory:
        typer.echo(f"  keys and values in {kept.dtype}: {bytes_of(kept.slot)} a stream, {kept.slots} streams")
    if made.fork is not None:
        fork, critical = made.fork, ": nothing is left" if made.fork.critical else ""
        typer.echo(f"  the fork's estimate: {fork.per_slot} MiB a stream, {fork.slots} streams{critical}")
    if made.steps is None:
        how = "python bench/gpu.py" if made.fork else "--measure"
        typer.echo(f"  step: not measured; the plan is of memory alone ({how} measures)")
    else:
        times = ", ".join(f"{batch}: {taken:.1f} ms" for batch, taken in made.steps.milliseconds.items())
        where = f"{made.steps.where}, {made.steps.threads} threads"
        typer.echo(f"  step by streams ({where}): {times}; {made.steps.slots} within 72 ms")
    typer.echo(f"slots: {made.slots}, {LIMITS[made.limit]}")
    if streams is not None:
        typer.echo(f"machines for {streams} streams: {machines or 'none is enough'}")
