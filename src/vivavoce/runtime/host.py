"""The half of a runtime that faces the engine: one model, its process, and who has a slot in it; for any kind."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Generic, Literal, TypeVar

from vivavoce.core import ExitCode, Fault, StreamError, VivavoceError
from vivavoce.settings.limits import Limits

from .distant import DistantSupervisor, Share
from .guest import Guest
from .message import Info, Message, Spec
from .messages import FromEngine, Lost, Malformed
from .metrics import Kind, Metrics
from .pace import Pace
from .seam import Engine
from .shared_messages import Denied, Evict, ForAll, Given, Occupied
from .shared_slots import SharedSlots
from .slots import Slots
from .supervisor import Supervisor
from .tally import Tally

log = logging.getLogger("vivavoce.runtime")
State = Literal["loading", "ready", "restarting", "draining", "broken", "stopped"]
RETRY_AFTER = {Fault.OVERLOADED: 5.0, Fault.UNAVAILABLE: 2.0, Fault.GOING_AWAY: 1.0}  # seconds
G = TypeVar("G", bound=Guest[Any])
I = TypeVar("I", bound=Info)  # noqa: E741
A = TypeVar("A")


class Host(Generic[G, I]):
    """For one event loop. Streams do not notice when the engine ends: another one is begun, and each goes on where it
    was. A stream that is opened while that happens waits, as far as its queue holds what comes."""

    def __init__(
        self, spec: Spec, limits: Limits, metrics: Metrics, name: str, kind: Kind, share: Share | None = None
    ) -> None:
        """`share`: this process is one of several workers, and the engine is the main process's."""
        self.spec, self.limits, self.name = spec, limits, name
        self.error: str | None = None  # why the engine is broken
        self._exit_code = ExitCode.FAILURE  # of a command that cannot do without it
        self.info: I | None = None
        self.slots = spec.slots
        self.restarts = 0
        self._metrics = metrics.module(name, kind, steps=share is None)
        self._pace = Pace(limits.load_limit)
        self._guests = dict[str, G]()  # by id: whoever can still be read or resumed
        self._tallies = dict[str, Tally]()
        self._share = share
        self._slots: Slots[G] = Slots(spec.slots, self._metrics.moshi.open)
        if share:
            self._slots = SharedSlots(spec.slots, self._metrics.moshi.open, share.first, share.line.send)
        self._supervisor: Supervisor | DistantSupervisor | None = None
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
        """The engine's process, or that which loads for want of one."""
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
        if self._share:
            self._supervisor = DistantSupervisor(self._share.line, self.limits.stall_seconds, self)
            self._supervisor.begin()
        else:
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
        assert isinstance(self._supervisor, Supervisor), "who was not started, or shares an engine, restarts none"
        await self._supervisor.restart()

    async def drain(self, seconds: float) -> None:
        """Take no new streams, and return when all have ended and were read; end those left after so many seconds.

        Parked ones end at once: nobody can come back to a server that goes.
        """
        self._draining = True
        for guest in [guest for guest in self._guests.values() if guest.parked]:
            self._fail(guest, StreamError(Fault.GOING_AWAY))
        try:
            await asyncio.wait_for(self._empty.wait(), seconds)
        except TimeoutError:
            self._fail_all(refusal(Fault.GOING_AWAY))

    async def stop(self) -> None:
        """End every stream with GOING_AWAY, and the engine; leaves no process, task, timer, socket or file."""
        self._stopped = True
        self._settled.set()
        self._fail_all(refusal(Fault.GOING_AWAY))
        supervisor, self._supervisor = self._supervisor, None
        if supervisor:
            await supervisor.stop()

    # --- streams ---

    def park(self, guest: G) -> None:
        """For `Handle.park`."""
        if not (guest.resumable and self.limits.resume_seconds) or self._draining:
            self.close(guest)
        else:
            self._slots.park(guest)
            guest.patience.leave()

    def close(self, guest: G) -> None:
        """For `Handle.close`, and the last thing that happens to every stream."""
        guest.patience.stop()
        self._slots.free(guest)
        if self._guests.pop(guest.id, None):
            self._tallies.pop(guest.id).end(asyncio.get_running_loop().time())
        if not self._guests:
            self._empty.set()

    def _admit(self, make: Callable[[str, I], G], tally: Callable[[G], Tally]) -> G:
        """A new stream in a slot. Raises as `Runtime.open`; every refusal is counted."""
        self._metrics.moshi.connect.inc()
        try:
            guest = make(secrets.token_urlsafe(16), self._must_take_streams())
            self._guests[guest.id] = guest
            self._tallies[guest.id] = tally(guest)
            self._empty.clear()
            self._slots.take(guest)
            return guest
        except StreamError as error:
            self._metrics.refused(error.fault.name.lower())
            raise

    def _must_take_streams(self) -> I:
        if self._draining or self._stopped:
            raise refusal(Fault.GOING_AWAY)
        if self.error is not None:
            raise StreamError(Fault.UNAVAILABLE, self.error)
        if self.info is None:
            raise refusal(Fault.UNAVAILABLE, "the model is loading")
        self._slots.must_have_one()
        if self.slots_used < self.slots and not self._pace.bears(self.slots_used + 1):
            share = round(100 * self._pace.load(self.slots_used + 1))
            raise refusal(Fault.OVERLOADED, f"a step with one more stream would take {share} % of its 80 ms")
        return self.info

    def _expired(self, guest: G, error: StreamError) -> None:
        """The patience with its caller is over. As with a lost connection, another may come for what is resumable."""
        if guest.resumable and error.fault is Fault.CLIENT_TIMEOUT:
            self._metrics.faulted(error.fault.name.lower())
            guest.held_by(None, error)
            self.park(guest)
        else:
            self._fail(guest, error)

    def _fail(self, guest: G, error: StreamError) -> None:
        """The stream is ended for a fault, which its reader is told after the events that it has not read."""
        if guest.id in self._guests and not guest.backlog.closed:
            self._metrics.faulted(error.fault.name.lower())
        guest.over(error)
        self.close(guest)

    def _fail_all(self, error: StreamError) -> None:
        for guest in list(self._guests.values()):
            self._fail(guest, error)

    # --- the engine ---

    @property
    def _engine(self) -> Engine | None:
        return self._supervisor.engine if self._supervisor else None

    def adopt(self, info: Any, steps: list[tuple[int, float]]) -> None:
        """Another engine is ready, of the kind that the spec asked for: all streams go on in it."""
        self.info, self.error = info, None
        for batch, seconds in steps:
            self._pace.learn(batch, seconds)
        self._slots.move(self._engine)
        self._settled.set()

    def engine_replaced(self, reason: str) -> None:
        self.restarts += 1
        self._metrics.restarted(reason)

    async def engine_lost(self) -> bool:
        """The engine has ended; another will come. The stream that it died of, where that is known, ends."""
        return self.lose_engine()[0]

    def lose_engine(self) -> tuple[bool, bool]:
        """The same; whether it is known of what it died, and whether streams are suspected."""
        culprit = self._slots.lost()
        if culprit:
            log.error("One engine after the other has died of stream %s; it is ended", culprit.id[:8])
            self._fail(culprit, StreamError(Fault.UNPROCESSABLE))
        return culprit is not None, self._slots.suspects

    def engine_broken(self, reason: str, exit_code: ExitCode) -> None:
        """No other engine will come."""
        self.error, self._exit_code = reason, exit_code
        self._fail_all(StreamError(Fault.UNAVAILABLE, reason))
        self._settled.set()

    def hear(self, message: FromEngine) -> None:
        """The engine says something of the streams. What it says of those that have left is too late."""
        self._take(message)
        self._slots.proceed()

    def _take(self, message: FromEngine) -> None:
        match message:
            case Lost(stream, reason, fault) if stream in self._slots.guests:
                log.error("The engine gave up a stream: %s", reason)
                detail = reason if Fault[fault] is not Fault.INTERNAL else ""
                self._fail(self._slots.guests[stream], StreamError(Fault[fault], detail))
            case Malformed(reason):
                log.error("The engine could not read a message: %s", reason)
                self._metrics.malformed.inc()

    def hear_main(self, message: Message) -> None:
        """The main process says something of slots, and of streams that move from worker to worker."""
        slots = self._slots
        assert isinstance(slots, SharedSlots), "only workers have a main process"
        match message:
            case Given(key, slot):
                slots.given(key, slot)
            case Denied(key):
                if guest := slots.denied(key):
                    self._fail(guest, StreamError(Fault.CAPACITY, "others were quicker", RETRY_AFTER[Fault.OVERLOADED]))
            case Evict(key):
                slots.evict(key)
            case ForAll():
                slots.enter_next()
            case Occupied():
                slots.others = message

    def _follow(self, guest: G, answered: Callable[[A], Iterable[Any]], answer: A, now: float) -> None:
        """What one step gave a stream: `answered` says the events."""
        try:
            events = answered(answer)
        except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError, VivavoceError):
            log.exception("A stream failed")  # its neighbours must not
            self._fail(guest, StreamError(Fault.INTERNAL))
            return
        self._tallies[guest.id].follow(events, now)
        if guest.finished:
            self._finish(guest, now)
        elif guest.backlog.full:
            self._fail(guest, StreamError(Fault.SLOW_READER, f"{guest.backlog.unread} events wait unread"))

    def _finish(self, guest: G, now: float) -> None:
        """The stream's last event was given: its slot is free, its reader may take its time."""
        self._tallies[guest.id].end(now)
        guest.over()
        self._slots.free(guest)

    def _publish(self) -> None:
        """Gauges that are computed when somebody asks for them."""
        guests = self._guests
        self._metrics.slots.set(self.slots)
        self._metrics.watch(
            slots_used=lambda: self.slots_used,
            queue=lambda: sum(guest.queued for guest in guests.values()) / 24_000,
            load=lambda: self._pace.load(self.slots_used),
            capacity=lambda: self.capacity,
            ready=lambda: self.state == "ready",
        )
        self._metrics.watch_streams(
            live=lambda: sum(not guest.parked for guest in guests.values()),
            parked=lambda: sum(guest.parked for guest in guests.values()),
        )


def refusal(fault: Fault, detail: str = "") -> StreamError:
    """With the time after which to try again."""
    return StreamError(fault, detail, RETRY_AFTER[fault])
