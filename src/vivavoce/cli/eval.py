"""`vivavoce eval`: how well recordings are heard whose words are known."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vivavoce.core import ExitCode, VivavoceError

from . import remote
from .console import complain

if TYPE_CHECKING:
    from vivavoce.tools.evaluation import Evaluation, Heard
    from vivavoce.tools.manifest import Sample

GATE_FAILED = 2  # as of bench load

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "Judge a model, or a server, on recordings whose words are known: word and character error rates, how far the "
    "times of words are off, how long it takes.\n\n"
    "vivavoce eval samples/manifest.jsonl\n\n"
    "vivavoce eval recordings/ --model kyutai/stt-1b-en_fr --wer-max 0.1\n\n"
    "vivavoce eval samples/manifest.jsonl --url ws://127.0.0.1:8080 --parallel 4\n\n"
    "What a recording says stands in the manifest, or beside it in FILE.wav.txt or FILE.txt. A line for each, with "
    "[-what was not heard-] and {+what was not said+}. Exit codes: 0, 1 nothing to judge, 2 above --wer-max, else that "
    "of the first recording that failed."
)


@app.command(help=HELP)
def evaluate(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="MANIFEST…", help="Manifests (.jsonl, .json), recordings, or folders of them."),
    ],
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="As of transcribe; the embedded model if not given.")
    ] = None,
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="As of transcribe.")] = "auto",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"], typer.Option(help="As of transcribe.")
    ] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="How many recordings are heard at once.")] = 8,
    url: remote.URL = None,
    service: remote.SERVICE = None,
    key: remote.KEY = None,
    token: remote.TOKEN = None,
    mint: remote.MINT = False,
    dialect: remote.DIALECT = None,
    rtf: Annotated[
        float, typer.Option(min=0.25, help="How fast audio is sent to a server: 1 is real time, 4 four times that.")
    ] = 1.0,
    parallel: Annotated[int, typer.Option(min=1, help="How many recordings are spoken to a server at once.")] = 1,
    wer_max: Annotated[
        float | None, typer.Option(metavar="RATE", min=0, help="The highest word error rate of all that passes.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One object: summary, results, failures.")] = False,
) -> int:
    from vivavoce.tools.evaluation import evaluate, evaluate_server, total

    from .progress import bar

    samples = samples_of(inputs)
    if not samples:
        complain("nothing to judge: the manifests are empty")
        return ExitCode.FAILURE
    found = remote.service(service, url, key=key, token=token, mint=mint, dialect=dialect)
    with bar(len(samples), total(samples)) as shown:
        if found is not None:
            from vivavoce.bench.targets import Target

            told = evaluate_server(samples, Target(url or service or "", found), rtf, parallel, shown.advance)
        else:
            from vivavoce.transcriber import Transcriber

            slots = min(batch_size, len(samples))
            loaded = Transcriber.load(
                model, device=device, dtype=None if dtype == "auto" else dtype, batch_size=slots, temperature=0.0
            )
            told = evaluate(samples, loaded, shown.advance)
    for _, error in told.failed:
        complain(str(error))
    if json:
        typer.echo(json_module.dumps(_as_json(told), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _show(told)
    return _code(told, wer_max)


def _code(told: Evaluation, wer_max: float | None) -> int:
    if told.failed:
        return told.failed[0][1].exit_code
    rate = told.as_json()["wer"]
    if wer_max is not None and rate is None:
        complain("--wer-max: no recording has a reference text")
        return ExitCode.FAILURE
    return GATE_FAILED if wer_max is not None and rate > wer_max else ExitCode.OK


def samples_of(inputs: list[Path]) -> list[Sample]:
    """Those of manifests, and recordings as they are."""
    from vivavoce.tools.manifest import Sample, read

    from .inputs import expand

    found = list[Sample]()
    for path in inputs:
        if path.suffix in (".jsonl", ".json"):
            found += read(path)
            continue
        for item in expand([str(path)]):
            if isinstance(item, VivavoceError):
                raise item
            if not isinstance(item.source, Path):
                raise typer.BadParameter("a recording must be a file: its reference lies beside it")
            found.append(Sample(item.name, item.source))
    return found


def _as_json(told: Evaluation) -> dict[str, Any]:
    return {
        "summary": told.as_json(),
        "results": [{**vars(one), "wer": one.wer, "cer": one.cer} for one in told.heard],
        "failures": [{"id": name, "reason": str(error)} for name, error in told.failed],
    }


def _show(told: Evaluation) -> None:
    for one in told.heard:
        typer.echo(f"{one.id}: {_line(one)}")
    summary = told.as_json()
    typer.echo(
        f"{summary['samples']} recordings, {summary['audio_seconds']:.1f} s, {summary['speed_x']:.1f}× real time"
    )
    if summary["wer"] is not None:
        typer.echo(
            f"word error rate {summary['wer']:.2%} of {summary['words']} words, {summary['wer_mean']:.2%} on average"
        )
        typer.echo(f"character error rate {summary['cer']:.2%}, {summary['cer_mean']:.2%} on average")
    if summary["start_error"] is not None:
        start, stop = 1000 * summary["start_error"], 1000 * summary["stop_error"]
        typer.echo(f"words begin {start:.0f} ms and end {stop:.0f} ms from where they do, on average")
    if summary["calibration_error"] is not None:
        typer.echo(f"confidences are {100 * summary['calibration_error']:.1f} points from the share of right words")
    for name, wait in summary["waits"].items():
        typer.echo(f"{name.replace('_', ' ')}: {1000 * wait['p50']:.0f} ms, p95 {1000 * wait['p95']:.0f} ms")


def _line(one: Heard) -> str:
    from vivavoce.bench.scoring import compare

    if one.reference is None or one.wer is None:
        return f"no reference: {one.text}"
    signs = {"match": "{}", "extra": "{{+{}+}}", "missing": "[-{}-]", "pending": "{}"}
    text = " ".join(signs[piece.kind].format(piece.text) for piece in compare(one.reference, one.text))
    return f"{one.wer:.1%}: {text}"
