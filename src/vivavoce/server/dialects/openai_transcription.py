"""POST /v1/audio/transcriptions: a recording as OpenAI's clients send it, its text in the format that they ask for."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from vivavoce import subtitles
from vivavoce.core import Event, Fault, StreamError, Token, Transcript, Word
from vivavoce.settings import ServeSettings

from ..gate import Admitted, Gate
from . import openai_errors
from .choice import Hearing
from .openai_form import Wanted, wanted
from .opening import options_of
from .patient import Patient
from .upload import Heard, Tell, hear
from .wishes import refuse_others

DIALECT = "openai"


class Transcriptions:
    """The endpoint."""

    def __init__(self, hearing: Sequence[Hearing], gate: Gate, settings: ServeSettings) -> None:
        self._hearing, self._gate, self._settings = hearing, gate, settings

    async def __call__(self, request: Request) -> Response:
        """Raises StreamError, InvalidAudioError, HTTPException."""
        with await self._gate.admit(request, "stt") as admitted:
            refuse_others(request.query_params)
            asked = await wanted(request, self._hearing)
            if not asked.stream:
                async with _closing(asked):
                    heard = await transcribed(request, asked, admitted)
                    return written(asked, heard)
        return Streamed(request, admitted, asked, self._settings.send_seconds)


class Streamed(Response):
    """Server-sent events; the caller keeps its place at the gate until the last one."""

    def __init__(self, request: Request, admitted: Admitted, asked: Wanted, send_seconds: float) -> None:
        super().__init__()
        self._request, self._admitted, self._asked, self._send_seconds = request, admitted, asked, send_seconds

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Before the first event a refusal still has a status, behind it it is an event."""
        client, begun = Patient(send, self._send_seconds), False

        async def say(message: dict[str, object]) -> None:
            nonlocal begun
            if not begun:
                begun = True
                await client.start("text/event-stream", {"cache-control": "no-cache"})
            await client.body(sse(message))

        async def tell(event: Event) -> None:
            if isinstance(event, Token):
                chances = {"logprobs": logprobs([event])} if self._asked.logprobs else {}
                await say({"type": "transcript.text.delta", "delta": event.text, **chances})

        with self._admitted:
            async with _closing(self._asked):
                try:
                    heard = await transcribed(self._request, self._asked, self._admitted, tell)
                    text = "".join(event.text for event in heard.events if isinstance(event, Token))
                    chances = {"logprobs": logprobs(heard.events)} if self._asked.logprobs else {}
                    await say({"type": "transcript.text.done", "text": text, **chances})
                except StreamError as error:
                    if not begun or error.fault in (Fault.SLOW_READER, Fault.CLIENT_TIMEOUT):
                        raise
                    await say({"error": openai_errors.fields(error)})
                await client.body(b"", more=False)


class _closing:  # noqa: N801 (like contextlib's)
    """The form's file is on disk until it is closed."""

    def __init__(self, asked: Wanted) -> None:
        self._file = asked.file

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *error: object) -> None:
        await self._file.close()


async def transcribed(request: Request, asked: Wanted, admitted: Admitted, tell: Tell | None = None) -> Heard:
    """What the recording says. Raises as `upload.transcribe`."""
    module, runtime = asked.offer.module, asked.offer.runtime
    options = options_of(module, temperature=asked.temperature, key_terms=asked.key_terms)
    return await hear(request, asked.file.file, runtime, options, DIALECT, admitted, tell)


def written(asked: Wanted, heard: Heard) -> Response:
    """The answer in the format that was asked for."""
    transcript = heard.transcript
    match asked.format:
        case "text":
            return PlainTextResponse(transcript.text + "\n")
        case "srt":
            return PlainTextResponse(subtitles.srt(transcript))
        case "vtt":
            return PlainTextResponse(subtitles.vtt(transcript), media_type="text/vtt")
        case "verbose_json":
            return JSONResponse(_verbose(asked, transcript))
    usage = {"usage": {"type": "duration", "seconds": round(heard.seconds, 3)}}
    chances = {"logprobs": logprobs(heard.events)} if asked.logprobs else {}
    return JSONResponse({"text": transcript.text, **chances, **usage})


def sse(message: Mapping[str, object]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(message, ensure_ascii=False)}\n\n".encode()


def logprobs(events: Iterable[Event]) -> list[dict[str, object]]:
    """Of the pieces of text among the events."""
    return [
        {"token": event.text, "logprob": round(event.logprob or 0.0, 5), "bytes": list(event.text.encode())}
        for event in events
        if isinstance(event, Token)
    ]


def _verbose(asked: Wanted, transcript: Transcript) -> dict[str, object]:
    info = asked.offer.runtime.info
    languages = info.languages if info else ()
    temperature = info.temperature if info and asked.temperature is None else asked.temperature
    found: dict[str, object] = {
        "task": "transcribe",
        "language": asked.language or (languages[0] if len(languages) == 1 else "unknown"),
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
        "usage": {"type": "duration", "seconds": round(transcript.duration, 3)},
    }
    if "word" in asked.granularities:
        found["words"] = [{"word": word.text, **_span(word, word)} for word in transcript]
    if "segment" in asked.granularities:
        phrases = subtitles.phrases(transcript.words, transcript.turns)
        found["segments"] = [_segment(number, phrase, temperature) for number, phrase in enumerate(phrases)]
    return found


def _segment(number: int, words: Sequence[Word], temperature: float | None) -> dict[str, object]:
    """As Whisper describes one; what the model has no notion of says so: no token ids, no seek.

    `no_speech_prob` is the share of words that nobody can have said, by the guard (session/guard.py).
    """
    text = " ".join(word.text for word in words)
    data = text.encode()
    return {
        "id": number,
        "seek": 0,
        **_span(words[0], words[-1]),
        "text": text,
        "tokens": [],
        "temperature": temperature or 0.0,
        "avg_logprob": round(sum(math.log(max(word.confidence, 1e-9)) for word in words) / len(words), 5),
        "compression_ratio": round(len(data) / len(zlib.compress(data)), 5),
        "no_speech_prob": round(sum(word.suspect in ("silence", "steady") for word in words) / len(words), 5),
    }


def _span(first: Word, last: Word) -> dict[str, object]:
    return {"start": round(first.start, 3), "end": round(last.stop, 3)}
