"""`vivavoce worker`: the server, started as moshi-server and its fork are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import note
from .options import settled, with_settings
from .serve import run

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "Serve what a TOML file of moshi-server describes, with moshi-server's options.\n\n"
    "As [bold]vivavoce serve[/bold], but with a file that must be given, and on all addresses (0.0.0.0) unless told "
    "otherwise."
)
ALIASES = {"addr": ("-a",), "port": ("-p",), "log_level": ("-l", "--log"), "log_json": ("--json",)}


@app.command(help=HELP)
@with_settings(ALIASES)
def worker(
    *,
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="TOML of moshi-server, or of ours.")],
    cpu: Annotated[bool, typer.Option("--cpu", help="Compute on the CPU, whatever there is.")] = False,
    disable_cuda_events: Annotated[
        bool, typer.Option("--disable-cuda-events", help="Taken for compatibility; has no effect.")
    ] = False,
    enable_tf32: Annotated[
        str | None, typer.Option("--enable-tf32", metavar="BOOL", help="Taken for compatibility; has no effect.")
    ] = None,
    flags: dict[str, Any],
) -> int:
    if cpu:
        flags["device"] = "cpu"
    if disable_cuda_events or enable_tf32 is not None:
        note("--disable-cuda-events and --enable-tf32 have no effect here")
    return run(settled(flags, config, None, defaults={"addr": "0.0.0.0"}))
