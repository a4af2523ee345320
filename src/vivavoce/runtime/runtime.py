"""The heart of a server: streams on one side, an engine in its own process on the other."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Literal

from vivavoce.core import ExitCode, Fault, StreamError, VivavoceError
from vivavoce.settings.limits import Limits

from .engine_process import EngineProcess
from .lane import Lane
from .messages import EngineSpec, FromEngine, Lost, Malformed, ModelInfo, Opened, Result, Stepped
from .metrics import Metrics
from .options import StreamOptions
from .pace import Pace
from .slots import Slots
from .stream import Stream
from .supervisor import Supervisor
from .tally import Tally

log = logging.getLogger("vivavoce.runtime")
State = Literal["loading", "ready", "restarting", "draining", "broken", "stopped"]
RETRY_AFTER = {Fault.OVERLOADED: 5.0, Fault.UNAVAILABLE: 2.0, Fault.GOING_AWAY: 1.0}  # seconds


class Runtime:
    """One model, its engine process, and the streams that it serves. For one event loop.

    Streams do not notice when the engine ends: another one is begun, and each goes on where it was. `open` while that
    happens gives a stream whose audio waits, as far as its queue holds it.
    """

    def __init__(self, spec: EngineSpec, limits: Limits, metrics: Metrics, name: str = "stt") -> None:
        self.spec, self.limits, self.name = spec, limits, name
        self.error: str | None = None  # why the engine is broken
        self._exit_code = ExitCode.FAILURE  # of a command that cannot do without it
        self.info: ModelInfo | None = None
        self.slots = spec.slots
        self.restarts = 0
        self._metrics = metrics.module(name)
        self._pace = Pace(limits.load_limit)
        self._lanes = dict[str, Lane]()  # by id: whoever can still be read or resumed
        self._tallies = dict[str, Tally]()
        self._slots = Slots(spec.slots, metrics.asr_open)
        self._supervisor: Supervisor | None = None
        self._settled = asyncio.Event()  # the model was loaded, or cannot be
        self._empty = asyncio.Event()
        self._empty.set()
        self._draining = self._stopped = False
        self._publish()

    # --- what it is ---

    @property
    def state(self) -> State:
        if self._stopped:
            return "stopped"
        if self.error is not None:
            return "broken"
        if self._draining:
            return "draining"
        if self.info is None:
            return "loading"
        return "ready" if self._engine else "restarting"

    @property
    def pid(self) -> int | None:
        """The newest engine process."""
        return self._supervisor.pid if self._supervisor else None

    @property
    def slots_used(self) -> int:
        return self._slots.used

    @property
    def step_seconds(self) -> tuple[float, float]:
        """Median and 95th percentile of the last minute's steps; 0 when there were none."""
        return self._pace.percentiles(asyncio.get_running_loop().time())

    @property
    def real_time_load(self) -> float:
        """The share of every 80 ms that the streams in slots take when all are live, 0 to 1."""
        return min(1.0, self._pace.load(self.slots_used))

    @property
    def capacity(self) -> int:
        """How many live streams the measured step time allows, at most `slots`."""
        return self._pace.capacity(self.slots)

    # --- its life ---

    async def start(self) -> None:
        """Spawn the engine; returns before it is ready. What needs a loop begins here."""
        assert self._supervisor is None, "a runtime is started once"
        self._supervisor = Supervisor(self.spec, self.limits.stall_seconds, self)

    async def wait_ready(self) -> None:
        """Return when the model is loaded; StreamError(UNAVAILABLE) with the loader's one line when it cannot be."""
        await self._settled.wait()
        if self.error is not None:
            failure = StreamError(Fault.UNAVAILABLE, self.error)
            failure.exit_code = self._exit_code
            raise failure
        if self._stopped:
            raise StreamError(Fault.GOING_AWAY)

    async def restart(self) -> None:
        """Move every stream to a new engine process. When it cannot load, nothing moves: StreamError(UNAVAILABLE)."""
        assert self._supervisor, "a runtime that was not started cannot restart"
        await self._supervisor.restart()

    async def drain(self, seconds: float) -> None:
        """Take no new streams, and return when all have ended and were read; end those left after so many seconds.

        Parked ones end at once: nobody can come back to a server that goes.
        """
        self._draining = True
        for lane in [lane for lane in self._lanes.values() if lane.parked]:
            self._fail(lane, StreamError(Fault.GOING_AWAY))
        try:
            await asyncio.wait_for(self._empty.wait(), seconds)
        except TimeoutError:
            self._fail_all(StreamError(Fault.GOING_AWAY, retry_after=RETRY_AFTER[Fault.GOING_AWAY]))

    async def stop(self) -> None:
        """End every stream with GOING_AWAY, and the engine; leaves no process, task, timer, socket or file."""
        self._stopped = True
        self._settled.set()
        self._fail_all(StreamError(Fault.GOING_AWAY, retry_after=RETRY_AFTER[Fault.GOING_AWAY]))
        supervisor, self._supervisor = self._supervisor, None
        if supervisor:
            await supervisor.stop()

    # --- streams ---

    def open(self, options: StreamOptions | None = None) -> Stream:
        """A new stream. StreamError CAPACITY, OVERLOADED, UNAVAILABLE or GOING_AWAY, with `retry_after`;
        UnsupportedError when the model cannot do what the options ask for."""
        self._metrics.all.asr_connect.inc()
        try:
            return self._open(options or StreamOptions())
        except StreamError as error:
            self._metrics.refused(error.fault.name.lower())
            raise

    def resume(self, id: str) -> Stream:
        """A resumable stream again: parked, ended but not closed, or taken over from a connection that seems alive.

        StreamError(UNKNOWN_SESSION); CAPACITY when others have taken its slot meanwhile, which leaves it parked.
        """
        lane = self._lanes.get(id)
        if lane is None or not lane.options.resumable:
            raise StreamError(Fault.UNKNOWN_SESSION)
        if lane.slot is None and not lane.session.finished:
            self._slots.take(lane)
        lane.parked = False
        lane.patience.come_back()
        return Stream(lane, self)

    def park(self, lane: Lane) -> None:
        """For `Stream.park`."""
        if not (lane.options.resumable and self.limits.resume_seconds) or self._draining:
            self.close(lane)
        else:
            lane.parked = True
            lane.patience.leave()

    def close(self, lane: Lane) -> None:
        """For `Stream.close`, and the last thing that happens to every stream."""
        lane.patience.stop()
        self._slots.free(lane)
        if self._lanes.pop(lane.id, None):
            self._tallies.pop(lane.id).end(asyncio.get_running_loop().time())
        if not self._lanes:
            self._empty.set()

    def _open(self, options: StreamOptions) -> Stream:
        info = self._must_take_streams()
        lane = Lane(secrets.token_urlsafe(16), options, info, self.limits, lambda error: self._fail(lane, error))
        self._lanes[lane.id] = lane
        self._tallies[lane.id] = Tally(lane, self._metrics)
        self._empty.clear()
        self._slots.take(lane)
        return Stream(lane, self)

    def _must_take_streams(self) -> ModelInfo:
        if self._draining or self._stopped:
            raise _refusal(Fault.GOING_AWAY)
        if self.error is not None:
            raise StreamError(Fault.UNAVAILABLE, self.error)
        if self.info is None:
            raise _refusal(Fault.UNAVAILABLE, "the model is loading")
        self._slots.must_have_one()
        if self.slots_used < self.slots and not self._pace.bears(self.slots_used + 1):
            share = round(100 * self._pace.load(self.slots_used + 1))
            raise _refusal(Fault.OVERLOADED, f"a step with one more stream would take {share} % of its 80 ms")
        return self.info

    def _fail(self, lane: Lane, error: StreamError) -> None:
        """The stream is ended for a fault, which its reader is told after the events that it has not read."""
        if lane.id in self._lanes and not lane.backlog.closed:
            self._metrics.faulted(error.fault.name.lower())
        lane.over(error)
        self.close(lane)

    def _fail_all(self, error: StreamError) -> None:
        for lane in list(self._lanes.values()):
            self._fail(lane, error)

    # --- the engine ---

    @property
    def _engine(self) -> EngineProcess | None:
        return self._supervisor.engine if self._supervisor else None

    def adopt(self, info: ModelInfo, steps: list[tuple[int, float]]) -> None:
        """Another engine is ready: all streams go on in it."""
        self.info, self.error = info, None
        for batch, seconds in steps:
            self._pace.learn(batch, seconds)
        self._slots.move(self._engine)
        self._settled.set()

    def engine_replaced(self, reason: str) -> None:
        self.restarts += 1
        self._metrics.restarted(reason)

    def engine_lost(self) -> None:
        """The engine has ended; another will come."""
        self._slots.move(None)

    def engine_broken(self, reason: str, exit_code: ExitCode) -> None:
        """No other engine will come."""
        self.error, self._exit_code = reason, exit_code
        self._fail_all(StreamError(Fault.UNAVAILABLE, reason))
        self._settled.set()

    def hear(self, message: FromEngine) -> None:
        """The engine says something of the streams. What it says of those that have left is too late."""
        match message:
            case Opened(stream, token) if stream in self._slots.lanes:
                self._slots.lanes[stream].opened(token)
            case Stepped(results, seconds, frames):
                now, streams = asyncio.get_running_loop().time(), len(results) // frames
                self._pace.stepped(streams, seconds, now, frames)
                self._metrics.stepped(streams, seconds)
                for result in results:
                    self._answered(result, now)
            case Lost(stream, reason) if stream in self._slots.lanes:
                log.error("The engine gave up a stream: %s", reason)
                self._fail(self._slots.lanes[stream], StreamError(Fault.INTERNAL))
            case Malformed(reason):
                log.error("The engine could not read a message: %s", reason)
                self._metrics.malformed.inc()

    def _answered(self, result: Result, now: float) -> None:
        lane = self._slots.lanes.get(result.stream)
        if lane is None:
            return
        try:
            events = lane.answered(result)
        except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError, VivavoceError):
            log.exception("A stream failed")  # its neighbours must not
            self._fail(lane, StreamError(Fault.INTERNAL))
            return
        self._tallies[lane.id].follow(events, now)
        if lane.session.finished:
            self._finish(lane, now)
        elif lane.backlog.full:
            self._fail(lane, StreamError(Fault.SLOW_READER, f"{lane.backlog.unread} events wait unread"))

    def _finish(self, lane: Lane, now: float) -> None:
        """The stream's last event was given: its slot is free, its reader may take its time."""
        self._tallies[lane.id].end(now)
        lane.over()
        self._slots.free(lane)

    def _publish(self) -> None:
        """Gauges that are computed when somebody asks for them."""
        lanes = self._lanes
        self._metrics.slots.set(self.slots)
        self._metrics.watch(
            slots_used=lambda: self.slots_used,
            queue=lambda: sum(lane.queued for lane in lanes.values()) / 24_000,
            load=lambda: self._pace.load(self.slots_used),
            capacity=lambda: self.capacity,
            ready=lambda: self.state == "ready",
        )
        self._metrics.watch_streams(
            live=lambda: sum(not lane.parked for lane in lanes.values()),
            parked=lambda: sum(lane.parked for lane in lanes.values()),
        )


def _refusal(fault: Fault, detail: str = "") -> StreamError:
    return StreamError(fault, detail, RETRY_AFTER[fault])
