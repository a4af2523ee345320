"""The messages of moshi-server's speech-to-text socket, byte for byte (spec/moshi-server.md §4.2 to §4.4)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import StreamError

from . import packing
from .msgpack import Reader, invalid

Samples = NDArray[np.float32]

# --- from the client ---


@dataclass(frozen=True)
class Init:
    """Begin again: nothing said so far counts."""


@dataclass(frozen=True)
class Ping:
    """The fork's sign of life; no answer."""


@dataclass(frozen=True)
class Marker:
    """To be echoed once everything before it has been answered."""

    id: int  # of 64 bits, signed


@dataclass(frozen=True)
class Audio:
    """Mono 24 kHz samples, any number of them."""

    pcm: Samples  # [n]


@dataclass(frozen=True)
class OggOpus:
    """A piece of one Ogg/Opus byte stream, cut anywhere."""

    data: bytes


Request = Init | Ping | Marker | Audio | OggOpus
_BY_INDEX = (b"Init", b"Marker", b"Audio", b"OggOpus")  # what serde takes for a tag, too
_FIELDS = {b"Init": b"", b"Ping": b"", b"Marker": b"id", b"Audio": b"pcm", b"OggOpus": b"data"}
_AUDIO = b"\x82\xa4type\xa5Audio\xa3pcm"
_KEYS = {b"type", b"id", b"pcm", b"data"}


def decode(data: bytes) -> Request:
    """One message. Raises StreamError(INVALID_MESSAGE) for anything that is none; takes time and memory in
    proportion to its length.

    A map with the keys in any order and unknown ones ignored, or the array [type, field]; keys and types as text or
    bytes, a type also as its index; `pcm` as numbers of any width or bytes of little-endian float32, `data` as
    integers or bytes. What follows the first value is ignored.
    """
    reader = Reader(data)
    kind, count = reader.container()
    if kind == "array":
        return _sequence(reader, count)
    tag, request = None, None
    seen: dict[bytes, Reader] = {}
    for _ in range(count):
        key = reader.name()
        if isinstance(key, bytes) and key in _KEYS:
            if key in seen:
                raise invalid(f"the key {key.decode()} is there twice")
            seen[key] = reader.fork()
        if key == b"type":
            tag = _tag(reader)
        elif tag and key == _FIELDS[tag]:
            request = _request(tag, reader)
        else:
            reader.skip()
    if tag is None:
        raise invalid("the message has no type")
    return request or _request(tag, seen.get(_FIELDS[tag]))  # the type may stand behind its field


def audio_at_once(data: bytes) -> Samples | None:
    """The samples of a message written as nearly every client writes it; None: `decode` is to read it."""
    if not data.startswith(_AUDIO):
        return None
    try:
        return Reader(data, len(_AUDIO)).samples("Audio.pcm")
    except StreamError:
        return None


def _sequence(reader: Reader, count: int) -> Request:
    if not count:
        raise invalid("the message is an empty array")
    tag = _tag(reader)
    return _request(tag, reader if count > 1 else None)


def _tag(reader: Reader) -> bytes:
    name = reader.name()
    if isinstance(name, int) and 0 <= name < len(_BY_INDEX):
        name = _BY_INDEX[name]
    if not isinstance(name, bytes) or name not in _FIELDS:
        shown = name[:32].decode(errors="replace") if isinstance(name, bytes) else name
        known = ", ".join(sorted(known.decode() for known in _FIELDS))
        raise invalid(f"unknown type {shown!r}; the types are {known}")
    return name


def _request(tag: bytes, reader: Reader | None) -> Request:
    if tag == b"Init":
        return Init()
    if tag == b"Ping":
        return Ping()
    field = f"{tag.decode()}.{_FIELDS[tag].decode()}"
    if reader is None:
        raise invalid(f"{field} is missing")
    if tag == b"Marker":
        return Marker(int64(reader.integer(field), field))
    if tag == b"Audio":
        return Audio(reader.samples(field))
    return OggOpus(reader.octets(field))


def int64(value: int, field: str) -> int:
    """The value of a field with an id. Raises StreamError(INVALID_MESSAGE) for one that is too large."""
    if not -(2**63) <= value < 2**63:
        raise invalid(f"{field} must fit in 64 bits with a sign, got {value}")
    return value


# --- to the client: smallest integers, times as doubles, probabilities as floats in a plain array ---


def ready() -> bytes:
    return b"\x81\xa4type\xa5Ready"


def step(index: int, pauses: Sequence[float], buffered: int) -> bytes:
    """Frame number `index` has been stepped; `buffered` samples wait."""
    prs = b"".join(b"\xca" + struct.pack(">f", pause) for pause in pauses)
    return b"".join((
        b"\x84\xa4type\xa4Step\xa8step_idx", packing.integer(index),
        b"\xa3prs", packing.array(len(pauses)), prs, b"\xacbuffered_pcm", packing.integer(buffered),
    ))  # fmt: skip


def word(text: str, start: float) -> bytes:
    return b"\x83\xa4type\xa4Word\xa4text" + packing.text(text) + b"\xaastart_time" + packing.double(start)


def end_word(stop: float) -> bytes:
    return b"\x82\xa4type\xa7EndWord\xa9stop_time" + packing.double(stop)


def marker(id: int) -> bytes:
    return b"\x82\xa4type\xa6Marker\xa2id" + packing.integer(id)


def error(message: str) -> bytes:
    return b"\x82\xa4type\xa5Error\xa7message" + packing.text(message)
