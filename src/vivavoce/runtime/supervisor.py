"""Keeps one engine process running."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from vivavoce.core import ExitCode, Fault, StreamError

from .engine_process import EngineProcess, LoadError
from .message import Info, Spec
from .messages import FromEngine, Ready
from .speech_messages import ReadyToSpeak

log = logging.getLogger("vivavoce.runtime")
BACKOFF = 0.1, 5.0  # seconds before the first and before every late attempt; doubled between
MOST_FAILURES = 5  # in a row
PROVEN = 25  # steps after which an engine's end is a first failure again


class Crew(Protocol):
    """Who uses the engine."""

    def adopt(self, info: Info, steps: list[tuple[int, float]]) -> None:
        """Another engine is ready, as `Supervisor.engine`: all streams go on in it."""

    def engine_replaced(self, reason: str) -> None:
        """An engine has ended or ends; for counting."""

    async def engine_lost(self) -> bool:
        """The engine has ended or will, and another comes. Whether it is known of what, and that it will not come
        again."""

    def engine_broken(self, reason: str, exit_code: ExitCode) -> None:
        """No other engine will come."""

    def hear(self, message: FromEngine) -> None:
        """The engine says something of the streams."""


class Supervisor:
    """Begins an engine, and another one when it ends: after 0.1 s, 0.2 s ... 5 s, until five in a row have failed.

    A model that cannot be loaded at first is not tried again: `engine_broken` is told the loader's one line.
    """

    def __init__(self, spec: Spec, stall_seconds: float, crew: Crew) -> None:
        self._newest: int | None = None  # process
        self.engine: EngineProcess | None = None  # the one that is ready
        self._spec, self._stall_seconds, self._crew = spec, stall_seconds, crew
        self._changing = asyncio.Lock()  # held while a process loads: never two at once, but for a graceful move
        self._loaded = False  # once
        self._task = asyncio.create_task(self._run())
        self._move: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The engine's process, or that which loads for want of one."""
        return self.engine.pid if self.engine else self._newest

    async def restart(self) -> None:
        """Load another engine while the old one goes on, then move; StreamError(UNAVAILABLE) when it cannot load."""
        if self._move is None or self._move.done():
            self._move = asyncio.create_task(self._restart())
        move = self._move
        try:
            await asyncio.shield(move)
        except asyncio.CancelledError:
            if move.cancelled():  # by `stop`, and not because nobody waits any more
                raise StreamError(Fault.GOING_AWAY) from None
            raise

    async def stop(self) -> None:
        """Leave no process, task or socket."""
        tasks = [task for task in (self._task, self._move) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.engine:
            await self.engine.kill("the server stops")

    async def _restart(self) -> None:
        async with self._changing:
            try:
                engine, ready = await self._begin()
            except LoadError as error:
                raise StreamError(Fault.UNAVAILABLE, str(error)) from error
            old = self.engine
            self._crew.engine_replaced("requested")
            try:
                await self._crew.engine_lost()
            except BaseException:  # the server stops
                await engine.kill()
                raise
            self._install(engine, ready)
        if self._task.done():  # it had given up
            self._task = asyncio.create_task(self._run())
        if old:
            await old.kill("its streams were moved")

    async def _run(self) -> None:
        try:
            failure = await self._keep_running()
        except Exception as error:
            log.exception("The engine is not watched any more")
            failure = LoadError(str(error), told=False)
        self._crew.engine_broken(str(failure), failure.exit_code)

    async def _keep_running(self) -> LoadError:
        """Engine after engine; returns why there will be no other."""
        failures, reason, exit_code = 0, "", ExitCode.FAILURE
        while failures < MOST_FAILURES:
            if failures:
                await asyncio.sleep(min(BACKOFF[1], BACKOFF[0] * 2 ** (failures - 1)))
            try:
                engine = await self._running()
            except LoadError as error:
                failures, reason, exit_code = failures + 1, str(error), error.exit_code
                log.error("The engine cannot be loaded (attempt %d): %s", failures, reason)
                if error.told and not self._loaded:
                    break
                continue
            reason, exit_code = await engine.gone(), ExitCode.FAILURE
            if engine is not self.engine:  # its streams were moved
                failures = 0
                continue
            log.error("The engine (process %d) is gone: %s", engine.pid, reason)
            self.engine = None
            self._crew.engine_replaced("stall" if engine.stalled else "crash")
            if not await self._crew.engine_lost():
                failures = 1 if engine.steps >= PROVEN else failures + 1
        return LoadError(reason, told=False, exit_code=exit_code)

    async def _running(self) -> EngineProcess:
        """The engine; a new one when there is none."""
        async with self._changing:
            if self.engine is None:
                self._install(*await self._begin())
            assert self.engine
            return self.engine

    async def _begin(self) -> tuple[EngineProcess, Ready | ReadyToSpeak]:
        try:
            engine = await EngineProcess.spawn(self._spec, self._stall_seconds, self._crew.hear)
        except OSError as error:
            raise LoadError(f"the engine's process cannot be started: {error}", told=False) from error
        self._newest = engine.pid
        try:
            return engine, await engine.ready()
        except BaseException:
            await engine.kill()
            raise

    def _install(self, engine: EngineProcess, ready: Ready | ReadyToSpeak) -> None:
        self.engine, self._loaded = engine, True
        info = ready.info
        log.info("The engine (process %d) serves %s on %s in %d slots", engine.pid, info.name, info.device, info.slots)
        self._crew.adopt(info, ready.steps)
