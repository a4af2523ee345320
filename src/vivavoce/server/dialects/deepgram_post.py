"""POST /v1/listen: a recording as Deepgram's clients send it."""

from __future__ import annotations

import hashlib
import struct
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vivavoce import audio
from vivavoce.core import Fault, InvalidAudioError, Transcript, Word
from vivavoce.settings import ServeSettings

from ..errors import Refused
from ..gate import Admitted, Gate
from .choice import Hearing
from .deepgram_listen import DIALECT, metadata
from .deepgram_results import alternative, word_map
from .deepgram_wishes import Wishes, wishes
from .opening import options_of
from .upload import hear, refuse_form

_WAV = {"pcm_s16le": (1, 2), "pcm_f32le": (3, 4), "alaw": (6, 1), "mulaw": (7, 1)}  # format tag, bytes of a sample
_ENDLESS = 0xFFFFFFFF


class Recordings:
    """The endpoint."""

    def __init__(self, hearing: Sequence[Hearing], gate: Gate, settings: ServeSettings) -> None:
        self._hearing, self._gate, self._settings = hearing, gate, settings

    async def __call__(self, request: Request) -> Response:
        """Raises StreamError, InvalidAudioError."""
        with await self._gate.admit(request, "stt") as admitted:
            asked = wishes(request.query_params, self._hearing, live=False)
            refuse_form(request)
            if request.headers.get("content-type", "").startswith("application/json"):
                why = "a recording at a URL is not fetched: the body must be the audio itself"
                raise Refused(Fault.UNSUPPORTED, "url", why)
            with tempfile.NamedTemporaryFile(prefix="vivavoce-") as file:
                sha256 = await _store(request, asked, file)
                return JSONResponse(await _answer(request, asked, Path(file.name), sha256, admitted))


async def _answer(request: Request, asked: Wishes, path: Path, sha256: str, admitted: Admitted) -> dict[str, object]:
    """Channels one after the other: two requests that each held a slot and wanted another would wait for ever."""
    created, channels = datetime.now(UTC), audio.channels(path, name="the recording") if asked.multichannel else 1
    module, runtime = asked.offer.module, asked.offer.runtime
    heard: list[Transcript] = []
    for number in range(channels):
        channel = number if asked.multichannel else None
        options = options_of(module, key_terms=asked.key_terms)
        said = await hear(request, path, runtime, options, DIALECT, admitted, channel=channel)
        heard.append(said.transcript)
    results: dict[str, object] = {
        "channels": [{"alternatives": [alternative(transcript.words)]} for transcript in heard]
    }
    if asked.utterances:
        results["utterances"] = [
            _utterance(number, words)
            for number, transcript in enumerate(heard)
            for words in _split(transcript.words, asked.utterance_split)
        ]
    told = metadata(asked, str(uuid.uuid4()), sha256, created, heard[0].duration, channels)
    return {"metadata": told, "results": results}


async def _store(request: Request, asked: Wishes, file: IO[bytes]) -> str:
    """The body, behind a header where it has none; its SHA-256. Raises InvalidAudioError when it is empty."""
    sha, size = hashlib.sha256(), 0
    if asked.format in _WAV:
        file.write(_header(asked))
    async for chunk in request.stream():
        size += len(chunk)
        sha.update(chunk)
        file.write(chunk)
    file.flush()
    if not size:
        raise InvalidAudioError("the body is empty (0 bytes); send an audio file")
    return sha.hexdigest()


def _header(asked: Wishes) -> bytes:
    assert asked.format
    tag, width = _WAV[asked.format]
    frame = width * asked.channels
    form = (b"RIFF", _ENDLESS, b"WAVE", b"fmt ", 16, tag, asked.channels, asked.sample_rate, frame * asked.sample_rate)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *form, frame, 8 * width, b"data", _ENDLESS)


def _split(words: Sequence[Word], pause: float) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and word.start - group[-1].stop > pause:
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _utterance(channel: int, words: Sequence[Word]) -> dict[str, object]:
    return {
        "start": round(words[0].start, 5),
        "end": round(words[-1].stop, 5),
        "channel": channel,
        **alternative(words),
        "words": [word_map(word) for word in words],
        "id": str(uuid.uuid4()),
    }
