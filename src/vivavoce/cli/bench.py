"""`vivavoce bench`: measurements."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vivavoce.core import ExitCode

from . import bench_capacity, bench_path, bench_quant, bench_step, bench_tts, remote

if TYPE_CHECKING:
    from vivavoce.bench.clip import Clip
    from vivavoce.bench.latency import Report
    from vivavoce.bench.targets import Target

GATE_FAILED = 2  # as of the fork's ws_stress, whose users' scripts know it; wrong usage is 2 as well, and runs nothing

HELP = "Measure a server as its callers see it, and the engine against a peer."
app = typer.Typer(help=HELP, rich_markup_mode="rich")

URLS = Annotated[
    list[str] | None, typer.Option("--url", metavar="URL", help="A server; several are compared. ws://127.0.0.1:8080.")
]
SERVICES = Annotated[
    list[str] | None,
    typer.Option("--service", metavar="NAME", help="A server with a name, as of [bold]vivavoce stream[/bold]."),
]
SPEED = Annotated[
    float,
    typer.Option(
        min=0.25,
        help="How fast audio is sent: 1 is real time, 4 four times that. (A speed, as in moshi's scripts; what the "
        "results call rtf is time taken / audio, and speed_x its inverse.)",
    ),
]
EXPECTED = Annotated[str | None, typer.Option(metavar="TEXT", help="What the recording says.")]
EXPECTED_FILE = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The same in a file; without both, FILE.wav.txt or FILE.txt beside it."),
]
AS_JSON = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


@app.callback(help=HELP)
def _bench() -> None: ...


app.command()(bench_tts.tts)


@app.command()
def latency(
    wav: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Recordings to speak; the example if none is given.")
    ] = None,
    runs: Annotated[int, typer.Option("--runs", "-n", min=1, help="Runs of each recording; with -p, rounds.")] = 3,
    parallel: Annotated[int, typer.Option("--parallel", "-p", min=0, help="So many streams at once.")] = 0,
    rtf: SPEED = 1.0,
    expected: EXPECTED = None,
    expected_file: EXPECTED_FILE = None,
    url: URLS = None,
    service: SERVICES = None,
    key: remote.KEY = None,
    token: remote.TOKEN = None,
    mint: remote.MINT = False,
    dialect: remote.DIALECT = None,
    compare_gpus: Annotated[
        str | None,
        typer.Option(
            "--compare-gpus",
            metavar="LIST",
            help="Deploy to each of these GPUs of Modal (L4,A10G), measure, take down; streams at once are 3 then. "
            "MODAL_KEY and MODAL_SECRET open them.",
        ),
    ] = None,
    modal_app: Annotated[Path, typer.Option("--modal-app", metavar="FILE", help="What --compare-gpus deploys.")] = Path(
        "deploy/modal/app.py"
    ),
    as_json: AS_JSON = False,
) -> int:
    """How long a server lets a speaker wait: to connect, for the first token, from the end of speech to its final text.

    docs/benchmarks.md defines every figure. Exit code 1 if any run failed.
    """
    clips = _clips(wav or [], expected, expected_file)
    if compare_gpus is None:
        targets = _targets(url, service, key=key, token=token, mint=mint, dialect=dialect)
        return _latency(targets, clips, runs, parallel, rtf, as_json=as_json)
    from vivavoce.bench import modal
    from vivavoce.client.services import Service, modal_headers

    if url or service:
        raise typer.BadParameter("--compare-gpus deploys its servers itself: --url and --service name others")
    opens = Service("", headers=modal_headers(os.environ.get("MODAL_KEY"), os.environ.get("MODAL_SECRET")))
    with modal.deployed(modal.gpus(compare_gpus), modal_app, opens) as targets:
        return _latency(targets, clips, runs, parallel or 3, rtf, as_json=as_json)


def _latency(targets: list[Target], clips: list[Clip], runs: int, parallel: int, rtf: float, *, as_json: bool) -> int:
    from vivavoce.bench.latency import Report, rounds

    from .bench_views import LatencyView

    total = len(targets) * runs * (parallel or len(clips))

    async def measure() -> list[Report]:
        reports = []
        with LatencyView(total, parallel, quiet=as_json) as view:
            for target in targets:
                results = []
                view.target(target.name)
                async for number, result in rounds(
                    target, clips, runs=runs, parallel=parallel, speed=rtf, watch=view.begun
                ):
                    results.append(result)
                    view.done(number, result)
                reports.append(Report(target.name, results))
        return reports

    reports = sorted(asyncio.run(measure()), key=lambda report: report.average)
    if as_json:
        told = {"pace": rtf, "parallel": parallel, "targets": [report.as_json() for report in reports]}
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _show(reports, clips)
    return ExitCode.FAILURE if any(report.failures for report in reports) else ExitCode.OK


def _show(reports: list[Report], clips: list[Clip]) -> None:
    from . import bench_views

    for report in reports:
        bench_views.show_latency(report, {clip.name: clip.reference for clip in clips})
    if len(reports) > 1:
        bench_views.show_comparison(reports)


@app.command()
def load(
    streams: Annotated[int, typer.Option(min=1, help="Streams at once; with --ramp, those to begin with.")] = 16,
    seconds: Annotated[float, typer.Option(min=0, help="Audio of each stream, rounded up to whole recordings.")] = 30.0,
    rtf: SPEED = 1.0,
    wav: Annotated[Path | None, typer.Option(metavar="FILE", help="What each stream says; else the example.")] = None,
    expected: EXPECTED = None,
    expected_file: EXPECTED_FILE = None,
    processes: Annotated[int, typer.Option(min=0, help="Processes of clients; 0: in this one.")] = 0,
    spread: Annotated[
        float, typer.Option(min=0, help="Seconds over which the streams begin; 0: every frame at the same moment.")
    ] = 0.08,
    ramp: Annotated[bool, typer.Option("--ramp", help="Find how many streams pass: double, then halve.")] = False,
    ramp_max: Annotated[int, typer.Option(min=1, help="Where --ramp stops; the server's slots if it tells.")] = 1024,
    wer_max: Annotated[float, typer.Option(min=0, help="The highest word error rate that passes.")] = 0.25,
    latency_max: Annotated[
        float | None,
        typer.Option(metavar="MS", min=0, help="The highest p95 from end of speech to final text; 500 with --ramp."),
    ] = None,
    step_max: Annotated[
        float | None, typer.Option(metavar="MS", min=0, help="The highest p95 of the engine's step.")
    ] = None,
    differences_max: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="How many words may differ from a lone stream's.")
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="The server; ws://127.0.0.1:8080.")] = None,
    service: remote.SERVICE = None,
    key: remote.KEY = None,
    token: remote.TOKEN = None,
    mint: remote.MINT = False,
    dialect: remote.DIALECT = None,
    as_json: AS_JSON = False,
) -> int:
    """Many live streams at once: words compared with a lone stream's, waiting times, step times of the server.

    Exit code 0: the gate was passed; 1: nothing ran; 2: it was not. docs/benchmarks.md defines every figure.
    """
    from vivavoce.bench.gate import Gate

    from .bench_load import Bench

    (clip,) = _clips([wav] if wav else [], expected, expected_file)
    names, urls = [service] if service else None, [url] if url else None
    (target,) = _targets(urls, names, key=key, token=token, mint=mint, dialect=dialect)
    gate = Gate(wer_max, latency_max or (500.0 if ramp else None), step_max, differences_max)
    bench = Bench(
        target, clip, gate, wav=wav, seconds=seconds, speed=rtf, processes=processes, spread=spread, quiet=as_json
    )
    result = asyncio.run(bench.ramp(streams, ramp_max) if ramp else bench.once(streams))
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        result.show()
    if not result.ran:
        return ExitCode.FAILURE
    return ExitCode.OK if result.passed else GATE_FAILED


def _clips(paths: list[Path], expected: str | None, expected_file: Path | None) -> list[Clip]:
    from vivavoce.bench import clip

    if expected is not None and expected_file is not None:
        raise typer.BadParameter("--expected and --expected-file exclude each other")
    if len(paths) > 1 and (expected is not None or expected_file is not None):
        raise typer.BadParameter("--expected says what one recording says; put a text file beside each of several")
    said = clip.read_text(expected_file) if expected_file else expected
    return [clip.load(path, said) for path in paths] or [clip.load(None, said)]


def _targets(
    urls: list[str] | None,
    names: list[str] | None,
    *,
    key: str | None,
    token: str | None,
    mint: bool,
    dialect: remote.Dialect | None,
) -> list[Target]:
    from vivavoce.bench.targets import target

    asked: list[tuple[str | None, str | None]] = [(None, url) for url in urls or []]
    asked += [(name, None) for name in names or []]
    found = []
    for name, url in asked or [("local", None)]:
        service = remote.demanded(remote.service(name, url, key=key, token=token, mint=mint, dialect=dialect))
        found.append(target(service, name if asked else None))
    return found


app.command()(bench_capacity.capacity)
app.command()(bench_path.path)
app.command()(bench_step.engine)
app.command()(bench_step.lm)
app.command()(bench_quant.quant)
