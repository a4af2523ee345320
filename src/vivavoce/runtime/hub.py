"""The engine that a server's workers share: the main process begins it, watches it, and gives its slots."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vivavoce.core import FRAME_SIZE, ExitCode, Fault, StreamError
from vivavoce.settings.limits import Limits

from . import messages
from .engine_process import EngineProcess
from .message import Spec
from .messages import Close, Frames, FromEngine, Lost, Malformed, ModelInfo, Open, Opened, Ready, Restore, Stepped
from .metrics import Kind, Metrics
from .port import Port
from .shared_messages import (
    Adopt,
    Broken,
    Fetch,
    ForAll,
    Gone,
    HandedOver,
    HandOver,
    Hold,
    Luggage,
    Ours,
    Parked,
    Stall,
    TrialOver,
    Verdict,
    Yield,
    decode_to_hub,
)
from .slot_book import SlotBook
from .speech_messages import GoOn, ReadyToSpeak, Speak, SpeechInfo, SpeechSpec, Spoke
from .supervisor import Supervisor

log = logging.getLogger("vivavoce.runtime")
FRAME_BYTES = 4 * FRAME_SIZE


class Hub:
    """Between one engine and the runtimes of the workers, each of which has the streams of its own callers.

    What a worker says to the engine is passed on as it is, in the order in which it came from all of them; what the
    engine says is cut into a piece for each. A step is told to everybody, so that all know how fast the engine is.
    """

    def __init__(self, spec: Spec, limits: Limits, metrics: Metrics, name: str) -> None:
        self.info: ModelInfo | SpeechInfo | None = None
        self._spec, self._limits = spec, limits
        kind: Kind = "py" if isinstance(spec, SpeechSpec) else "asr"
        self._metrics = metrics.module(name, kind)
        self._restarts = 0
        self._ports = list[Port]()
        self._routes = dict[int, Port]()  # by stream
        self._book = SlotBook(spec.slots, self._ports)
        self._fetches = dict[int, tuple[Port, set[Port]]]()  # by the asker's key: the asker, and who has not answered
        self._supervisor: Supervisor | None = None
        self._engine: EngineProcess | None = None
        self._ready: Ready | ReadyToSpeak | None = None
        self._broken: Broken | None = None
        self._settled = asyncio.Event()
        self._heard = 0.0  # when the engine said something

    # --- its life ---

    def start(self) -> None:
        """Spawns the engine; returns before it is ready."""
        self._supervisor = Supervisor(self._spec, self._limits.stall_seconds, self)

    async def wait_ready(self) -> None:
        """Returns when the model is loaded; StreamError(UNAVAILABLE) with the loader's one line when it cannot be."""
        await self._settled.wait()
        if self._broken:
            failure = StreamError(Fault.UNAVAILABLE, self._broken.reason)
            failure.exit_code = ExitCode(self._broken.exit_code)
            raise failure

    async def restart(self) -> None:
        """Move every stream to a new engine process. When it cannot load, nothing moves: StreamError(UNAVAILABLE)."""
        assert self._supervisor, "a hub that was not started cannot restart"
        await self._supervisor.restart()

    async def stop(self) -> None:
        """Ends the engine and the lines to the workers."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor:
            await supervisor.stop()
        for port in self._ports[:]:
            port.close()

    async def connect(self, number: int, kill: Callable[[], None]) -> socket.socket:
        """The other end of a line, for a new worker of that number. `kill` is called when it does not answer, or
        sends what cannot be taken."""
        ours, theirs = socket.socketpair()
        port = Port(self, number, kill)
        await asyncio.get_running_loop().create_unix_connection(lambda: port, sock=ours)
        self._ports.append(port)
        if self._broken:
            port.send(self._broken)
        elif self._engine and not any(port.suspects for port in self._ports):
            self._adopted(port, for_all=True)
        self._book.tell()
        return theirs

    def streams(self, number: int) -> int:
        """Slots that the worker of that number has."""
        return sum(port.used for port in self._ports if port.number == number)

    # --- what a worker says ---

    def receive(self, port: Port, parcel: memoryview, audio: memoryview) -> None:
        """One parcel. What is for the engine goes there at once, or nowhere if it is for one that is gone."""
        told = decode_to_hub(parcel)
        if not any(isinstance(message, Ours) for message in told):
            if port.adopted:
                self._note(port, told)
                self._forward(parcel, audio)
            return
        kept, sound, at = list[Any](), list[memoryview](), 0
        for message in told:
            end = at + FRAME_BYTES * len(message.streams) if isinstance(message, Frames) else at
            if isinstance(message, Ours):
                self._obey(port, message)
            elif port.adopted:
                kept.append(message)
                sound.append(audio[at:end])
            at = end
        if kept:
            self._note(port, kept)
            self._forward(messages.encode(kept), b"".join(sound))

    def _forward(self, parcel: bytes | memoryview, audio: bytes | memoryview) -> None:
        if self._engine:
            self._engine.forward(parcel, audio)

    def _note(self, port: Port, told: list[Any]) -> None:
        for message in told:
            match message:
                case Open() | Restore() | Speak() | GoOn():
                    self._routes[message.stream] = port
                    port.streams.add(message.stream)
                case Close(stream):
                    self._routes.pop(stream, None)
                    port.streams.discard(stream)

    def _obey(self, port: Port, message: Ours) -> None:
        match message:
            case Hold(key):
                port.had_streams = True
                self._book.hold(port, key)
            case Yield(key):
                self._book.give_back(port, key)
            case Parked(key, parked):
                self._book.park(port, key, parked)
            case Fetch(key, id):
                self._fetch(port, key, id)
            case HandedOver():
                self._handed_over(port, message)
            case Verdict():
                port.suspects = message.suspects
                if port.verdict:
                    port.verdict.set_result(message)
                    port.verdict = None
            case TrialOver():
                port.suspects = False
                self._try_next()
            case Stall(seconds):
                self._stalled(seconds)

    def lost(self, port: Port) -> None:
        """A worker has gone, and its streams with it."""
        self._ports.remove(port)
        if port.streams and port.adopted:
            self._forward(messages.encode([Close(stream) for stream in port.streams]), b"")
        for stream in port.streams:
            self._routes.pop(stream, None)
        for key in list(port.slots):
            self._book.give_back(port, key)
        for wanted in list(self._fetches):
            self._has_not(wanted, port)
        if port.verdict and not port.verdict.done():
            port.verdict.set_result(Verdict(convicted=False, suspects=False))
        if port.suspects:
            port.suspects = False
            self._try_next()

    def _stalled(self, seconds: float) -> None:
        """A worker misses answers; it is not believed when others had some meanwhile."""
        silent = asyncio.get_running_loop().time() - self._heard
        if self._engine and silent >= 0.5 * seconds:
            self._engine.stall(seconds)

    # --- streams that move ---

    def _fetch(self, port: Port, key: int, id: str) -> None:
        others = {other for other in self._ports if other.had_streams and other is not port}
        self._fetches[key] = port, others
        for other in others:
            other.send(HandOver(key, id))
        self._has_not(key, port)

    def _handed_over(self, port: Port, message: HandedOver) -> None:
        if not message.luggage:
            self._has_not(message.wanted, port)
            return
        asker, _ = self._fetches.pop(message.wanted)
        slot = port.slots.pop(message.key, None)
        if slot is not None and asker in self._ports:
            asker.slots[message.wanted] = slot
            self._book.moved(port, message.key)
        else:
            self._book.is_free(slot)
        asker.had_streams = True
        asker.send(Luggage(message.wanted, -1 if slot is None else slot, message.luggage))

    def _has_not(self, wanted: int, port: Port) -> None:
        """That worker does not have the stream, and perhaps nobody has."""
        if wanted in self._fetches:
            asker, asked = self._fetches[wanted]
            asked.discard(port)
            if not asked:
                del self._fetches[wanted]
                asker.send(Luggage(wanted, -1, b""))

    # --- the engine, as its supervisor tells ---

    def adopt(self, info: Any, steps: list[tuple[int, float]]) -> None:
        """Another engine is ready. Streams that the last one may have died of enter it first (`trial.py`), those of
        one worker after those of another."""
        assert self._supervisor and self._supervisor.engine
        self.info, self._broken = info, None
        self._engine = self._supervisor.engine
        self._ready = ReadyToSpeak(info, steps) if isinstance(info, SpeechInfo) else Ready(info, steps)
        self._heard = asyncio.get_running_loop().time()
        self._settled.set()
        self._try_next()

    def engine_replaced(self, reason: str) -> None:
        self._restarts += 1
        self._metrics.restarted(reason)

    async def engine_lost(self) -> bool:
        """Tells the workers, and hears from each whether it knows of what the engine died."""
        engine, self._engine = self._engine, None
        if engine is None:
            return False
        self._routes.clear()
        verdicts = [self._gone(port, engine) for port in self._ports if port.adopted]
        waiting = {asyncio.ensure_future(verdict) for verdict in verdicts}
        if waiting:
            await asyncio.wait(waiting, timeout=self._limits.stall_seconds)
        for port in self._ports[:]:
            if port.verdict:
                log.error("Worker %d does not answer; it is ended", port.number)
                port.end()
        return any(verdict.done() and verdict.result().convicted for verdict in verdicts)

    def engine_broken(self, reason: str, exit_code: ExitCode) -> None:
        self._broken = Broken(reason, exit_code)
        for port in self._ports:
            port.send(self._broken)
        self._settled.set()

    def hear(self, message: FromEngine) -> None:
        """The engine says something of the streams."""
        self._heard = asyncio.get_running_loop().time()
        match message:
            case Stepped():
                self._metrics.stepped(len(message.streams), message.seconds)
                self._tell(_pieces_of_step(message, self._routes, self._told))
            case Spoke():
                self._metrics.spoke(len(message.results), len(message.starved))
                if message.results:
                    self._metrics.stepped(len(message.results), message.seconds)
                self._tell(_pieces_of_speech(message, self._routes, self._told))
            case Opened(stream) | Lost(stream):
                if port := self._routes.get(stream):
                    port.send(message)
            case Malformed(reason):
                log.error("The engine could not read a message: %s", reason)
                self._metrics.malformed.inc()

    def _tell(self, pieces: Iterator[tuple[Port, Stepped | Spoke]]) -> None:
        for port, piece in pieces:
            of_others = not (piece.streams if isinstance(piece, Stepped) else piece.results or piece.starved)
            port.send(piece, waits=of_others)  # it says how fast the engine is, no more

    @property
    def _told(self) -> list[Port]:
        return [port for port in self._ports if port.adopted]

    def _gone(self, port: Port, engine: EngineProcess) -> asyncio.Future[Verdict]:
        port.adopted = False
        port.streams.clear()
        port.verdict = due = asyncio.get_running_loop().create_future()
        port.send(Gone(engine.at_fault, engine.stalled))
        return due

    def _try_next(self) -> None:
        """The engine is for the suspects of one worker, or, where there are none, for all streams."""
        if self._engine is None:
            return
        if suspect := next((port for port in self._ports if port.suspects), None):
            if not suspect.adopted:
                self._adopted(suspect, for_all=False)
            return
        for port in self._ports:
            if port.adopted:
                port.send(ForAll())
            else:
                self._adopted(port, for_all=True)

    def _adopted(self, port: Port, for_all: bool) -> None:
        assert self._ready
        port.adopted = True
        port.send(Adopt(self._ready, for_all, self._restarts))


def _pieces_of_step(
    step: Stepped, routes: dict[int, Port], ports: list[Port]
) -> Iterator[tuple[Port, Stepped | Spoke]]:
    """For each worker the rows of its streams, which may be none."""
    places: dict[Port, list[int]] = {port: [] for port in ports}
    for place, stream in enumerate(step.streams):
        if port := routes.get(stream):
            places[port].append(place)
    streams, frames = len(step.streams), step.frames
    vad = np.frombuffer(step.vad, np.uint8).reshape(streams, -1)
    codes = np.frombuffer(step.codes, np.uint8).reshape(streams, -1)
    for port, mine in places.items():
        if len(mine) == streams:
            yield port, step
            continue
        rows = mine if frames == 1 else [frames * place + row for place in mine for row in range(frames)]
        ids = [step.streams[place] for place in mine]
        starts = {stream: step.starts[stream] for stream in ids if stream in step.starts} if step.starts else {}
        yield (
            port,
            Stepped(
                ids,
                frames,
                [step.tokens[row] for row in rows],
                [step.logprobs[row] for row in rows],
                vad[mine].tobytes(),
                codes[mine].tobytes(),
                starts,
                step.seconds,
                streams - len(mine),
            ),
        )


def _pieces_of_speech(
    spoke: Spoke, routes: dict[int, Port], ports: list[Port]
) -> Iterator[tuple[Port, Stepped | Spoke]]:
    """For each worker what its streams said."""
    all_audio = all(said.audio for said in spoke.results)
    for port in ports:
        results = [said for said in spoke.results if routes.get(said.stream) is port]
        starved = [stream for stream in spoke.starved if routes.get(stream) is port]
        yield port, Spoke(results, starved, spoke.seconds, len(spoke.results) - len(results), all_audio)
