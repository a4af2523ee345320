"""A server of several processes: this one has the engines and counts, the workers have the callers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric

from vivavoce.core import ExitCode, UnsupportedError, VivavoceError
from vivavoce.runtime import Hub, Metrics
from vivavoce.settings import ServeSettings

from . import banner
from .channel import Channel
from .limits import Seats
from .listen import url
from .office import collected
from .orders import Orders
from .renewal import RENEW, Renewal
from .serving import SIGNALS, specs
from .sums import Sums, lasting

logger = logging.getLogger(__name__)
WORKER = "vivavoce.server.worker"
BACKOFF = 0.1, 5.0  # seconds before a worker is begun again; doubled between
MOST_FAILURES = 5  # in a row
PROVEN = 10.0  # seconds after which a worker's end is a first failure again
ANSWERS = 5.0  # seconds that a worker may take to tell its numbers


class _Worker:
    """One process."""

    channel: Channel

    def __init__(self, number: int, process: Process) -> None:
        self.number, self.process = number, process
        self.ready = False
        self.seats = Counter[tuple[str, str]]()
        self.counted: Sequence[Metric] = ()  # as it last told
        self.began = time.monotonic()

    def close(self) -> None:
        """It has ended."""
        self.channel.close()
        assert self.process.stdin
        self.process.stdin.close()


class Workers:
    """One server. A worker that ends is begun again; its callers connect again, to any."""

    def __init__(self, settings: ServeSettings, listener: socket.socket, wyoming: socket.socket | None) -> None:
        """The sockets hold the ports and do not listen."""
        demand_linux(settings)
        self._settings, self._listener, self._second = settings, listener, wyoming
        self._metrics = Metrics()
        self._hubs = {
            label: Hub(spec, settings.limits, self._metrics, label) for label, spec in specs(settings).items()
        }
        self._workers = dict[int, _Worker]()
        numbers = range(1, settings.workers + 1)
        self._listening = {number: asyncio.Event() for number in numbers}  # once, whoever that worker is by now
        self._ready = {number: asyncio.Event() for number in numbers}
        self._seats = {
            "key": Seats(settings.connections_per_key),
            "address": Seats(settings.connections_per_address),
        }
        self._past = list[Sequence[Metric]]()  # of workers that have ended
        self._order = itertools.count(1)
        self._started = time.time()
        self._told = asyncio.Event()
        self._is_ready = False

    async def run(self) -> int:
        """Until the process is told to end; INTERRUPTED if it was told twice."""
        loop = asyncio.get_running_loop()
        life = asyncio.create_task(self._live())
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signalled, life)
        renewal = Renewal(self._hubs)
        loop.add_signal_handler(RENEW, renewal.begin)
        for hub in self._hubs.values():
            hub.start()
        try:
            await life
        except asyncio.CancelledError:
            return ExitCode.INTERRUPTED
        finally:
            await renewal.stop()
            for worker in self._workers.values():
                with contextlib.suppress(ProcessLookupError):
                    worker.process.kill()
            await asyncio.gather(*(worker.process.wait() for worker in self._workers.values()))
            for worker in self._workers.values():
                worker.close()
            await asyncio.gather(*(hub.stop() for hub in self._hubs.values()))
        return ExitCode.OK

    async def _live(self) -> None:
        keeping = [asyncio.create_task(self._keep(number)) for number in self._ready]
        loading = asyncio.create_task(self._load())
        told = asyncio.create_task(self._told.wait())
        try:
            await asyncio.wait({loading, told, *keeping}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()  # raises what kept a model from being loaded
            await asyncio.wait({told, *keeping}, return_when=asyncio.FIRST_COMPLETED)
            if self._told.is_set():
                self._drain()
            await asyncio.gather(*keeping)
            logger.info("Drained")
        finally:
            for task in (loading, told, *keeping):
                task.cancel()
            await asyncio.gather(loading, told, *keeping, return_exceptions=True)

    async def _load(self) -> None:
        began = time.monotonic()
        await _all(self._listening)
        logger.info("Listening on %s with %d workers", url(self._settings, self._listener), self._settings.workers)
        if self._second:
            logger.info("Wyoming is spoken at %s port %d, without keys", *self._second.getsockname()[:2])
        await asyncio.gather(*(hub.wait_ready() for hub in self._hubs.values()))
        self._is_ready = True
        await _all(self._ready)
        if not (self._settings.silent or self._settings.log_json):
            banner.show(self._settings, self._hubs, self._listener)
        logger.info("Ready after %.1f s", time.monotonic() - began)

    def _signalled(self, life: asyncio.Task[None]) -> None:
        if self._told.is_set():
            life.cancel()
        self._told.set()

    def _drain(self) -> None:
        seconds, streams = self._settings.drain_seconds, sum(self._streams(number) for number in self._workers)
        logger.info("Draining: %d open streams have %g s to finish", streams, seconds)
        for worker in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                worker.process.terminate()

    # --- processes ---

    async def _keep(self, number: int) -> None:
        """One worker after the other, until the server drains. Raises VivavoceError when they end again and again."""
        failures = 0
        while not self._told.is_set():
            if failures:
                await self._pause(min(BACKOFF[1], BACKOFF[0] * 2 ** (failures - 1)))
            worker = await self._begin(number)
            if self._told.is_set():
                worker.process.terminate()
            attending = asyncio.create_task(self._attend(worker))
            code = await worker.process.wait()
            attending.cancel()
            self._ended(worker)
            if self._told.is_set():
                break
            failures = 1 if time.monotonic() - worker.began >= PROVEN else failures + 1
            how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
            logger.error("Worker %d (process %d) has ended %s; its streams are lost", number, worker.process.pid, how)
            if failures == MOST_FAILURES:
                raise VivavoceError(f"worker {number} has ended {how}, {failures} times in a row")

    async def _attend(self, worker: _Worker) -> None:
        """Kills one that stands still: its callers would wait for ever, and the kernel sends it new ones."""
        patience = self._settings.limits.stall_seconds
        with contextlib.suppress(ConnectionError):
            await worker.channel.call("pulse")  # it has begun
            while True:
                await asyncio.sleep(patience / 4)
                try:
                    async with asyncio.timeout(patience):
                        await worker.channel.call("pulse")
                except TimeoutError:
                    told = worker.number, worker.process.pid, patience
                    logger.error("Worker %d (process %d) has stood still for %g s and is killed", *told)
                    worker.process.kill()
                    return

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), seconds)

    async def _begin(self, number: int) -> _Worker:
        order = next(self._order)
        ours, theirs = socket.socketpair()
        process: Process | None = None

        def kill() -> None:
            if process and process.returncode is None:
                process.kill()

        lines = {label: await hub.connect(number, kill) for label, hub in self._hubs.items()}
        port, wyoming = self._listener.getsockname()[1], self._second.getsockname()[1] if self._second else None
        numbers = {label: line.fileno() for label, line in lines.items()}
        orders = Orders(self._settings, order, self._started, self._is_ready, port, wyoming, theirs.fileno(), numbers)
        with contextlib.ExitStack() as inherited:
            for each in (theirs, *lines.values()):
                inherited.enter_context(each)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", WORKER),
                stdin=PIPE,  # its end tells the worker that we are gone
                pass_fds=[theirs.fileno(), *numbers.values()],
                start_new_session=True,  # Ctrl-C in a terminal is for us alone
            )
        worker = _Worker(number, process)
        worker.channel = await Channel.over(ours, self._answers(worker))
        self._workers[number] = worker
        assert process.stdin
        with contextlib.suppress(OSError, RuntimeError):  # it has ended already, which uvloop takes for our mistake
            process.stdin.write(orders.pack())
        return worker

    def _ended(self, worker: _Worker) -> None:
        del self._workers[worker.number]
        worker.close()
        for (kind, name), count in worker.seats.items():
            for _ in range(count):
                self._seats[kind].leave(name)
        worker.seats.clear()
        self._past = [[*Sums([*self._past, lasting(worker.counted)]).collect()]]

    # --- what workers ask ---

    def _answers(self, worker: _Worker) -> dict[str, Callable[..., Any]]:
        def ready() -> None:
            worker.ready = True
            self._ready[worker.number].set()

        def take_seat(kind: str, name: str) -> bool:
            seats = self._seats[kind]
            if seats.full(name):
                return False
            seats.take(name)
            worker.seats[kind, name] += 1
            return True

        def leave_seat(kind: str, name: str) -> None:
            if worker.seats[kind, name]:  # else it has ended meanwhile, and all its seats are free
                worker.seats[kind, name] -= 1
                self._seats[kind].leave(name)

        return {
            "listening": self._listening[worker.number].set,
            "ready": ready,
            "log": _log,
            "metrics": self._all_metrics,
            "workers": self._accounts,
            "take_seat": take_seat,
            "leave_seat": leave_seat,
        }

    async def _all_metrics(self) -> bytes:
        await asyncio.gather(*(self._count(worker) for worker in self._workers.values()))
        parts = [worker.counted for worker in self._workers.values()]
        return Sums([collected(self._metrics.registry), *self._past, *parts]).text()

    async def _count(self, worker: _Worker) -> None:
        """What it does not tell in time is as it was."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(ANSWERS):
                worker.counted = await worker.channel.call("collect")

    def _accounts(self) -> list[dict[str, int | bool]]:
        return [
            {
                "number": number,
                "pid": worker.process.pid,
                "ready": worker.ready,
                "streams": self._streams(number),
            }
            for number, worker in sorted(self._workers.items())
        ]

    def _streams(self, number: int) -> int:
        return sum(hub.streams(number) for hub in self._hubs.values())


async def _all(events: Mapping[int, asyncio.Event]) -> None:
    for event in events.values():
        await event.wait()


def _log(line: dict[str, Any]) -> None:
    record = logging.makeLogRecord(line)
    logging.getLogger(record.name).handle(record)


def demand_linux(settings: ServeSettings) -> None:
    """Raises UnsupportedError where several workers cannot be."""
    if settings.workers > 1 and sys.platform != "linux":
        raise UnsupportedError("workers needs Linux, whose kernel spreads connections over them; begin one server")
