"""The messages of moshi-server's text-to-speech socket, byte for byte (spec/moshi-server.md §6.2 and §6.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import moshi_codec, packing
from .msgpack import Reader, invalid

MOST_DIMENSIONS = 3
_END, _CLEAR, _FLUSH = b"\x00", b"\x01", b"\x02"  # whole messages of one byte; as MessagePack they would be numbers


@dataclass(frozen=True)
class Text:
    """To be spoken; the end of the message ends a word, unless more of it may come."""

    text: str
    whole: bool = True


@dataclass(frozen=True)
class Voice:
    """A speaker embedding, as the voice-cloning service gives it; before the first text."""

    embedding: NDArray[np.float32]  # [frames, dim]


@dataclass(frozen=True)
class Eos:
    """No more text will come."""


@dataclass(frozen=True)
class Clear:
    """The listener has interrupted: what was not spoken is dropped, what comes next is spoken. An extension."""


@dataclass(frozen=True)
class Flush:
    """All text so far is spoken to its end, then this is echoed. An extension."""

    id: int  # of 64 bits, signed


@dataclass(frozen=True)
class Ping:
    """A sign of life; no answer. An extension, as the fork's for speech to text."""


Request = Text | Voice | Eos | Clear | Flush | Ping
_FIELDS = {b"Text": (b"text",), b"Voice": (b"embeddings", b"shape"), b"Flush": (b"id",)}
_BARE: dict[bytes, Request] = {b"Eos": Eos(), b"Clear": Clear(), b"Ping": Ping()}
_FIELDS |= dict.fromkeys(_BARE, ())
_KEYS = {field for fields in _FIELDS.values() for field in fields}


def decode(message: bytes | str) -> Request:
    """One message. Raises StreamError(INVALID_MESSAGE) for anything that is none.

    A text message is text; of binary ones the byte 00 alone is Eos, 01 Clear and 02 Flush 0; all others are MessagePack
    as `moshi_codec.decode` takes it, but for types by their index.
    """
    if isinstance(message, str):
        return Text(message)
    if message == _END:
        return Eos()
    if message == _CLEAR:
        return Clear()
    if message == _FLUSH:
        return Flush(0)
    reader = Reader(message)
    container, count = reader.container()
    return _array(reader, count) if container == "array" else _map(reader, count)


def _map(reader: Reader, count: int) -> Request:
    tag: bytes | None = None
    seen: dict[bytes, Reader] = {}
    for _ in range(count):
        key = reader.name()
        if key == b"type":
            if tag is not None:
                raise invalid("the key type is there twice")
            tag = _tag(reader)
            continue
        if isinstance(key, bytes) and key in _KEYS:
            if key in seen:
                raise invalid(f"the key {key.decode()} is there twice")
            seen[key] = reader.fork()
        reader.skip()
    if tag is None:
        raise invalid("the message has no type")
    return _request(tag, seen)


def _array(reader: Reader, count: int) -> Request:
    if not count:
        raise invalid("the message is an empty array")
    tag = _tag(reader)
    seen: dict[bytes, Reader] = {}
    for field in _FIELDS[tag][: count - 1]:
        seen[field] = reader.fork()
        reader.skip()
    return _request(tag, seen)


def _tag(reader: Reader) -> bytes:
    name = reader.name()
    if not isinstance(name, bytes) or name not in _FIELDS:
        shown = name[:32].decode(errors="replace") if isinstance(name, bytes) else name
        known = ", ".join(sorted(known.decode() for known in _FIELDS))
        raise invalid(f"unknown type {shown!r}; the types are {known}")
    return name


def _request(tag: bytes, seen: dict[bytes, Reader]) -> Request:
    for field in _FIELDS[tag]:
        if field not in seen:
            raise invalid(f"{tag.decode()}.{field.decode()} is missing")
    if tag == b"Text":
        return Text(_text(seen[b"text"]))
    if tag == b"Flush":
        return Flush(moshi_codec.int64(seen[b"id"].integer("Flush.id"), "Flush.id"))
    if tag == b"Voice":
        return Voice(_embedding(seen[b"embeddings"].samples("Voice.embeddings"), seen[b"shape"].samples("Voice.shape")))
    return _BARE[tag]


def _text(reader: Reader) -> str:
    data = reader.name()
    if not isinstance(data, bytes):
        raise invalid("Text.text must be a text")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise invalid(f"Text.text is not UTF-8: {error.reason} at byte {error.start}") from None


def _embedding(values: NDArray[np.float32], shape: NDArray[np.float32]) -> NDArray[np.float32]:
    """[..., dim, frames] with ones before, as the service writes it, to [frames, dim]."""
    sizes = [int(size) for size in shape if size == int(size) and 0 < size < 2**24] if np.isfinite(shape).all() else []
    if not 1 <= len(shape) <= MOST_DIMENSIONS or len(sizes) != len(shape) or int(np.prod(sizes)) != len(values):
        shown = ", ".join(f"{size:g}" for size in shape[: MOST_DIMENSIONS + 1])
        raise invalid(f"Voice.shape [{shown}] is not that of {len(values)} embeddings")
    channels, frames = ([1, 1, *sizes])[-2:] if len(sizes) > 1 else (sizes[0], 1)
    if channels * frames != len(values):
        raise invalid(f"Voice.shape must be that of one voice, [1, channels, frames], got {sizes}")
    if not np.isfinite(values).all():
        raise invalid("Voice.embeddings must be finite")
    return np.ascontiguousarray(values.reshape(channels, frames).T)


# --- to the client ---


def audio(samples: NDArray[np.float32]) -> bytes:
    return packing.kind("Audio", 1) + b"\xa3pcm" + packing.singles(samples)


def ogg_opus(data: bytes) -> bytes:
    return packing.kind("OggOpus", 1) + b"\xa4data" + packing.octets(data)


def word(text: str, start: float, stop: float) -> bytes:
    return b"".join((
        packing.kind("Text", 3), b"\xa4text", packing.text(text),
        b"\xa7start_s", packing.double(start), b"\xa6stop_s", packing.double(stop),
    ))  # fmt: skip


def clear() -> bytes:
    """Everything before it was said before the Clear that it answers, everything behind it is new."""
    return packing.kind("Clear")


def flush(id: int) -> bytes:
    """The audio of all text before it has been sent."""
    return packing.kind("Flush", 1) + b"\xa2id" + packing.integer(id)
