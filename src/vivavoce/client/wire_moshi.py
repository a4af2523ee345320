"""moshi-server's dialect: MessagePack both ways (`/api/asr-streaming`). No resume, no confidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from vivavoce import core
from vivavoce.core import (
    FRAME_SECONDS,
    FRAME_SIZE,
    VAD_HEAD,
    Event,
    Flush,
    TurnEnded,
    TurnResumed,
    TurnStarted,
    UnsupportedError,
    Vad,
    WordStarted,
)
from vivavoce.session.turns import Turns

from .backlog import Samples
from .wire import Finished, Frame, Options, Query, Ready, Signal, UnreadableError, problem

END = -(2**63) + 1  # the marker by which the fork's client ends
HEAD = 2  # pauses of 2 s, what the scripts and Unmute listen to, of a server that does not say which its model means
LONGEST_WORD = 1.0  # seconds given to a last word whose end the server never tells
_SAMPLE = np.dtype([("kind", "u1"), ("value", ">f4")])  # MessagePack's float 32


class MoshiWire:
    """Frames of moshi-server. Words are told before their ends; turns are found here, as the engine finds them."""

    keeps = False

    def __init__(self, options: Options) -> None:
        if options.guard == "drop":
            raise UnsupportedError("guard drop needs /v1/stream: moshi-server's protocol cannot tell of words dropped")
        if options.key_terms:
            raise UnsupportedError("key terms need /v1/stream: moshi-server's protocol has none, and does not say so")
        self._options = options
        self._flushes: dict[int, int | str] = {}  # marker to the caller's id
        self._markers = 0
        self._head = HEAD
        self.begin()

    def met(self, headers: Mapping[str, str]) -> None:
        head = headers.get(VAD_HEAD, "")
        self._head = int(head) if head.isdecimal() else HEAD

    def query(self, session: str | None) -> Query:  # noqa: ARG002 - sessions have no name here
        asked = {"temperature": self._options.temperature, "seed": self._options.seed}  # moshi-server heeds neither
        return {name: str(value) for name, value in asked.items() if value is not None}

    def begin(self) -> None:
        self._steps = 0
        self._said = False
        self._word: WordStarted | None = None
        self._turns: Turns | None = None
        self._since_step: list[Event] = []

    def audio(self, samples: Samples) -> bytes:
        packed = np.empty(len(samples), _SAMPLE)
        packed["kind"], packed["value"] = 0xCA, samples
        header = b"\x82\xa4type\xa5Audio\xa3pcm\xdd" + len(samples).to_bytes(4, "big")
        return header + packed.tobytes()

    def flush(self, flush: Flush) -> bytes:
        for marker in [marker for marker, asked in self._flushes.items() if asked == flush.id]:
            del self._flushes[marker]  # asked on a connection that is gone
        self._markers += 1
        self._flushes[self._markers] = flush.id
        return _marker(self._markers)

    def end(self) -> bytes:
        return _marker(END)

    def keepalive(self) -> bytes:
        return self.audio(np.zeros(0, np.float32))  # every version takes an empty Audio; few know Ping

    def patience(self) -> bytes:
        return self.audio(np.zeros(FRAME_SIZE, np.float32))  # moshi-server echoes a marker only while audio comes

    def decode(self, frame: Frame) -> list[core.Event | Signal]:
        try:
            message = msgspec.msgpack.decode(frame)  # type: ignore[arg-type]
            return list(self._read(message))
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise UnreadableError(f"the server sent what is no message of moshi-server: {frame[:40]!r}") from None

    def closing(self, stop: float) -> list[core.Event]:
        if self._word is None:
            return []
        return [self._ended(max(self._word.start, min(stop, self._word.start + LONGEST_WORD)))]

    def _read(self, message: Mapping[str, Any]) -> list[core.Event | Signal]:
        match message["type"]:
            case "Ready":
                return [Ready()]
            case "Step":
                return list(self._step(tuple(map(float, message["prs"]))))
            case "Word":
                return list(self._started(str(message["text"]), float(message["start_time"])))
            case "EndWord":
                return [self._ended(float(message["stop_time"]))] if self._word else []
            case "Marker":
                return self._echoed(int(message["id"]))
            case "Error":
                text = str(message["message"])
                return [problem("capacity" if "no free channels" in text else None, text)]
        return []

    def _step(self, pauses: tuple[float, ...]) -> list[Event]:
        self._steps += 1
        if self._turns is None:
            self._turns = Turns(len(pauses), *self._watched(len(pauses)))
        words, self._since_step = self._since_step, []
        found = self._turns.follow(self._steps * FRAME_SECONDS, pauses, words)
        shown = found if self._options.vad else found[1:]
        return [event for event in shown if isinstance(event, Vad | TurnStarted | TurnEnded | TurnResumed)]

    def _watched(self, heads: int) -> tuple[int, float]:
        head, threshold = self._options.vad_head, self._options.vad_threshold
        if head is not None and not 0 <= head < heads:
            raise UnsupportedError(f"vad_head {head} does not exist: this server tells of heads 0 to {heads - 1}")
        return min(self._head, heads - 1) if head is None else head, 0.5 if threshold is None else threshold

    def _started(self, text: str, start: float) -> list[Event]:
        events: list[Event] = [self._ended(start)] if self._word else []
        self._word = WordStarted(text, start, 1.0)
        token = core.Token(f" {text}" if self._said else text, start)
        self._since_step += [token, self._word]
        self._said = True
        return [*events, token, self._word]

    def _ended(self, stop: float) -> core.WordEnded:
        assert self._word is not None
        word, self._word = self._word, None
        return core.WordEnded(core.Word(word.text, word.start, max(word.start, stop), word.confidence))

    def _echoed(self, marker: int) -> list[core.Event | Signal]:
        if marker == END:
            return [Finished()]
        return [core.Flushed(self._flushes.pop(marker))] if marker in self._flushes else []


def _marker(id: int) -> bytes:
    return msgspec.msgpack.encode({"type": "Marker", "id": id})
