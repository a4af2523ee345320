"""The one way to open a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from .address import targets
from .stream import Patience, SttStream
from .wire import Options


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
    resume: bool = True,
    live: bool = False,
    patience: Patience | None = None,
) -> SttStream:
    """A stream to be opened with `async with`.

    `url`: ws, wss, http or https; without a path `/v1/stream` is tried, then moshi-server's. `key` goes into the header
    `kyutai-api-key`, `token` (a JWT) into `Authorization: Bearer`, `headers` as they are. `words` asks for times,
    `vad` for an event of every step; `vad_head`, `vad_threshold` and `temperature` are the server's choice when None.
    `live`: the audio cannot wait (a microphone). `resume`: go on with the session after a lost connection.

    Raises AddressError for a URL that names no server.
    """
    told = dict(headers or {})
    if key is not None:
        told["kyutai-api-key"] = key
    if token is not None:
        told["Authorization"] = f"Bearer {token}"
    options = Options(words, vad, vad_head, vad_threshold, temperature, resume)
    return SttStream(targets(url, dialect), options, patience or Patience(), told, live=live)
