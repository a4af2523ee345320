"""`vivavoce samples`: recordings for benchmarks, with what they say."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vivavoce.core import ExitCode, VivavoceError

from .console import complain

if TYPE_CHECKING:
    from vivavoce.tools.manifest import Sample
    from vivavoce.tools.samples import Annotator

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Build, check and annotate sample recordings, for [bold]vivavoce eval[/bold] and [bold]bench[/bold].",
)
AS_JSON = Annotated[bool, typer.Option("--json", help="One JSON object.")]
MODEL = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Hear what has no text with this model, as of transcribe.")
]


@app.command()
def build(
    inputs: Annotated[
        list[str], typer.Argument(metavar="RECORDING…", help="Recordings and folders, as of transcribe.")
    ],
    out_dir: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the samples and their manifest go.")] = Path(
        "samples"
    ),
    model: MODEL = None,
    json: AS_JSON = False,
) -> int:
    """Recordings as 24 kHz mono 16-bit WAV, and manifest.jsonl: id, path, text, SHA-256, duration.

    A manifest that is there is added to, the same recording is not taken twice, and two of one name get two ids. What
    one says is taken from FILE.wav.txt or FILE.txt beside it. The exit code is that of the first that failed.
    """
    from vivavoce.tools.samples import MANIFEST, Made
    from vivavoce.tools.samples import build as built

    from .inputs import expand

    codes, paths = list[int](), list[Path]()
    for found in expand(inputs):
        if isinstance(found, VivavoceError):
            complain(str(found))
            codes.append(found.exit_code)
        elif isinstance(found.source, Path) and out_dir.resolve() not in found.source.resolve().parents:
            paths.append(found.source)
    made = list[Made]()
    for result in built(paths, out_dir, _heard(model) if model else None):
        if isinstance(result, VivavoceError):
            complain(str(result))
            codes.append(result.exit_code)
            continue
        made.append(result)
        if not json:
            state = "" if result.new else " is there already"
            typer.echo(f"{result.sample.id}{state}: {result.sample.text or 'no text'}")
    if json:
        told = [{**_entry(one.sample), "new": one.new} for one in made]
        typer.echo(
            json_module.dumps({"manifest": str(out_dir / MANIFEST), "samples": told}, indent=2, ensure_ascii=False)
        )
    return codes[0] if codes else ExitCode.OK


@app.command()
def verify(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST…")],
    json: AS_JSON = False,
) -> int:
    """Whether every recording is there and is the one that was meant, in the right form, with a text.

    Exit code 1 if one is not.
    """
    from vivavoce.tools.manifest import read
    from vivavoce.tools.samples import faults

    samples = [sample for manifest in manifests for sample in read(manifest)]
    found = list(faults(samples))
    if json:
        told = {"samples": len(samples), "faults": [{"id": name, "fault": fault} for name, fault in found]}
        typer.echo(json_module.dumps(told, indent=2, ensure_ascii=False))
    else:
        for name, fault in found:
            typer.echo(f"{name}: {fault}")
        bad = len({name for name, _ in found})
        typer.echo(f"{len(samples) - bad} of {len(samples)} samples are right")
    return ExitCode.FAILURE if found or not samples else ExitCode.OK


@app.command()
def annotate(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST")],
    model: MODEL = None,
    api_model: Annotated[
        str, typer.Option(metavar="NAME", envvar="OPENAI_MODEL", help="Without --model: of a transcription API.")
    ] = "whisper-1",
    base_url: Annotated[
        str, typer.Option(metavar="URL", envvar="OPENAI_BASE_URL", help="Of that API.")
    ] = "https://api.openai.com/v1",
    every: Annotated[bool, typer.Option("--all", help="Also those that have a text, which is replaced.")] = False,
    json: AS_JSON = False,
) -> int:
    """Give samples their text, and their words with times: FILE.wav.txt, FILE.wav.words.json, and the manifest.

    A model here hears them, or an API as OpenAI has it, with the key OPENAI_API_KEY. What was written down by a machine
    should be read by a person before it judges one.
    """
    from vivavoce.tools.samples import annotate as annotated

    annotator = _heard(model) if model else _asked(api_model, base_url)
    done, codes = list[Any](), list[int]()
    for result in annotated(manifest, annotator, all=every):
        if isinstance(result, VivavoceError):
            complain(str(result))
            codes.append(result.exit_code)
            continue
        done.append(result)
        if not json:
            typer.echo(f"{result.id}: {result.text}")
    if json:
        _tell(done)
    return codes[0] if codes else ExitCode.OK


def _tell(samples: Iterable[Sample]) -> None:
    told = {"samples": [_entry(sample) for sample in samples]}
    typer.echo(json_module.dumps(told, indent=2, ensure_ascii=False))


def _entry(sample: Sample) -> dict[str, Any]:
    return {"id": sample.id, "path": str(sample.path), "text": sample.text, "duration": sample.duration}


def _heard(model: str) -> Annotator:
    from vivavoce.tools.samples import by_model
    from vivavoce.transcriber import Transcriber

    return by_model(Transcriber.load(model, batch_size=1).transcribe)


def _asked(model: str, base_url: str) -> Annotator:
    import os

    from vivavoce.tools.openai_api import OpenAi

    key = os.environ.get("OPENAI_API_KEY")
    if not key:
        raise typer.BadParameter("which annotator? give --model, or set OPENAI_API_KEY")
    return OpenAi(key, model, base_url)
