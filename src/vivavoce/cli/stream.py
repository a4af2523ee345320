"""`vivavoce stream`: recordings to text, by a server."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vivavoce.core import ExitCode, Transcript, VivavoceError, Word

from . import remote
from .console import note
from .formats import Format, Result, Style, fields

if TYPE_CHECKING:
    from vivavoce.audio import Samples
    from vivavoce.client import ClientEvent
    from vivavoce.client.services import Service

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

FULL = 60.0  # seconds to wait while the server is full or loading
HELP = (
    "Write down what recordings say, by a server that listens while they play.\n\n"
    "vivavoce stream --url ws://localhost:8080 talk.mp3\n\n"
    "vivavoce stream --service modal --rtf 0 --format srt --output subtitles/ recordings/\n\n"
    "Formats, outputs and exit codes are those of [bold]vivavoce transcribe[/bold]. A connection that is lost comes "
    "back by itself. Ctrl+C stops sending; the last words still come, then the exit code is 130. A second one stops at "
    "once."
)


@app.command(help=HELP)
def stream(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE…", help="Recordings, folders, or [bold]-[/bold] for a file on standard input."),
    ],
    url: remote.URL = None,
    service: remote.SERVICE = None,
    key: remote.KEY = None,
    token: remote.TOKEN = None,
    mint: remote.MINT = False,
    dialect: remote.DIALECT = None,
    rtf: Annotated[
        float,
        typer.Option(
            min=0,
            help="How fast audio is sent: 1 is real time, 4 four times that, 0 as fast as the server takes it. "
            "(A speed, as in moshi's scripts; the rtf of --json is time taken / audio.)",
        ),
    ] = 1.0,
    format: Annotated[Format, typer.Option(help="As of transcribe: text, json, jsonl, srt, vtt or tsv.")] = Format.TEXT,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="In text: a word a line, after its start and stop in seconds.")
    ] = False,
    vad: Annotated[bool, typer.Option("--vad", help="Show where a speaker's turn ends.")] = False,
    vad_head: remote.VAD_HEAD = None,
    temperature: remote.TEMPERATURE = None,
    seed: remote.SEED = None,
    guard: remote.GUARD = None,
    keyterm: remote.KEYTERM = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A file, or a folder for a file each, instead of standard output."),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Instead of --format: one object with the results, seconds of audio, time taken, rtf and speed_x.",
        ),
    ] = False,
    parallel: Annotated[int, typer.Option(min=1, help="How many recordings are streamed at once.")] = 1,
    silence_prefix_ms: Annotated[
        int,
        typer.Option(
            min=0,
            help="Silence before each recording, rounded up to 80 ms, for servers whose model wants it and that do not "
            "add it (moshi-server with the 2.6B model: 1000). Times stay those of the recording.",
        ),
    ] = 0,
) -> int:
    from vivavoce.session.key_terms import given

    from .job import run

    found = remote.demanded(remote.service(service, url, key=key, token=token, mint=mint, dialect=dialect))
    if json and (format is not Format.TEXT or timestamps or output):
        raise typer.BadParameter("--json stands alone: without --format, --timestamps and --output")
    style = Style(format, timestamps=timestamps, vad=vad)
    asked = {
        "vad_head": vad_head,
        "temperature": temperature,
        "seed": seed,
        "guard": guard,
        "key_terms": given(keyterm or ()),
    }
    server = Remote(found, speed=rtf, parallel=parallel, silence=silence_prefix_ms, asked=asked)
    summary = Summary(server, style) if json else None
    code = run(files, output, style, lambda _: server, summary)
    return ExitCode.INTERRUPTED if server.interrupted else code


class Remote:
    """A server that hears recordings as `vivavoce.Transcriber` would."""

    def __init__(self, service: Service, *, speed: float, parallel: int, silence: int, asked: dict[str, Any]) -> None:
        self._service, self._speed, self._parallel = service, speed, parallel
        self._silence = -(-silence // 80) * 1920  # samples
        self._asked = asked  # of each stream
        self._stop = asyncio.Event()
        self._told_name: str | None = None
        self.reconnects = self.gaps = 0

    @property
    def name(self) -> str:
        """The server's model, or the server where it does not say."""
        from vivavoce.client import redacted

        return self._told_name or redacted(self._service.url)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl+C stopped it."""
        return self._stop.is_set()

    def transcribe_all(
        self, recordings: Iterable[Callable[[], Iterator[Samples]]], progress: Callable[[float], None] | None = None
    ) -> Iterator[tuple[int, Transcript | VivavoceError]]:
        """(index, result) as each finishes; after an interrupt, of those that had begun."""
        waiting, running = enumerate(recordings), set[asyncio.Task[tuple[int, Transcript | VivavoceError]]]()
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            _on_interrupt(loop, self._interrupt)
            while True:
                while len(running) < self._parallel and not self.interrupted and (job := next(waiting, None)):
                    running.add(loop.create_task(self._one(*job, progress)))
                if not running:
                    return
                done, running = runner.run(asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))
                for task in done:
                    yield task.result()

    def _interrupt(self) -> None:
        if self.interrupted:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.raise_signal(signal.SIGINT)
        note("stopping; the last words follow")
        self._stop.set()

    async def _one(
        self, index: int, recording: Callable[[], Iterator[Samples]], progress: Callable[[float], None] | None
    ) -> tuple[int, Transcript | VivavoceError]:
        from vivavoce.client import Patience, connect, hear

        try:
            blocks = recording()
            patience = Patience(first=FULL)
            stream = connect(self._service.url, patience=patience, **self._asked, **self._service.options())
            async with stream:
                self._told_name = self._told_name or stream.model
                with closing(blocks):  # type: ignore[type-var]
                    samples = chain(self._prefix(), blocks)
                    heard = await hear(
                        stream, samples, speed=self._speed, told=_remark, progress=progress, stop=self._stop
                    )
                self.reconnects += stream.connections - 1
                self.gaps += len(heard.gaps)
                return index, _earlier(heard.transcript(stream.duration), self._silence / 24_000)
        except VivavoceError as error:
            return index, error

    def _prefix(self) -> list[Samples]:
        import numpy as np

        return [np.zeros(self._silence, np.float32)] if self._silence else []


def _remark(event: ClientEvent) -> None:
    if (said := remote.explained(event)) is not None:
        note(said)


def _on_interrupt(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(NotImplementedError):  # Windows: Ctrl+C stops at once
        loop.add_signal_handler(signal.SIGINT, call)


def _earlier(transcript: Transcript, silence: float) -> Transcript:
    """The transcript without the silence before it."""
    if not silence:
        return transcript

    def at(time: float) -> float:
        return max(0.0, time - silence)

    def moved(words: tuple[Word, ...]) -> tuple[Word, ...]:
        return tuple(replace(word, start=at(word.start), stop=at(word.stop)) for word in words)

    return Transcript(
        moved(transcript.words),
        at(transcript.duration),
        turns=tuple(map(at, transcript.turns)),
        started=tuple(map(at, transcript.started)),
        resumed=tuple(map(at, transcript.resumed)),
        dropped=moved(transcript.dropped),
    )


class Summary:
    """One JSON object for the whole run."""

    def __init__(self, server: Remote, style: Style) -> None:
        self._server, self._style = server, style
        self._results: list[dict[str, Any]] = []
        self._audio = 0.0
        self._begun = perf_counter()

    def add(self, index: int, result: Result) -> None:  # noqa: ARG002 - an output's interface
        self._results.append(fields(result, self._style))
        self._audio += result.transcript.duration

    def close(self) -> None:
        """Print it: `rtf` is time taken / audio, `speed_x` the inverse."""
        taken = perf_counter() - self._begun
        told = {
            "results": self._results,
            "audio_seconds": round(self._audio, 3),
            "wall_seconds": round(taken, 3),
            "rtf": round(taken / self._audio, 4) if self._audio else None,
            "speed_x": round(self._audio / taken, 3),
            "reconnects": self._server.reconnects,
            "gaps": self._server.gaps,
        }
        sys.stdout.write(_dumps(told))
        sys.stdout.flush()


def _dumps(told: dict[str, Any]) -> str:
    return json.dumps(told, ensure_ascii=False, indent=2) + "\n"
