"""Other engines, on a signal: streams move to them, and what could not be loaded any more is tried again."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping
from typing import Protocol

from vivavoce.core import StreamError

logger = logging.getLogger(__name__)
RENEW = signal.SIGUSR1  # not SIGHUP, by which a server ends whose terminal is closed


class Renewable(Protocol):
    """A runtime, or what workers have in its place."""

    async def restart(self) -> None: ...


class Renewal:
    """One engine after the other, so that no more than one model is in memory twice."""

    def __init__(self, engines: Mapping[str, Renewable]) -> None:
        self._engines = engines
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """At once; not twice at a time."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Goes no further."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        logger.info("Loading every engine anew, and moving the streams")
        for label, engine in self._engines.items():
            try:
                await engine.restart()
            except StreamError as error:
                logger.error("There is no other engine for %s, all stays as it is: %s", label, error)
