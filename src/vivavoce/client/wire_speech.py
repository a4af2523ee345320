"""moshi-server's text-to-speech dialect: MessagePack both ways (`/api/tts_streaming`, docs/protocols.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
import numpy as np
from numpy.typing import NDArray

from vivavoce.core import Cleared, Flushed, Speech, WordSpoken

from .address import PATHS, Target, targets
from .wire import Problem, Ready, UnreadableError, problem

PATH = "/api/tts_streaming"
Told = Speech | WordSpoken | Flushed | Cleared | Ready | Problem
END = msgspec.msgpack.encode({"type": "Eos"})
CLEAR = msgspec.msgpack.encode({"type": "Clear"})  # ours; moshi-server does not know it


def speech_target(url: str) -> Target:
    """Where a server speaks: the path of the URL, PATH where it has none or that of a speech-to-text dialect.

    Raises AddressError.
    """
    target = targets(url)[0]
    parts = urlsplit(target.url)
    known = [path for path in PATHS.values() if parts.path.endswith(path)]
    path = parts.path.removesuffix(known[0]) + PATH if known else parts.path
    return Target(urlunsplit(parts._replace(path=path)), "moshi")


def text(piece: str) -> bytes:
    """To be spoken; the end of the message ends a word. An empty one is a sign of life that every server takes."""
    return msgspec.msgpack.encode({"type": "Text", "text": piece})


def flush(number: int) -> bytes:
    """Ours too; echoed when all text before it has been spoken."""
    return msgspec.msgpack.encode({"type": "Flush", "id": number})


def voice(embedding: NDArray[np.float32]) -> bytes:
    """A speaker embedding, [frames, dim]; before the first text."""
    frames, dim = embedding.shape
    values = embedding.T.astype(np.float64).ravel().tolist()
    return msgspec.msgpack.encode({"type": "Voice", "embeddings": values, "shape": [1, dim, frames]})


def decode(message: str | bytes) -> Told | None:
    """One message; None for a type of a later version. `Cleared` has no time of its own, the id of `Flushed` is that of
    the wire. Raises UnreadableError."""
    try:
        told = msgspec.msgpack.decode(message)  # type: ignore[arg-type]
        return _read(told)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise UnreadableError(f"the server sent what is no message of moshi-server: {message[:40]!r}") from None


def _read(told: Mapping[str, Any]) -> Told | None:
    match told["type"]:
        case "Audio":
            return Speech(np.asarray(told["pcm"], np.float32))
        case "Text":
            return WordSpoken(str(told["text"]), float(told["start_s"]), float(told["stop_s"]))
        case "Ready":
            return Ready()
        case "Clear":
            return Cleared(0.0)
        case "Flush":
            return Flushed(int(told["id"]))
        case "Error":
            said = str(told["message"])
            return problem("capacity" if "no free channels" in said else None, said)
    return None
