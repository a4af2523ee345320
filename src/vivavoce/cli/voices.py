"""`vivavoce voices`: who can speak."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from . import remote

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "List the voices of a model, or of a server.\n\n"
    "vivavoce voices\n\n"
    "vivavoce voices --url ws://localhost:8080\n\n"
    "A name goes after --voice of [bold]vivavoce say[/bold]; the one that speaks without it is marked."
)


@app.command(help=HELP)
def voices(
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A folder or a repository; the embedded one if not given.")
    ] = None,
    folder: Annotated[
        str | None, typer.Option("--voices", metavar="FOLDER", help="A folder of voices, or hf-snapshot://….")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
    url: remote.URL = None,
    service: remote.SERVICE = None,
    key: remote.KEY = None,
    token: remote.TOKEN = None,
    mint: remote.MINT = False,
) -> None:
    found = remote.service(service, url, key=key, token=token, mint=mint, dialect=None)
    if found is not None and (model or folder):
        raise typer.BadParameter("--model and --voices are for a model in this process; a server has its own")
    if found is None:
        from vivavoce.synthesizer import Synthesizer

        loaded = Synthesizer.load(model, batch_size=1, voices=folder)
        names, default = loaded.voices, loaded.voice
    else:
        from vivavoce import client

        options = {name: value for name, value in found.options().items() if name != "dialect"}
        known = client.voices(found.url, **options)
        names, default = known.names, known.default
    if json:
        typer.echo(json_module.dumps({"voices": names, "default": default}, ensure_ascii=False, indent=2))
    else:
        for name in names:
            typer.echo(f"{'*' if name == default else ' '} {name}")
