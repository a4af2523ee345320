"""The stream dialect: raw float32 audio up, JSON down. Its sessions can be resumed (docs/protocols)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vivavoce import core
from vivavoce.core import Flush
from vivavoce.session.key_terms import written

from .backlog import Samples
from .wire import Ack, Finished, Frame, Options, Query, Ready, Signal, UnreadableError, problem


class StreamWire:
    """Frames of `/v1/stream`; remembers the number of the last event, so that a resume repeats none."""

    def __init__(self, options: Options) -> None:
        self.keeps = options.resume
        self._options = options
        self._seen = 0

    def met(self, headers: Mapping[str, str]) -> None:
        pass  # all is in the first message

    def query(self, session: str | None) -> Query:
        options = self._options
        asked = {
            "words": options.words,
            "vad": options.vad,
            "vad_head": options.vad_head,
            "vad_threshold": options.vad_threshold,
            "temperature": options.temperature,
            "seed": options.seed,
            "guard": options.guard,
            "resume": options.resume,
        }
        query: Query = {
            name: _plain(value) for name, value in asked.items() if value is not None and value is not False
        }
        if options.key_terms:
            query["keyterm"] = [written(term) for term in options.key_terms]
        return query if session is None else {**query, "session": session, "seq": str(self._seen)}

    def begin(self) -> None:
        self._seen = 0

    def audio(self, samples: Samples) -> bytes:
        return samples.astype("<f4", copy=False).tobytes()

    def flush(self, flush: Flush) -> str:
        return msgspec.json.encode({"type": "flush", "id": flush.id}).decode()

    def end(self) -> str:
        return '{"type":"eos"}'

    def keepalive(self) -> str:
        return '{"type":"keepalive"}'

    def patience(self) -> None:
        return None

    def decode(self, frame: Frame) -> list[core.Event | Signal]:
        try:
            message = msgspec.json.decode(frame)
            said = _read(message)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
            shown = frame if isinstance(frame, str) else frame[:200].decode(errors="replace")
            raise UnreadableError(f"the server sent what is no message of /v1/stream: {shown[:200]}") from None
        number = message.get("seq")
        if said is None or (number is not None and number <= self._seen and not isinstance(said, Signal)):
            return []
        self._seen = max(self._seen, number or 0)
        return [said]

    def closing(self, stop: float) -> list[core.Event]:  # noqa: ARG002 - the server has closed every word
        return []


def _read(message: Mapping[str, Any]) -> core.Event | Signal | None:
    """One message; None for what says nothing to a caller (a ping, a type of a later version)."""
    match message["type"]:
        case "token":
            return core.Token(str(message["text"]), float(message.get("start", 0.0)))
        case "word_start":
            return core.WordStarted(
                str(message["text"]), float(message["start"]), float(message["confidence"]), message.get("suspect")
            )
        case "word":
            return core.WordEnded(_word(message))
        case "word_dropped":
            return core.WordDropped(_word(message))
        case "vad":
            return core.Vad(float(message["time"]), tuple(map(float, message["pauses"])))
        case "vad_start":
            return core.TurnStarted(float(message["time"]))
        case "vad_resume":
            return core.TurnResumed(float(message["time"]))
        case "vad_end":
            return core.TurnEnded(float(message.get("time", 0.0)))
        case "flushed":
            return core.Flushed(message["id"])
        case "healed":
            return core.Healed(float(message["time"]), float(message["silent"]))
        case "ack":
            return Ack(int(message["samples"]))
        case "ready":
            return _ready(message)
        case "error":
            return problem(message.get("code"), message.get("message"), message.get("retry_after"))
        case "end":
            return Finished()
    return None


def _word(message: Mapping[str, Any]) -> core.Word:
    times = float(message["start"]), float(message["stop"])
    return core.Word(str(message["text"]), *times, float(message["confidence"]), message.get("suspect"))


def _ready(message: Mapping[str, Any]) -> Ready:
    return Ready(
        session=message.get("session"),
        model=message.get("model"),
        samples=int(message.get("samples", 0)),
        flushes=int(message.get("flushes", 0)),
        ended=bool(message.get("ended", False)),
    )


def _plain(value: object) -> str:
    return "true" if value is True else str(value)
