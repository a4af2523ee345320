"""`vivavoce check`: is a recording whole?"""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer

from vivavoce.core import ExitCode, VivavoceError

from .console import complain

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "Look for what a listener would call broken: clicks, clipping, a beginning or an end that was cut, silence.\n\n"
    "vivavoce check said.wav\n\n"
    "A line for each recording. Exit code 0: all are whole; 1: one is not; else that of the first that cannot be read."
)


@app.command(help=HELP)
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Recordings, as of transcribe.")],
    json: Annotated[bool, typer.Option("--json", help="An array with everything that was measured.")] = False,
) -> int:
    from vivavoce import audio
    from vivavoce.audio.integrity import examine

    from .inputs import expand

    told, codes = list[dict[str, Any]](), list[int]()
    for found in expand(files):
        try:
            if isinstance(found, VivavoceError):
                raise found
            whole = examine(audio.load(found.source, name=found.name))
        except VivavoceError as error:
            complain(str(error))
            codes.append(error.exit_code)
            continue
        told.append({"file": found.name, **whole.as_json()})
        if not json:
            typer.echo(f"{found.name}: {'; '.join(whole.faults) or 'whole'}")
        if whole.faults:
            codes.append(ExitCode.FAILURE)
    if json:
        typer.echo(json_module.dumps(told, ensure_ascii=False, indent=2))
    return codes[0] if codes else ExitCode.OK
