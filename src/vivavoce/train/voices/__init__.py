"""Where the training voices come from: one file an engine, each a generator of jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..corpus import EngineMissingError, Job, Request, read_manifest, write_clip

SOURCES = (
    "fsdd",
    "speech",
    "kokoro",
    "asterisk",
    "prompts",
    "pico",
    "flite",
    "festival",
    "rhvoice",
    "espeak",
    "shift",
    "fsdd_shift",
    "codec",
)
OTHERS = ("speaking",)  # for another model: they go to a corpus of their own

JobSource = Callable[[Request], Iterator[Job]]


def source(name: str) -> JobSource:
    """The job generator of a source; its engine is imported only when it runs."""
    if name not in SOURCES + OTHERS:
        raise KeyError(f"Unknown source {name!r}; choose from {', '.join(SOURCES + OTHERS)}")
    jobs: JobSource = import_module(f".{name}", __package__).jobs
    return jobs


def make_corpus(
    out: Path,
    sources: Sequence[str] = SOURCES,
    shared: Path | None = None,
    seed: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> None:
    """Fill `out/<source>/`, skipping what its manifest has; one job in `shard[1]` is ours."""
    console = Console()
    request = Request(out, shared, seed)
    for name in sources:
        try:
            _fill(out, name, list(source(name)(request))[shard[0] :: shard[1]], console)
        except EngineMissingError as missing:
            console.print(f"Skipped {name}: {missing}")


def _fill(out: Path, name: str, jobs: Sequence[Job], console: Console) -> None:
    done = {entry.path.stem.rpartition("-")[0] for entry in read_manifest(out / name)}
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for job in progress.track(jobs):
            if job.key not in done:
                for index, clip in enumerate(job.make()):
                    write_clip(out, f"{job.key}-{index}", clip)
