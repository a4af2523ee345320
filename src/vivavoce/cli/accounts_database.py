"""The database that the verbs of `vivavoce accounts` work on, and how they say what they found."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vivavoce.accounts.accounts import Accounts

DATABASE = Annotated[
    str | None,
    typer.Option(
        "--database", metavar="URL", help="sqlite, sqlite:///FILE or postgresql://USER@HOST/NAME.", show_default=False
    ),
]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def opened(database: str | None, *, migrate: bool = True, make: bool = False) -> Iterator[Accounts]:
    """The accounts of the database that was named, or of the settings; its schema up to date.

    One that is not there is made only for who is to `make` it: of all others the name is wrong.
    """
    from vivavoce.accounts import open_accounts

    accounts = open_accounts(database or _of_settings(), make=make)
    try:
        if migrate:
            accounts.database.migrate()
        yield accounts
    finally:
        accounts.close()


def _of_settings() -> str:
    from vivavoce.settings import load
    from vivavoce.settings.layers import read_dotenv

    config = os.environ.get("VIVAVOCE_CONFIG")
    set_to = load(config=Path(config) if config else None).settings.accounts
    around = {**read_dotenv(Path(".env")), **os.environ}
    return set_to.get_secret_value() if set_to else around.get("DATABASE_URL") or "sqlite"


def say(as_json: bool, value: Any, *lines: str) -> None:
    """The value as JSON, or else the lines."""
    if as_json:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        for line in lines:
            typer.echo(line)
