"""What Gradium's clients say, and how they are told what went wrong. All is JSON; audio is base64 in it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from vivavoce.core import Fault, Refused, StreamError

from ..errors import reason
from .choice import impossible

DIALECT = "gradium"
DEFAULT = "default"  # the name of a model, or of a voice, that leaves the choice to the server
UNSUPPORTED_DATA = 1003  # the close code after which Gradium's plugins do not try the same again
_HOPELESS = (
    Fault.INVALID_MESSAGE, Fault.INVALID_PARAMETER, Fault.UNKNOWN_MODEL, Fault.UNKNOWN_VOICE, Fault.UNSUPPORTED,
    Fault.UNPROCESSABLE,
)  # fmt: skip
S = TypeVar("S", bound=msgspec.Struct)


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Said(_Wire, frozen=True, tag_field="type", kw_only=True):
    client_req_id: str | None = None


class ListenSetup(_Said, frozen=True, tag="setup", kw_only=True):
    """The first message of speech to text."""

    model_name: str | None = None
    input_format: str = "wav"
    json_config: dict[str, Any] | str | None = None


class Audio(_Said, frozen=True, tag="audio", kw_only=True):
    audio: str


class Flush(_Said, frozen=True, tag="flush", kw_only=True):
    flush_id: int | str = 0


class End(_Said, frozen=True, tag="end_of_stream", kw_only=True):
    """No more audio, or text, will come."""


class SaySetup(_Said, frozen=True, tag="setup", kw_only=True):
    """The first message of one request of text to speech; requests are told apart by `client_req_id`."""

    model_name: str | None = None
    voice: str | None = None
    voice_id: str | None = None
    pronunciation_id: str | None = None
    output_format: str = "wav"
    json_config: dict[str, Any] | str | None = None
    close_ws_on_eos: bool | None = None


class Text(_Said, frozen=True, tag="text", kw_only=True):
    text: str


class ListenConfig(_Wire, frozen=True):
    """`json_config` of speech to text."""

    language: str | None = None
    delay_in_frames: int | None = None
    temp: Annotated[float, Meta(ge=0, le=10)] | None = None


class SayConfig(_Wire, frozen=True):
    """`json_config` of text to speech."""

    temp: Annotated[float, Meta(ge=0, le=10)] | None = None
    cfg_coef: Annotated[float, Meta(ge=0, le=10)] | None = None
    padding_bonus: float | None = None
    rewrite_rules: str | None = None


LISTENER = msgspec.json.Decoder(ListenSetup | Audio | Flush | End)
SPEAKER = msgspec.json.Decoder(SaySetup | Text | End)
T = TypeVar("T")


def said(decoder: msgspec.json.Decoder[T], message: bytes | str) -> T:
    """One message. Raises Refused that says what is wrong with it."""
    if isinstance(message, bytes):
        raise Refused(Fault.INVALID_MESSAGE, "binary", "messages are JSON texts; audio is base64 in one")
    try:
        return decoder.decode(message)
    except msgspec.ValidationError as error:
        raise impossible("", _lower(str(error))) from None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise Refused(Fault.INVALID_MESSAGE, "json", f"the message is not JSON: {error}") from None


def config(kind: type[S], given: dict[str, Any] | str | None) -> S:
    """`json_config`, which some clients send as a text in the text. Raises Refused."""
    try:
        if isinstance(given, str):
            return msgspec.json.decode(given or "{}", type=kind)
        return msgspec.convert(given or {}, kind)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise impossible("json_config", f"json_config: {_lower(str(error))}") from None


def bytes_of(audio: str) -> bytes:
    """Raises Refused."""
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError) as error:
        raise impossible("audio", f"audio is not base64: {error}") from None


def encode(type: str, request: str | None, **fields: object) -> str:
    """One message of the server, with the request that it belongs to where that has a name."""
    named = {} if request is None else {"client_req_id": request}
    return msgspec.json.encode({"type": type, **fields, **named}).decode()


def error(error: StreamError, request: str | None = None) -> str:
    """Why nothing more will come; `code` is that of the close."""
    hint = error.hint if isinstance(error, Refused) else ""
    message = f"{error}; {hint}" if hint else str(error)
    return encode("error", request, message=message, code=closing(error)[0])


def closing(error: StreamError) -> tuple[int, str]:
    """Code and reason of the close."""
    return UNSUPPORTED_DATA if error.fault in _HOPELESS else error.fault.close_code, reason(error)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
