"""`vivavoce serve`: the server."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import typer

from vivavoce.core import UnsupportedError
from vivavoce.settings import Loaded
from vivavoce.settings.layers import export_dotenv

from .options import CONFIG, PRESET, settled, with_settings

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "Serve live speech to text over websockets and HTTP.\n\n"
    "Without options: the embedded model, on this machine only, at port 8080. Every setting is a flag, a variable "
    "VIVAVOCE_NAME (also in a file .env here) and a key of the TOML file; a flag goes before the environment, and the "
    "environment before the file. On an address that other machines can reach, a key, a token's secret or --no-auth "
    "is demanded."
)


@app.command(help=HELP)
@with_settings()
def serve(*, config: CONFIG = None, preset: PRESET = None, flags: dict[str, Any]) -> int:
    return run(settled(flags, config, preset))


def run(loaded: Loaded) -> int:
    """Starts the server; its exit code. Raises SettingsError where nobody has said who may come in."""
    settings = loaded.settings
    if not settings.served:
        raise UnsupportedError("nothing to serve: none of the file's modules is of a type that this build serves")
    settings.demand_protection()
    if find_spec("torch") is None:  # this process does without; its engines would end one after the other
        raise ModuleNotFoundError(name="torch")
    export_dotenv()
    from vivavoce import server

    return server.run(settings)
