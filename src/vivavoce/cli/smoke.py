"""`vivavoce smoke`: does it work? Boot a server, wait until it is ready, transcribe, stop."""

from __future__ import annotations

import asyncio
import json as json_module
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from vivavoce.core import ExitCode, VivavoceError

from . import remote

if TYPE_CHECKING:
    from vivavoce.client.services import Service

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

RECORDING = Path(__file__).with_name("smoke.flac")  # the first 5.3 s of examples/digits.flac
SAID = "zero two zero seven nine four six zero nine five eight"
EMBEDDED = "stt-digits-en"
HELP = (
    "Find out whether it works: start a server, wait until it is ready, transcribe a recording, stop the server.\n\n"
    "vivavoce smoke\n\n"
    "vivavoce smoke --json -- --config server.toml\n\n"
    "vivavoce smoke --url wss://speech.example.org --wav hello.wav --expect 'hello world'\n\n"
    "What stands behind [bold]--[/bold] goes to [bold]vivavoce serve[/bold]. With --url or --service nothing is "
    "started or stopped. Exit codes: 0 every step passed, 1 one failed (it is named), 2 wrong usage, 3 and 4 the "
    "recording cannot be read, 130 interrupted."
)


@dataclass(frozen=True)
class Step:
    """One line of the report."""

    step: str  # boot, ready, transcribe, stop
    passed: bool
    seconds: float
    detail: str = ""


@app.command(help=HELP)
def smoke(
    serve: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS OF SERVE]", help="For the server to be started.")
    ] = None,
    url: remote.URL = None,
    service: remote.SERVICE = None,
    wav: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The recording; without it, eleven digits that ship with vivavoce."),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="What it says; case and punctuation do not count. Without it some text must come, and from the "
            "embedded model the right digits.",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until the server must be ready.")] = 120.0,
    json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
    key: remote.KEY = None,
    token: remote.TOKEN = None,
    mint: remote.MINT = False,
    dialect: remote.DIALECT = None,
) -> int:
    from vivavoce import audio

    found = remote.service(service, url, key=key, token=token, mint=mint, dialect=dialect)
    if found is not None and serve:
        raise typer.BadParameter("options of serve are for a server to be started, and --url or --service names one")
    audio.duration(wav or RECORDING)  # a recording that cannot be read is said before anything is started
    report = Report(silent=json)
    with ExitStack() as started:
        _run(report, found, serve or [], wav, expect, timeout, dialect, started)
    if json:
        passed = {"passed": report.passed, "steps": [asdict(step) for step in report.steps]}
        typer.echo(json_module.dumps(passed, indent=2, ensure_ascii=False))
    return ExitCode.OK if report.passed else ExitCode.FAILURE


class Report:
    """What was tried, as it is tried."""

    def __init__(self, *, silent: bool) -> None:
        self.steps: list[Step] = []
        self._silent = silent

    @property
    def passed(self) -> bool:
        return all(step.passed for step in self.steps)

    def waiting(self, why: str) -> None:
        """On stderr: it is no part of the report."""
        typer.echo(f"vivavoce: {why}", err=True)

    def attempt(self, name: str, work: Callable[[], str]) -> bool:
        """Do it; what it returns, or why it failed, is the line's detail."""
        begun = perf_counter()
        try:
            detail, passed = work(), True
        except VivavoceError as error:
            detail, passed = str(error), False
        step = Step(name, passed, round(perf_counter() - begun, 3), detail)
        self.steps.append(step)
        if not self._silent:
            typer.echo(f"{'ok  ' if passed else 'FAIL'}  {name:10}  {step.seconds:6.1f} s  {detail}")
        return passed


def _run(
    report: Report,
    service: Service | None,
    options: list[str],
    wav: str | None,
    expect: str | None,
    timeout: float,
    dialect: remote.Dialect | None,
    started: ExitStack,
) -> None:
    from vivavoce.client.services import Service
    from vivavoce.client.supervise import ServerProcess, wait_ready

    server = None
    if service is None:
        server = ServerProcess(options)
        started.enter_context(server)
        if not report.attempt("boot", lambda: server.wait_listening(timeout)):
            return
        service = Service(server.url, dialect or "auto")
    if report.attempt("ready", lambda: wait_ready(service.url, timeout, server, service.headers, report.waiting)):
        report.attempt("transcribe", lambda: _transcribe(service, wav, expect))
    if server is not None:
        report.attempt("stop", server.stop)


def _transcribe(service: Service, wav: str | None, expect: str | None) -> str:
    from vivavoce import audio
    from vivavoce.client import connect, hear

    async def run() -> tuple[str, str | None]:
        async with connect(service.url, **service.options()) as stream:
            heard = await hear(stream, audio.blocks(wav or RECORDING))
            return heard.transcript(stream.duration).text, stream.model

    text, model = asyncio.run(run())
    if expect is None and wav is None and model == EMBEDDED:
        expect = SAID
    if not text:
        raise VivavoceError("no text came")
    if expect is not None and _plain(text) != _plain(expect):
        raise VivavoceError(f"expected “{expect}”, heard “{text}”")
    return text


def _plain(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())
