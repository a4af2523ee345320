"""The heart of a server of speech to text: streams on one side, an engine in its own process on the other."""

from __future__ import annotations

import asyncio

import numpy as np

from vivavoce.core import FRAME_SECONDS, Fault, KeyTerm, StreamError
from vivavoce.settings.limits import Limits

from .distant import Share
from .host import Host, refusal
from .lane import Answer, Lane
from .message import Message
from .messages import EngineSpec, FromEngine, ModelInfo, Opened, Stepped
from .metrics import Metrics
from .options import StreamOptions
from .shared_messages import Fetch, HandedOver, HandOver, Luggage
from .shared_slots import SharedSlots
from .stream import Stream
from .tally import SttTally
from .vault import Vault


class Runtime(Host[Lane, ModelInfo]):
    """One model that hears, its engine process, and the streams that it serves."""

    def __init__(
        self,
        spec: EngineSpec,
        limits: Limits,
        metrics: Metrics,
        name: str = "stt",
        vault: Vault | None = None,
        share: Share | None = None,
    ) -> None:
        super().__init__(spec, limits, metrics, name, "asr", share)
        self._keeping = set[asyncio.Future[None]]()
        self._wanted = dict[int, tuple[str, asyncio.Future[None]]]()  # of other workers, by our key
        self.vault = vault  # of streams that may go on at another server

    def open(self, options: StreamOptions | None = None) -> Stream:
        """A new stream. StreamError CAPACITY, OVERLOADED, UNAVAILABLE or GOING_AWAY, with `retry_after`;
        UnsupportedError when the model cannot do what the options ask for."""
        asked = options or StreamOptions()

        def make(id: str, info: ModelInfo) -> Lane:
            return (lane := Lane(id, asked, info, self.limits, lambda error: self._expired(lane, error)))

        return Stream(self._admit(make, lambda lane: SttTally(lane, self._metrics)), self)

    def resume(self, id: str) -> Stream:
        """A resumable stream again: parked, ended but not closed, or taken over from a connection that seems alive.

        StreamError(UNKNOWN_SESSION); CAPACITY when others have taken its slot meanwhile, which leaves it parked.
        """
        lane = self._guests.get(id)
        if lane is None or not lane.resumable:
            raise StreamError(Fault.UNKNOWN_SESSION)
        if not self._slots.has(lane) and not lane.finished:
            self._slots.take(lane)
        self._slots.unpark(lane)
        lane.patience.come_back()
        return Stream(lane, self)

    async def fetch(self, id: str) -> None:
        """Bring a stream here that another server, or another worker of this one, had; `resume` finds it then.
        StreamError as `open`."""
        if id in self._guests:
            return
        if self._share:
            await self._fetch_from_worker(id)
        if self.vault is None or id in self._guests or (data := await self.vault.fetch(id)) is None:
            return
        info = self._must_take_streams()
        if id in self._guests:  # somebody else was as quick
            return
        lane = self._move_in(id, data, info)
        if not lane.finished:
            self._slots.take(lane)

    def _move_in(self, id: str, data: bytes, info: ModelInfo) -> Lane:
        """A stream that comes from elsewhere, parked and without a slot."""
        lane = Lane.unpack(id, data, info, self.limits, lambda error: self._expired(lane, error))
        self._guests[id], self._tallies[id] = lane, SttTally(lane, self._metrics)
        self._empty.clear()
        if lane.finished:
            lane.over()
        lane.parked = True
        lane.patience.leave()
        return lane

    async def _fetch_from_worker(self, id: str) -> None:
        assert self._share and isinstance(self._slots, SharedSlots)
        if self._draining or self._stopped:
            raise refusal(Fault.GOING_AWAY)
        key, coming = self._slots.expect(), asyncio.get_running_loop().create_future()
        self._wanted[key] = id, coming
        self._share.line.send(Fetch(key, id))
        try:
            async with asyncio.timeout(self.limits.stall_seconds):
                await asyncio.shield(coming)
        except TimeoutError:
            raise refusal(Fault.UNAVAILABLE, "the worker that has the session does not answer") from None

    def hear_main(self, message: Message) -> None:
        match message:
            case HandOver(wanted, id):
                self._hand_over(wanted, id)
            case Luggage():
                self._arrived(message)
            case _:
                super().hear_main(message)

    def _hand_over(self, wanted: int, id: str) -> None:
        """The stream is another worker's from now on, if it is here; whoever is connected to it here is told so."""
        assert self._share and isinstance(self._slots, SharedSlots)
        lane = self._guests.get(id)
        if lane is None or not lane.resumable or lane.backlog.error:
            self._share.line.send(HandedOver(wanted, -1, b""))
            return
        luggage = lane.pack()
        lane.held_by(None)
        self._slots.hand_over(lane, wanted, luggage)
        self.close(lane)

    def _arrived(self, message: Luggage) -> None:
        assert self.info and isinstance(self._slots, SharedSlots)
        session, coming = self._wanted.pop(message.key)
        if message.luggage:
            lane = self._move_in(session, message.luggage, self.info)
            if message.slot >= 0:
                self._slots.arrived(lane, message.key, message.slot)
                self._slots.park(lane)  # until `resume`: whoever wanted it may have gone meanwhile
        coming.set_result(None)

    def expect(self, lane: Lane, terms: tuple[KeyTerm, ...]) -> None:
        """For `Stream.expect`."""
        lane.expect(terms)
        self._slots.begin_again(lane)

    async def secure(self, lane: Lane) -> None:
        """Once this returns, the stream can go on elsewhere as it is now; without a vault it means nothing."""
        if self.vault is not None and lane.resumable:
            await self.vault.keep(lane.id, lane.pack())

    async def move_out(self) -> None:
        """No new streams; those that can be resumed are kept in the vault and told to go (GOING_AWAY)."""
        assert self.vault is not None, "streams that move need a vault"
        self._draining = True
        for lane in [lane for lane in self._guests.values() if lane.resumable and not lane.backlog.closed]:
            luggage = lane.pack()
            self._fail(lane, refusal(Fault.GOING_AWAY))
            await self.vault.keep(lane.id, luggage)

    def park(self, guest: Lane) -> None:
        """For `Handle.park`. With a vault the stream waits there: its caller may come back to another server."""
        if self.vault is None or not guest.resumable or guest.backlog.error:
            super().park(guest)
            return
        self._keeping.add(keeping := asyncio.ensure_future(self.vault.keep(guest.id, guest.pack())))
        keeping.add_done_callback(self._keeping.discard)
        self.close(guest)

    def _take(self, message: FromEngine) -> None:
        match message:
            case Opened(stream, token) if stream in self._slots.guests:
                self._slots.guests[stream].opened(token)
            case Stepped():
                self._stepped(message)
            case _:
                super()._take(message)

    def _stepped(self, step: Stepped) -> None:
        assert self.info, "an engine steps before it is ready"
        now, streams, rows = asyncio.get_running_loop().time(), len(step.streams), len(step.tokens)
        self._pace.stepped(streams + step.beside, step.seconds, now, step.frames)
        if not streams:  # all of other workers
            return
        self._metrics.stepped(streams, step.seconds)
        self._metrics.audio.inc(rows * FRAME_SECONDS)
        vad = np.frombuffer(step.vad).reshape(rows, self.info.vad_heads).tolist()
        codes = np.frombuffer(step.codes, np.int32).reshape(rows, self.info.n_q)
        guests = self._slots.guests
        for row in range(rows):
            stream, frame = step.streams[row // step.frames], row % step.frames
            if lane := guests.get(stream):
                start = None if frame else step.starts.get(stream)
                gave = Answer(step.tokens[row], step.logprobs[row], vad[row], codes[row], start)
                self._follow(lane, lane.answered, gave, now)
