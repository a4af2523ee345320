"""`vivavoce validate`: whether TOML files can be served, offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vivavoce.core import ExitCode
from vivavoce.settings import SettingsError, load

from .console import complain, note

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "Check TOML files of ours or of moshi-server; nothing is downloaded, no port is opened.\n\n"
    "A line for each file that is right, on standard error one for what is wrong and for every key without effect. "
    "Exit code 1 if a file is wrong. Without a file, the settings of the environment are checked."
)
FILES = Annotated[list[Path] | None, typer.Argument(metavar="[FILE…]", help="TOML files.")]


@app.command(help=HELP)
def validate(files: FILES = None) -> int:
    return check(files or [])


def check(files: Sequence[Path]) -> int:
    """Exit code for all of them. What the environment sets over a file is no matter of the file's."""
    results = [_right(file) for file in files] if files else [_right(None)]
    return ExitCode.OK if all(results) else ExitCode.FAILURE


def _right(file: Path | None) -> bool:
    try:
        loaded = load(config=file, layered=file is None)
    except SettingsError as error:
        complain(str(error))
        return False
    for warning in loaded.warnings:
        note(warning)
    served = ", ".join(f"{module.label} at {module.path}" for module in loaded.settings.served)
    typer.echo(f"{file or 'environment'}: ok, serves {served or 'nothing'}")
    return True
