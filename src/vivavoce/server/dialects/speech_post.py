"""A text in one request, its speech in the answer: WAV as it is spoken, or JSON with a transcript."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from vivavoce.core import SAMPLE_RATE, Speech, SpeechEvent, WordSpoken
from vivavoce.runtime import SpeechOptions, SpeechRuntime, SpeechStream
from vivavoce.settings import Limits, SpeechModule

from ..gate import Admitted
from ..journal import Journal
from .caller import first_of
from .opening import open_speech, speech_options
from .patient import Patient, watch
from .speech_wishes import SpeechWishes, refused
from .spoken import answer, check, read_body, say
from .waiting import when_free

_CALLED: dict[type, str] = {
    str: "a text",
    list: "an array",
    bool: "true or false",
    int: "an integer",
    float: "a number",
}
ENDLESS = 0xFFFFFFFF  # the size of a WAV whose end is not known yet


@dataclass(frozen=True)
class Order:
    """What a body asks for."""

    turns: tuple[str, ...]  # of the main speaker, of the other one, and so on
    options: dict[str, object]
    timestamps: bool
    streamed: bool  # one text: its audio is sent while it is spoken


def order_of(content_type: str, data: bytes) -> Order:
    """What a body asks for. Raises HTTPException 415, 400 or 422 as moshi-server answers them, and Refused."""
    if content_type.partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "the body must be JSON, with content-type: application/json")
    try:
        body = json.loads(data)
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise HTTPException(422, "the body has half a surrogate pair in a text") from None
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise HTTPException(422, "the body must be an object")
    text = _taken(body, "text", (str, list), None)
    turns = (text,) if isinstance(text, str) else tuple(text or ())
    if text is None or not all(isinstance(turn, str) for turn in turns):
        raise HTTPException(422, "text must be a text, or an array of texts: the turns of two speakers")
    timestamps = _taken(body, "return_timestamps", (bool,), False)
    return Order(turns, _options(body), bool(timestamps), isinstance(text, str) and not timestamps)


def _options(body: dict[str, Any]) -> dict[str, object]:
    voices = _taken(body, "voices", (list,), None)
    if voices is not None and not all(isinstance(voice, str) for voice in voices):
        raise HTTPException(422, "voices must be an array of names")
    wishes = SpeechWishes(
        voice=_taken(body, "voice", (str,), None),
        seed=_taken(body, "seed", (int,), None),
        temperature=_number(body, "temperature"),
        top_k=_taken(body, "top_k", (int,), None),
        cfg_alpha=_number(body, "cfg_alpha"),
    )
    if wishes.seed is not None and wishes.seed < 0:
        raise refused(f"seed should not be negative, got {wishes.seed}")
    return wishes.options | ({"voices": tuple(voices)} if voices else {})


def _number(body: dict[str, Any], name: str) -> float | None:
    value = _taken(body, name, (int, float), None)
    try:
        return None if value is None else float(value)
    except OverflowError:
        raise refused(f"{name} is too large") from None


def _taken(body: dict[str, Any], name: str, kinds: tuple[type, ...], default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        called = _CALLED[float] if float in kinds else " or ".join(_CALLED[kind] for kind in kinds)
        raise HTTPException(422, f"{name} must be {called}, got {json.dumps(value)[:80]}")
    return value


def wav_header(samples: int | None) -> bytes:
    """44 bytes, mono of 16 bits at 24 kHz; None for a length that is not known yet."""
    size = ENDLESS if samples is None else 2 * samples
    riff = ENDLESS if samples is None else 36 + size
    form = (b"RIFF", riff, b"WAVE", b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16, b"data", size)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *form)


def pcm16(event: Speech) -> bytes:
    data: bytes = (np.clip(event.samples, -1, 1) * 32_767).astype("<i2").tobytes()
    return data


class _Wav:
    """A WAV whose length is not known yet."""

    media_type = "audio/wav"
    headers: Mapping[str, str] = {}

    def begin(self) -> bytes:
        return wav_header(None)

    def tell(self, event: SpeechEvent) -> bytes:
        return pcm16(event) if isinstance(event, Speech) else b""

    def end(self) -> bytes:
        return b""


class Speaker(Response):
    """The answer to one POST; it holds the caller's place at the gate until it is given."""

    def __init__(
        self, request: Request, admitted: Admitted, module: SpeechModule, runtime: SpeechRuntime, limits: Limits
    ) -> None:
        super().__init__()
        self._request, self._admitted, self._module, self._runtime = request, admitted, module, runtime
        self._send_seconds, self._most_bytes = limits.send_seconds, limits.message_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._admitted:
            body = await read_body(self._request, self._most_bytes)
            order = await asyncio.to_thread(order_of, self._request.headers.get("content-type", ""), body)
            stream = await when_free(self._request, self._runtime, lambda: open_speech(self._runtime, self._how(order)))
            try:
                check(stream, order.turns)
                with Journal(stream, self._runtime.name, dialect="post", who=self._admitted.who) as journal:
                    if order.streamed:
                        patient = Patient(send, self._send_seconds)
                        await answer(self._request, stream, order.turns, journal, patient, _Wav(), self._admitted)
                    else:
                        whole = await self._whole(stream, order, journal)
                        await whole(scope, receive, send)
            finally:
                stream.close()

    def _how(self, order: Order) -> SpeechOptions:
        return speech_options(self._module, **order.options)

    async def _whole(self, stream: SpeechStream, order: Order, journal: Journal) -> Response:
        events: list[SpeechEvent] = []

        async def collect() -> None:
            async for event in stream.events():
                journal.saw(event)
                if isinstance(event, Speech):
                    await self._admitted.pay(len(event.samples))
                events.append(event)

        await first_of(collect(), say(stream, order.turns), watch(self._request))
        data = b"".join(pcm16(event) for event in events if isinstance(event, Speech))
        wav = wav_header(len(data) // 2) + data
        if not order.timestamps:
            return Response(wav, media_type="audio/wav")
        words = [event for event in events if isinstance(event, WordSpoken)]
        transcript = [{"text": word.text, "start_s": word.start, "stop_s": word.stop} for word in words]
        return JSONResponse({"wav": base64.b64encode(wav).decode(), "transcript": transcript})
