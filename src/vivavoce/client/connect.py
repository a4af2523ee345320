"""The one way to open a stream, of either kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import KeyTerm
from vivavoce.session.key_terms import given

from .address import targets
from .speech import TtsStream
from .stream import Patience, SttStream
from .wire import Options
from .wire_speech import speech_target


def connect(
    url: str,
    *,
    key: str | None = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    dialect: Literal["auto", "stream", "moshi"] = "auto",
    words: bool = True,
    vad: bool = False,
    vad_head: int | None = None,
    vad_threshold: float | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    guard: Literal["flag", "drop"] | None = None,
    resume: bool = True,
    live: bool = False,
    patience: Patience | None = None,
    key_terms: Iterable[str | KeyTerm] = (),
) -> SttStream:
    """A stream to be opened with `async with`.

    `url`: ws, wss, http or https; without a path `/v1/stream` is tried, then moshi-server's. `key` goes into the header
    `kyutai-api-key`, `token` (a JWT) into `Authorization: Bearer`, `headers` as they are. `words` asks for times,
    `vad` for an event of every step; `vad_head`, `vad_threshold`, `temperature`, `seed` and `guard` are the
    server's choice when None; `guard` "drop" keeps words back that nobody can have said.
    `live`: the audio cannot wait (a microphone). `resume`: go on with the session after a lost connection. `key_terms`:
    words and phrases that are likely to be said, "Kyutai" or with a boost "Kyutai:2".

    Raises AddressError for a URL that names no server, UnsupportedError for what cannot be a key term.
    """
    told = told_headers(headers, key, token)
    options = Options(words, vad, vad_head, vad_threshold, temperature, resume, seed, guard, given(key_terms))
    return SttStream(targets(url, dialect), options, patience or Patience(), told, live=live)


def connect_tts(
    url: str,
    *,
    voice: str | NDArray[np.float32] | None = None,
    cfg: float | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    seed: int | None = None,
    key: str | None = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    patience: Patience | None = None,
) -> TtsStream:
    """A stream of text to speech, to be opened with `async with`.

    `url`, `key`, `token` and `headers` as of `connect`; without a path `/api/tts_streaming`. `voice` is a name that the
    server knows, or an embedding float32 [frames, dim]; None leaves it, as all else, to the server. moshi-server
    heeds only `voice`. Of `patience`, `open` and `first` count.

    Raises AddressError for a URL that names no server.
    """
    asked = {
        "format": "PcmMessagePack",
        "voice": voice if isinstance(voice, str) else None,
        "cfg_alpha": cfg,
        "temperature": temperature,
        "top_k": top_k,
        "seed": seed,
    }
    query = {name: str(value) for name, value in asked.items() if value is not None}
    embedding = voice if isinstance(voice, np.ndarray) else None
    return TtsStream(speech_target(url), query, told_headers(headers, key, token), patience or Patience(), embedding)


def told_headers(headers: Mapping[str, str] | None, key: str | None, token: str | None) -> dict[str, str]:
    """The headers of a request, with what opens the server."""
    told = dict(headers or {})
    if key is not None:
        told["kyutai-api-key"] = key
    if token is not None:
        told["Authorization"] = f"Bearer {token}"
    return told
