"""Texts that are said one after the other: one, or each line that is typed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import typer

from vivavoce.core import ExitCode, VivavoceError

from . import texts
from .console import complain, note
from .said import say

if TYPE_CHECKING:
    from .sinks import Sink
    from .voice import Voice


class Talk:
    """Texts, one after the other, into sinks that stay open."""

    def __init__(
        self, runner: asyncio.Runner, voice: Voice, sinks: list[Sink], *, as_json: bool, word_times: bool, quiet: bool
    ) -> None:
        self._runner, self._voice, self._sinks = runner, voice, sinks
        self._json, self._word_times, self._quiet = as_json, word_times, quiet
        self._opened = AsyncExitStack()

    def __enter__(self) -> None:
        async def enter() -> None:
            for sink in self._sinks:
                await self._opened.enter_async_context(sink)

        self._runner.run(enter())

    def __exit__(self, *error: object) -> None:
        self._runner.run(self._opened.aclose())

    def say(self, pieces: texts.Pieces) -> None:
        """One text. Raises VivavoceError."""
        spoken = say(self._voice, pieces, self._sinks, keep=self._json, word_times=self._word_times, quiet=self._quiet)
        said = self._runner.run(spoken)
        if self._json:
            typer.echo(json.dumps(said.as_json(self._voice), ensure_ascii=False))

    def converse(self) -> None:
        """Each line that comes; what goes wrong with one is told, and the next one asked for."""
        for line in _lines():
            try:
                self.say(texts.literal(line))
            except KeyboardInterrupt:
                for sink in self._sinks:
                    sink.clear()
                note("cut short")
            except VivavoceError as error:
                if error.exit_code is ExitCode.UNSUPPORTED:
                    raise  # a voice, an option: so it would be with every line
                complain(str(error))


def _lines() -> Iterator[str]:
    """Until the end, or Ctrl+C where nothing is being said."""
    asks = sys.stdin.isatty() and sys.stdout.isatty()
    if asks:
        with suppress(ImportError):
            import readline  # noqa: F401 - lines that can be edited and repeated
    with suppress(EOFError, KeyboardInterrupt):
        while line := (input("say> ") + "\n" if asks else sys.stdin.readline()):
            if line.strip():
                yield line
