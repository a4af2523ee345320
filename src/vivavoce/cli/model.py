"""`vivavoce model`: models fetched, listed, examined and removed."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vivavoce.core import CheckpointError, ExitCode, VivavoceError

from .console import complain
from .models import models, size

if TYPE_CHECKING:
    from vivavoce.checkpoints.verify import Verdict

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Fetch, list, examine and remove models. The cache is Hugging Face's: HF_HOME or HF_HUB_CACHE name it.",
)
NAMES = Annotated[list[str], typer.Argument(metavar="MODEL…", help="owner/name or owner/name@revision.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="A JSON array with an object for each model.")]

app.command("ls", help="What can be loaded, and what is on this disk; as [bold]vivavoce models[/bold].")(models)


@app.command()
def pull(names: NAMES, json: AS_JSON = False) -> int:
    """Download models now, and not at the first start: the files that are needed, each checked for what it must hold.

    An interrupted download goes on where it was. The exit code is that of the first model that failed.
    """
    from vivavoce.checkpoints.verify import sizes_of

    told, codes = list[dict[str, Any]](), list[int]()
    for name in names:
        try:
            files = {key: Path(file) for key, file in sizes_of(name).files.items()}
        except VivavoceError as error:
            complain(str(error))
            codes.append(error.exit_code)
            continue
        folder, bytes_here = files["lm"].parent, sum(file.stat().st_size for file in set(files.values()))
        told.append(
            {"name": name, "path": str(folder), "bytes": bytes_here, "files": {k: v.name for k, v in files.items()}}
        )
        if not json:
            typer.echo(f"{name}: {size(bytes_here)} in {folder}")
    if json:
        typer.echo(json_module.dumps(told, indent=2, ensure_ascii=False))
    return codes[0] if codes else ExitCode.OK


@app.command()
def rm(
    names: NAMES,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    json: AS_JSON = False,
) -> int:
    """Remove models from the cache, all revisions or the one that is named. What ships with vivavoce stays."""
    from vivavoce.checkpoints.hub import remove

    told, codes = list[dict[str, Any]](), list[int]()
    for name in names:
        repository, _, revision = name.partition("@")
        try:
            commits, freed = remove(repository, revision or None, dry=dry_run)
        except CheckpointError as error:
            complain(str(error))
            codes.append(ExitCode.FILE_NOT_FOUND)
            continue
        told.append({"name": repository, "revisions": commits, "bytes": freed, "removed": not dry_run})
        if not json:
            typer.echo(f"{repository}: {size(freed)} {'would be freed' if dry_run else 'freed'}")
    if json:
        typer.echo(json_module.dumps(told, indent=2, ensure_ascii=False))
    return codes[0] if codes else ExitCode.OK


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL…]", help="As of pull, or folders; without any, all that are on this disk."),
    ] = None,
    json: AS_JSON = False,
) -> int:
    """Read models from end to end: the hub's digests, names and shapes of all tensors, no NaN. No network.

    Exit code 5 if one is not whole.
    """
    from vivavoce.checkpoints.verify import verify as examined

    verdicts: list[Verdict] = []
    codes = list[int]()
    for name, path in _here(names or []):
        if path is None:
            complain(f"{name} is not on this disk: vivavoce model pull {name}")
            codes.append(ExitCode.FILE_NOT_FOUND)
            continue
        verdict = examined(path, name)
        verdicts.append(verdict)
        codes += [ExitCode.CHECKPOINT] if verdict.faults else []
        if not json:
            _show(verdict)
    if json:
        typer.echo(json_module.dumps([asdict(verdict) for verdict in verdicts], indent=2, ensure_ascii=False))
    return codes[0] if codes else ExitCode.OK


def _show(verdict: Verdict) -> None:
    digests = f", {verdict.hashed} with the hub's digest" if verdict.hashed else ""
    for fault in verdict.faults:
        typer.echo(f"{verdict.name}: {fault}")
    if not verdict.faults:
        typer.echo(f"{verdict.name}: whole, {size(verdict.bytes)} in {verdict.files} files{digests}")


def _here(names: list[str]) -> list[tuple[str, Path | None]]:
    """Names and folders; None where a model is not on this disk."""
    from vivavoce.settings import HubSource, locate
    from vivavoce.settings.paths import cached

    from .models import rows

    if not names:
        return [(row.name, Path(row.path)) for row in rows() if row.path]
    found = list[tuple[str, Path | None]]()
    for name in names:
        where = locate(name)
        if isinstance(where, HubSource):
            config = cached(where, "config.json")
            found.append((name, config.parent if config.is_file() else None))
        else:
            found.append((name, where.folder))
    return found
