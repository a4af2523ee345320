"""`vivavoce models`: what can be loaded, and what is on this disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from vivavoce.tools.finding import bytes_of

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "List the models that can be loaded, and those in the cache with their size.\n\n"
    "A name goes after --model of [bold]vivavoce transcribe[/bold] or [bold]say[/bold]; what is not in the cache is "
    "downloaded then. The cache is Hugging Face's: HF_HOME or HF_HUB_CACHE say where it is, HF_HUB_OFFLINE=1 forbids "
    "downloads."
)


@dataclass(frozen=True)
class Row:
    """A model: what it knows, what it weighs, and where it lies."""

    name: str
    languages: tuple[str, ...]
    bytes: int | None  # of the files: on disk if they are here, else to download
    path: str | None  # None: not downloaded


@app.command(help=HELP)
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead of a table.")] = False,
) -> None:
    found = rows()
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in found], indent=2))
    else:
        typer.echo(table(found), nl=False)


def rows() -> list[Row]:
    """The embedded models, the known ones, and whatever else is in the cache."""
    from vivavoce.checkpoints.hub import KNOWN_MODELS, cached_models
    from vivavoce.settings import EMBEDDED

    cached = {name: (path, size) for name, path, size in cached_models()}
    found = embedded(EMBEDDED)
    for model in KNOWN_MODELS:
        path, size = cached.pop(model.name, (None, model.bytes))
        found.append(Row(model.name, model.languages, size, None if path is None else str(path)))
    return found + [Row(name, (), size, str(path)) for name, (path, size) in sorted(cached.items())]


def embedded(folder: Path) -> list[Row]:
    """The models inside the package, by the names that --model takes; none if this build has none."""
    found = []
    for config in sorted(folder.glob("*/config.json")):
        size = sum(file.stat().st_size for file in config.parent.iterdir())
        told = json.loads(config.read_text("utf-8"))
        languages = told.get("stt_config", told.get("tts_config"))["languages"]
        found.append(Row(config.parent.name, tuple(languages), size, str(config.parent)))
    return found


def table(found: list[Row]) -> str:
    """The rows in columns, for people."""
    cells = [("MODEL", "LANGUAGES", "SIZE", "WHERE")]
    for row in found:
        where = row.path or "to download"
        cells.append((row.name, " ".join(row.languages) or "?", size(row.bytes), where))
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    lines = (
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]) for line in cells
    )
    return "".join(line + "\n" for line in lines)


def size(count: int | None) -> str:
    """1234567 bytes are 1.2 MB."""
    return "?" if count is None else bytes_of(count)
