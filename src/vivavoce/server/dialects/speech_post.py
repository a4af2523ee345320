"""A text in one request, its speech in the answer: WAV as it is spoken, or JSON with a transcript."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from vivavoce.core import SAMPLE_RATE, Fault, Speech, SpeechEvent, StreamError, UnsupportedError, WordSpoken
from vivavoce.runtime import SpeechOptions, SpeechRuntime, SpeechStream
from vivavoce.settings import Limits, SpeechModule

from ..errors import Refused
from ..gate import Admitted
from ..journal import Journal
from .caller import first_of
from .opening import open_speech, speech_options
from .speech_wishes import SpeechWishes, refused
from .waiting import gone, when_free

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
            body = await _body(self._request, self._most_bytes)
            order = await asyncio.to_thread(order_of, self._request.headers.get("content-type", ""), body)
            stream = await when_free(self._request, self._runtime, lambda: open_speech(self._runtime, self._how(order)))
            try:
                _check(stream, order)
                with Journal(stream, self._runtime.name, dialect="post", who=self._admitted.who) as journal:
                    if order.streamed:
                        await self._stream(stream, order, journal, Patient(send, self._send_seconds))
                    else:
                        answer = await self._whole(stream, order, journal)
                        await answer(scope, receive, send)
            finally:
                stream.close()

    def _how(self, order: Order) -> SpeechOptions:
        return speech_options(self._module, **order.options)

    async def _stream(self, stream: SpeechStream, order: Order, journal: Journal, send: Patient) -> None:
        async def tell() -> None:
            await send.start()
            async for event in stream.events():
                journal.saw(event)
                if isinstance(event, Speech):
                    await send.body(pcm16(event))
            await send.body(b"", more=False)

        await first_of(tell(), _say(stream, order), _watch(self._request))

    async def _whole(self, stream: SpeechStream, order: Order, journal: Journal) -> Response:
        events: list[SpeechEvent] = []

        async def collect() -> None:
            async for event in stream.events():
                journal.saw(event)
                events.append(event)

        await first_of(collect(), _say(stream, order), _watch(self._request))
        data = b"".join(pcm16(event) for event in events if isinstance(event, Speech))
        wav = wav_header(len(data) // 2) + data
        if not order.timestamps:
            return Response(wav, media_type="audio/wav")
        words = [event for event in events if isinstance(event, WordSpoken)]
        transcript = [{"text": word.text, "start_s": word.start, "stop_s": word.stop} for word in words]
        return JSONResponse({"wav": base64.b64encode(wav).decode(), "transcript": transcript})


async def _body(request: Request, most: int) -> bytes:
    """Raises StreamError(TOO_LARGE)."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise StreamError(Fault.TOO_LARGE, f"the body has more than {most} bytes; that is the limit of a text")
    return bytes(data)


class Patient:
    """Sends an answer in parts, each with a deadline."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send, self._seconds = send, seconds

    async def start(self) -> None:
        headers = [(b"content-type", b"audio/wav")]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self.body(wav_header(None))

    async def body(self, data: bytes, more: bool = True) -> None:
        """Raises StreamError(SLOW_READER) when the client takes too long to make room."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            raise StreamError(Fault.SLOW_READER, f"the client has not read for {self._seconds:g} s") from None


def _check(stream: SpeechStream, order: Order) -> None:
    """Raises Refused, which a status can still tell, for a word that the model cannot say."""
    try:
        for turn in order.turns:
            stream.check(turn)
    except UnsupportedError as error:
        raise Refused(Fault.INVALID_MESSAGE, "unknown_word", str(error)) from None


async def _say(stream: SpeechStream, order: Order) -> None:
    for number, turn in enumerate(order.turns):
        await stream.say(turn, whole=True, speaker=number % 2)
    stream.end()
    await asyncio.Event().wait()  # for the last words


async def _watch(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(1)
    raise gone()
