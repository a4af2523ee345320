"""`vivavoce convert`: a model in another precision or layout."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vivavoce.core import ExitCode

from .console import note
from .doctor import SIMULATE

if TYPE_CHECKING:
    from vivavoce.tools.convert import Converted

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "Write a model in another precision or layout, with a report of what its numbers become.\n\n"
    "vivavoce convert kyutai/stt-1b-en_fr-candle stt-1b-fp16 --dtype float16\n\n"
    "vivavoce convert kyutai/stt-2.6b-en stt-2.6b-trfs --layout trfs\n\n"
    "vivavoce convert --sm75 kyutai/stt-1b-en_fr-candle stt-1b-fp16 \n\n"
    "vivavoce convert model.safetensors fp16.safetensors\n\n"
    "A model becomes a new folder, and one safetensors file another file, of which only bfloat16 tensors change; each "
    "is there whole or not at all. A number too large for the new precision is refused (7), and nothing is written."
)


@app.command(help=HELP)
def convert(
    source: Annotated[
        str, typer.Argument(help="A model as of transcribe, or a file: a path or hf://owner/name/model.safetensors.")
    ],
    target: Annotated[Path, typer.Argument(help="The folder, or the file NAME.safetensors, to be made.")],
    dtype: Annotated[
        Literal["float16", "float32", "bfloat16"] | None,
        typer.Option(help="Of the LM's weights; a file becomes float16, a model keeps what it has. The codec is fp32."),
    ] = None,
    layout: Annotated[
        Literal["pytorch", "candle", "trfs"],
        typer.Option(help="pytorch; candle: the same with a config of moshi-server; trfs: as transformers has it."),
    ] = "pytorch",
    sm75: Annotated[
        bool,
        typer.Option(
            "--sm75",
            help="Prepare for GPUs before Ampere, if there is one here or none is found: float16, with a config.",
        ),
    ] = False,
    simulate: SIMULATE = None,
    force: Annotated[bool, typer.Option("--force", help="With --sm75: whatever GPUs there are.")] = False,
    skip_when_undetected: Annotated[
        bool, typer.Option("--skip-when-undetected", help="With --sm75: not where no GPU is found.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One object: what was decided, and the report.")] = False,
) -> int:
    if not sm75 and (simulate or force or skip_when_undetected):
        raise typer.BadParameter("--simulate, --force and --skip-when-undetected go with --sm75")
    reason = "asked for"
    if sm75:
        wanted, reason = _wanted(simulate, force, skip_when_undetected)
        if not wanted:
            _tell(json, {"converted": False, "reason": reason}, f"nothing to do: {reason}")
            return ExitCode.OK
    done = _done(source, target, dtype or ("float16" if sm75 else None), layout, sm75, dry_run)
    for lost in done.lost:
        note(f"{done.layout} has no room for {lost}")
    if json:
        from vivavoce.tools.convert import as_json

        _tell(True, {"converted": done.written, "reason": reason, **as_json(done)}, "")
    else:
        _show(done, reason if sm75 else "")
    return ExitCode.OK


def _wanted(simulate: list[str] | None, force: bool, skip: bool) -> tuple[bool, str]:
    from vivavoce.tools.convert import needed
    from vivavoce.tools.gpus import detect, simulated

    found = simulated(simulate) if simulate else detect()
    return needed(found, force=force, skip_when_undetected=skip)


def _done(
    source: str, target: Path, dtype: str | None, layout: Literal["pytorch", "candle", "trfs"], serve: bool, dry: bool
) -> Converted:
    import torch

    from vivavoce.tools.convert import convert_file, convert_model

    wanted = None if dtype is None else getattr(torch, dtype)
    if target.suffix == ".safetensors":
        if serve or layout != "pytorch":
            raise typer.BadParameter("a single file has no layout and no config; name a folder")
        return convert_file(source, target, wanted or torch.float16, dry=dry)
    return convert_model(source, target, layout, wanted, serve=serve, dry=dry)


def _tell(as_json: bool, told: dict[str, Any], line: str) -> None:
    typer.echo(json_module.dumps(told, indent=2, ensure_ascii=False) if as_json else line)


def _show(done: Converted, reason: str) -> None:
    found = done.range
    if reason:
        typer.echo(f"because: {reason}")
    kept = f", {found.untouched} as they were" if found.untouched else ""
    typer.echo(f"{found.converted} tensors in {done.dtype}{kept}; the largest number is {found.largest:g}")
    if found.numbers:
        changed, gone = found.rounded / found.numbers, found.vanished / found.numbers
        typer.echo(f"{changed:.2%} of {found.numbers} numbers are rounded, {gone:.2%} become zero, none overflows")
    for name in found.odd:
        note(f"{name} has numbers that are NaN or infinite")
    typer.echo(f"{done.target}: {'written' if done.written else 'not written (--dry-run)'}")
    if done.config and done.written:
        typer.echo(f"vivavoce serve --config {done.config}")
