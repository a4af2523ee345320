"""`vivavoce config`: the settings that hold, and whether files are right."""

from __future__ import annotations

from typing import Any

import typer

from vivavoce.settings.render import as_toml

from . import validate as checking
from .options import CONFIG, PRESET, settled, with_settings

app = typer.Typer(help="Show and check the settings of the server, offline.", rich_markup_mode="rich")


@app.command(help="The settings that hold, as TOML, each with where it comes from. Secrets are hidden.")
@with_settings()
def show(*, config: CONFIG = None, preset: PRESET = None, flags: dict[str, Any]) -> None:
    typer.echo(as_toml(settled(flags, config, preset)), nl=False)


@app.command(help=checking.HELP)
def validate(files: checking.FILES = None) -> int:
    return checking.check(files or [])
