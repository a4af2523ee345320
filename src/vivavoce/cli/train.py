"""`vivavoce train`: corpora in, the embedded model out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vivavoce.core import UnsupportedError

app = typer.Typer(help="Make the embedded model: its corpus, its weights, its report.")

CorpusOption = Annotated[Path, typer.Option(help="Folder of the corpus, as `train corpus` makes it.")]


@contextmanager
def _extra() -> Iterator[None]:
    """Around the imports: training wants libraries that transcribing does without."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UnsupportedError(f"{error.name} is not installed: pip install 'vivavoce[train]'") from error


@app.callback()
def _train() -> None:
    """Make the embedded model: its corpus, its weights, its report."""


@app.command()
def corpus(
    out: Annotated[Path, typer.Option(help="Folder to write clips and manifests to.")],
    source: Annotated[list[str] | None, typer.Option(help="Only these voices; may be repeated.")] = None,
    shared: Annotated[Path | None, typer.Option(help="Folder that holds data/digits and data/speech.")] = None,
    seed: Annotated[int, typer.Option(help="Decides what is said, and how.")] = 1,
) -> None:
    """Make or complete the corpus: recordings at hand and every voice that is installed. Can be interrupted."""
    with _extra():
        from vivavoce.train.voices import SOURCES, make_corpus

    make_corpus(out, source or list(SOURCES), shared, seed)


@app.command()
def stt(
    corpus: CorpusOption,
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, log, report.")],
    export: Annotated[Path | None, typer.Option(help="Folder to write the finished model to.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave a speaker or source out; may be repeated.")] = None,
    steps: Annotated[int | None, typer.Option(min=4, help="Shorten every stage to this, to try it out.")] = None,
) -> None:
    """Train the embedded recogniser; the same command resumes an interrupted run."""
    from vivavoce.cli.progress import training

    with _extra():
        from vivavoce.train.export import export as write
        from vivavoce.train.plan import run_stages

    with training() as progress:
        last = run_stages(corpus, out, progress, without or (), steps)
    if export is not None:
        write(last, export)


@app.command()
def tts(
    corpus: Annotated[Path, typer.Option(help="Folder of `train corpus --source speaking`.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints and logs.")],
    export: Annotated[Path | None, typer.Option(help="Folder to write the finished model to.")] = None,
    beside: Annotated[
        str | None, typer.Option(help="Model beside that folder whose codec it shares, and whose decoder it replaces.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Go on from this earlier voice, a folder or a repository, instead of from nothing."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=4, help="Shorten every stage to this, to try it out.")] = None,
) -> None:
    """Train the embedded voice; the same command resumes an interrupted run."""
    from vivavoce.cli.progress import training

    with _extra():
        from vivavoce.train.speak.export import export as write
        from vivavoce.train.speak.plan import run_stages

    with training() as progress:
        codec = None if beside is None or export is None else str(export.parent / beside)
        voice = run_stages(corpus, out, progress, steps, codec=codec, start=start)
    if export is not None:
        write(voice.model, voice.speakers, export, beside)


@app.command()
def judge(
    corpus: Annotated[Path, typer.Option(help="Folder of `train corpus --source speaking`.")],
    model: Annotated[str | None, typer.Option(help="The voice to judge; the embedded one when absent.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the table here as well.")] = None,
) -> None:
    """Judge a voice by recognisers, ours and Moonshine, and by DNSMOS, as a Markdown table."""
    with _extra():
        from vivavoce.train.speak.judge import report as table_of

    table = table_of(corpus, model)
    typer.echo(table)
    if output is not None:
        output.write_text(table + "\n", "utf-8")


@app.command()
def report(
    corpus: CorpusOption,
    model: Annotated[str | None, typer.Option(help="The model to judge; the embedded one when absent.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the table here as well.")] = None,
) -> None:
    """Judge a model on the held-out part of the corpus, as a Markdown table."""
    with _extra():
        from vivavoce.train.report import report as judge

    table = judge(corpus, model)
    typer.echo(table)
    if output is not None:
        output.write_text(table + "\n", "utf-8")
