"""The server's process: it listens at once, loads, serves, and ends when told to, without cutting anyone off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vivavoce.core import FRAME_RATE, ExitCode, StreamError
from vivavoce.runtime import AnyRuntime, EngineSpec, Metrics, Runtime, Share, Spec, SpeechRuntime, SpeechSpec, Vault
from vivavoce.settings import ServeSettings
from vivavoce.settings.modules import AnyModule, Module, SpeechModule

from . import banner, logs, traces
from .app import create_app
from .dialects.wyoming import Wyoming
from .listen import BACKLOG, check_certificate, listen, listen_at, reserve_at, url
from .memory import collect_seldom, give_back_large_blocks
from .office import Office
from .renewal import RENEW, Renewal
from .secret import judge_secret
from .status import Status
from .wire import FAREWELL_SECONDS, Server, loop_factory, uvicorn_config

if TYPE_CHECKING:
    from vivavoce.accounts.accounts import Accounts

logger = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(settings: ServeSettings) -> int:
    """Runs until a signal; returns the exit code. Raises VivavoceError when it cannot listen or load."""
    give_back_large_blocks()
    settings.demand_protection()
    settings.demand_accounts()
    check_certificate(settings)
    if settings.workers > 1:
        return _serve_with_workers(settings)
    with contextlib.ExitStack() as cleanup:
        listener = cleanup.enter_context(listen(settings))
        second = cleanup.enter_context(listen_at(*settings.wyoming_at)) if settings.wyoming_at else None
        logs.set_up(settings)
        judge_secret(settings)
        service = Service(settings, listener, outfit(settings, cleanup), second)
        with asyncio.Runner(loop_factory=service.server.config.get_loop_factory()) as runner:
            return runner.run(_run(service))


def outfit(settings: ServeSettings, cleanup: contextlib.ExitStack) -> Accounts | None:
    """Begins to trace, and opens the accounts, where the settings ask for it. Raises VivavoceError."""
    if settings.otel:
        cleanup.callback(traces.set_up(settings.instance_name))
    if not settings.accounts:
        return None
    from .accounts.serving import opened

    accounts = opened(settings)
    cleanup.callback(accounts.close)
    return accounts


async def _run(service: Service) -> int:
    await service.start()
    return await service.run()


def _serve_with_workers(settings: ServeSettings) -> int:
    from .workers import Workers, demand_linux

    demand_linux(settings)
    with contextlib.ExitStack() as cleanup:
        holder = cleanup.enter_context(reserve_at(settings.addr, settings.port))
        second = cleanup.enter_context(reserve_at(*settings.wyoming_at)) if settings.wyoming_at else None
        logs.set_up(settings)
        judge_secret(settings)
        with contextlib.ExitStack() as tried:  # what is wrong is said once, and no schema is made by several at once
            outfit(settings, tried)
        with asyncio.Runner(loop_factory=loop_factory(settings)) as runner:
            return runner.run(Workers(settings, holder, second).run())


class Service:
    """One server, or one worker of it: the listening sockets, the application, a runtime for each module, perhaps
    accounts."""

    def __init__(
        self,
        settings: ServeSettings,
        listener: socket.socket,
        accounts: Accounts | None = None,
        wyoming: socket.socket | None = None,
        office: Office | None = None,
        shares: Mapping[str, Share] = {},
        metrics: Metrics | None = None,
    ) -> None:
        """Of a worker: the main process's `office`, and its `shares` in the engines, by the modules' labels."""
        metrics = metrics or Metrics()
        self._settings, self._listener, self._second, self._office = settings, listener, wyoming, office
        self._runtimes = {
            module.label: runtime_of(module, settings, metrics, share=shares.get(module.label))
            for module in settings.served
        }
        app = create_app(settings, self._runtimes, metrics, accounts, office)
        self._meter = app.state.meter
        self.status: Status = app.state.status
        self._wyoming = Wyoming(app.state.hearing, app.state.speaking, app.state.gate, settings)
        self.server = Server(uvicorn_config(settings, app))
        self._renewal = None if office else Renewal(self._runtimes)
        self._told = asyncio.Event()

    async def start(self, *, wait: bool = False) -> None:
        """Begins what the runtimes need, and may `wait` until they are ready, or not to be had."""
        await asyncio.gather(*(runtime.start() for runtime in self._runtimes.values()))
        if wait:
            with contextlib.suppress(StreamError, TimeoutError):
                async with asyncio.timeout(self._settings.stall_seconds):
                    await asyncio.gather(*(runtime.wait_ready() for runtime in self._runtimes.values()))
        for listener in filter(None, (self._listener, self._second)):
            listener.listen(BACKLOG)

    async def run(self) -> int:
        """Until the process is told to end; INTERRUPTED if it was told twice."""
        life = asyncio.create_task(self._live())
        keeping = asyncio.create_task(self._meter.run()) if self._meter else None
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._signalled, life)
        if self._renewal:
            asyncio.get_running_loop().add_signal_handler(RENEW, self._renewal.begin)
        serving = asyncio.create_task(self.server.serve(sockets=[self._listener]))
        try:
            await life
        except asyncio.CancelledError:
            self.server.force_exit = True
            return ExitCode.INTERRUPTED
        finally:
            self.server.should_exit = True
            if self._renewal:
                await self._renewal.stop()
            await asyncio.gather(*(runtime.stop() for runtime in self._runtimes.values()))
            await self._wyoming.stop()
            await serving
            if self._meter and keeping:
                self._meter.stop()
                await keeping
        return ExitCode.OK

    async def _live(self) -> None:
        if self._second:
            await self._wyoming.start(self._second)
        if self._office:
            self._office.listening()
        else:
            logger.info("Listening on %s", url(self._settings, self._listener))
        if self._second and not self._office:
            logger.info("Wyoming is spoken at %s port %d, without keys", *self._second.getsockname()[:2])
        loading = asyncio.create_task(self._load())
        told = asyncio.create_task(self._told.wait())
        await asyncio.wait({loading, told}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()  # raises what kept a model from being loaded
        loading.cancel()
        await told
        await self._drain()

    async def _load(self) -> None:
        began = time.monotonic()
        await asyncio.gather(*(runtime.wait_ready() for runtime in self._runtimes.values()))
        collect_seldom()
        if self._office:
            self._office.ready()
            return
        if not (self._settings.silent or self._settings.log_json):
            banner.show(self._settings, self._runtimes, self._listener)
        logger.info("Ready after %.1f s", time.monotonic() - began)

    def _signalled(self, life: asyncio.Task[None]) -> None:
        if self._told.is_set():
            life.cancel()
        self._told.set()

    async def _drain(self) -> None:
        """Nobody new comes in, those inside finish; at the deadline the rest are ended with GOING_AWAY."""
        seconds, level = self._settings.drain_seconds, logging.DEBUG if self._office else logging.INFO
        streams = sum(runtime.slots_used for runtime in self._runtimes.values())
        logger.log(level, "Draining: %d open streams have %g s to finish", streams, seconds)
        self.status.draining = True
        self._wyoming.refuse()
        await asyncio.gather(*(runtime.drain(seconds) for runtime in self._runtimes.values()))
        if tasks := self.server.server_state.tasks.copy():
            await asyncio.wait(tasks, timeout=FAREWELL_SECONDS)
        logger.log(level, "Drained")


def runtime_of(
    module: AnyModule,
    settings: ServeSettings,
    metrics: Metrics,
    vault: Vault | None = None,
    share: Share | None = None,
) -> AnyRuntime:
    """What runs a module, to be started; streams of speech to text may move to other servers over the vault. A worker
    has its `share` of the engine."""
    if isinstance(module, SpeechModule):
        return SpeechRuntime(speech_spec(module), settings.limits, metrics, module.label, share)
    return Runtime(engine_spec(module), settings.limits, metrics, module.label, vault, share)


def specs(settings: ServeSettings) -> dict[str, Spec]:
    """Of the engines of all modules, by their labels."""
    return {
        module.label: speech_spec(module) if isinstance(module, SpeechModule) else engine_spec(module)
        for module in settings.served
    }


def engine_spec(module: Module) -> EngineSpec:
    """What the engine process of a module that hears needs to know."""
    delay = None if module.delay_frames is None else module.delay_frames / FRAME_RATE
    return EngineSpec(**_common(module), delay_seconds=delay)


def speech_spec(module: SpeechModule) -> SpeechSpec:
    """What the engine process of a module that speaks needs to know."""
    names = ("initial_padding", "max_padding", "padding_between", "final_padding")
    paddings = {name: value for name in names if (value := getattr(module, name)) is not None}
    own = {name: getattr(module, name) for name in ("voice_dir", "voice", "cfg", "top_k", "padding_bonus")}
    return SpeechSpec(**_common(module), **own, paddings=paddings)


def _common(module: AnyModule) -> dict[str, Any]:
    files = {"lm": module.lm_file, "mimi": module.mimi_file, "tokenizer": module.tokenizer_file}
    return {
        "model": module.model,
        "device": module.device,
        "dtype": None if module.dtype == "auto" else module.dtype,
        "slots": module.slots,
        "threads": module.threads,
        "files": {name: file for name, file in files.items() if file is not None},
        "temperature": module.temperature,
        "codebooks": module.codebooks,
    }
