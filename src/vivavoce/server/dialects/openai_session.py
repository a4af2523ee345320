"""The settings of a realtime transcription session, and what a client may say in one (OpenAI's GA event shapes)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from vivavoce.core import Fault, KeyTerm, StreamError

from ..errors import Refused
from .choice import Hearing, impossible, key_terms, must_hear, unsupported

LOGPROBS = "item.input_audio_transcription.logprobs"
S = TypeVar("S", bound=msgspec.Struct)


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Pcm(_Wire, frozen=True, tag="audio/pcm", tag_field="type"):
    rate: Literal[24000] = 24000


class Pcmu(_Wire, frozen=True, tag="audio/pcmu", tag_field="type"):
    pass


class Pcma(_Wire, frozen=True, tag="audio/pcma", tag_field="type"):
    pass


class ServerVad(_Wire, frozen=True, tag="server_vad", tag_field="type"):
    """Loudness tells when speech begins and stops."""

    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    prefix_padding_ms: Annotated[int, Meta(ge=0, le=60_000)] = 300
    silence_duration_ms: Annotated[int, Meta(ge=20, le=60_000)] = 500
    idle_timeout_ms: int | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class SemanticVad(_Wire, frozen=True, tag="semantic_vad", tag_field="type"):
    """The model's own pause heads tell it."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool | None = None
    interrupt_response: bool | None = None


class Transcription(_Wire, frozen=True):
    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    keywords: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    delay: str | None = None


class Input(_Wire, frozen=True):
    """What the client's audio is; UNSET leaves it as it is."""

    format: Pcm | Pcmu | Pcma | UnsetType = UNSET
    transcription: Transcription | UnsetType | None = UNSET
    noise_reduction: dict[str, Any] | UnsetType | None = UNSET
    turn_detection: ServerVad | SemanticVad | UnsetType | None = UNSET


class Audio(_Wire, frozen=True):
    input: Input | UnsetType = UNSET


class Session(_Wire, frozen=True):
    """A session, or what of it is to be changed."""

    type: Literal["transcription"]
    audio: Audio | UnsetType = UNSET
    include: tuple[Literal["item.input_audio_transcription.logprobs"], ...] | UnsetType | None = UNSET
    id: str | UnsetType = UNSET
    object: str | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET


class _Said(_Wire, frozen=True, tag_field="type"):
    event_id: str | None = None


class Append(_Said, frozen=True, tag="input_audio_buffer.append"):
    audio: str = ""


class Commit(_Said, frozen=True, tag="input_audio_buffer.commit"):
    pass


class Clear(_Said, frozen=True, tag="input_audio_buffer.clear"):
    pass


class Update(_Said, frozen=True, tag="session.update", kw_only=True):
    session: Session


Said = Append | Commit | Clear | Update
_DECODER = msgspec.json.Decoder(Append | Commit | Clear | Update)
_KNOWN = "session.update, input_audio_buffer.append, .commit and .clear"


def said(message: bytes | str) -> Said:
    """One message of a client. Raises Refused, which names the field."""
    if isinstance(message, bytes):
        raise Refused(Fault.INVALID_MESSAGE, "binary", "messages are JSON texts; audio is base64 in one", "")
    try:
        return _DECODER.decode(message)
    except msgspec.ValidationError as error:
        why = error
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise _no_json(error) from None
    try:
        found = msgspec.json.decode(message)  # what was at fault may have stood before what cannot be read at all
    except (msgspec.DecodeError, RecursionError) as error:
        raise _no_json(error) from None
    raise _explained(found, why)


def event_id(message: bytes | str) -> str | None:
    """What the client calls a message that was refused."""
    try:
        found = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    name = found.get("event_id") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def _no_json(error: Exception) -> Refused:
    return Refused(Fault.INVALID_MESSAGE, "json", f"the message is not JSON: {error}")


def _explained(found: Any, error: msgspec.ValidationError) -> StreamError:
    what, _, where = str(error).partition(" - at ")
    param = where.strip("`").removeprefix("$").removeprefix(".") or None
    kind = found.get("type") if isinstance(found, dict) else None
    if param == "type" or not isinstance(kind, str):
        unknown = f"unknown type {kind[:64]!r}" if isinstance(kind, str) else "a message is an object with a type"
        return impossible("type", unknown, f"a transcription session has {_KNOWN}")
    if param == "session.type":
        return unsupported(param, 'session.type must be "transcription": nothing here answers a conversation')
    field = re.search(r"unknown field `(\w+)`", what)
    if field:
        param = f"{param}.{field[1]}" if param else field[1]
    return impossible(param or "", f"{param or kind}: {what[:1].lower() + what[1:]}")


class Settings(msgspec.Struct, frozen=True):
    """What holds now."""

    format: Pcm | Pcmu | Pcma
    transcription: Transcription
    turn_detection: ServerVad | SemanticVad | None
    logprobs: bool = False

    @classmethod
    def of(cls, offer: Hearing) -> Settings:
        """Of a new session."""
        return cls(Pcm(), Transcription(offer.name), ServerVad())

    def changed(self, asked: Session, offer: Hearing, is_its_name: Any) -> Settings:
        """With what was asked for. Raises Refused for what this model cannot do."""
        wish = asked.audio.input if asked.audio and asked.audio.input else Input()
        coding = self.format if wish.format is UNSET else wish.format
        turns = self.turn_detection if wish.turn_detection is UNSET else wish.turn_detection
        heard = self.transcription if wish.transcription is UNSET else wish.transcription
        if wish.noise_reduction:
            raise unsupported("session.audio.input.noise_reduction", "noise_reduction: audio is heard as it comes")
        _check_turns(turns, offer)
        _check_transcription(heard, offer, is_its_name)
        if heard and heard.keywords is None:
            heard = msgspec.structs.replace(heard, keywords=self.transcription.keywords)
        logprobs = self.logprobs if asked.include is UNSET else bool(asked.include)
        return Settings(coding, heard or self.transcription, turns, logprobs)

    @property
    def key_terms(self) -> tuple[KeyTerm, ...]:
        """What is likely to be said."""
        return tuple(map(KeyTerm, self.transcription.keywords or ()))

    def described(self, id: str, expires_at: int | None) -> dict[str, object]:
        """As an event has it."""
        audio = {
            "format": _told(self.format),
            "transcription": _told(self.transcription),
            "noise_reduction": None,
            "turn_detection": self.turn_detection and _told(self.turn_detection),
        }
        return {
            "type": "transcription",
            "object": "realtime.transcription_session",
            "id": id,
            **({} if expires_at is None else {"expires_at": expires_at}),
            "audio": {"input": audio},
            "include": [LOGPROBS] if self.logprobs else None,
        }


def _told(wish: msgspec.Struct) -> dict[str, object]:
    return {name: value for name, value in msgspec.to_builtins(wish).items() if value is not None}


def _check_turns(turns: ServerVad | SemanticVad | None, offer: Hearing) -> None:
    at = "session.audio.input.turn_detection"
    if turns is None:
        return
    for name in ("create_response", "interrupt_response", "idle_timeout_ms"):
        if getattr(turns, name, None):
            raise unsupported(f"{at}.{name}", f"{name}: a transcription session makes no responses")
    info = offer.runtime.info
    if isinstance(turns, SemanticVad) and info and not info.vad_heads:
        raise unsupported(f"{at}.type", f"semantic_vad: {offer.name} has no heads that hear pauses", "use server_vad")


def _check_transcription(heard: Transcription | None, offer: Hearing, is_its_name: Any) -> None:
    at = "session.audio.input.transcription"
    if heard is None:
        raise unsupported(at, "transcription cannot be turned off in a session that does nothing else")
    if heard.model is not None and not is_its_name(heard.model):
        hint = "connect with ?model=NAME for another"
        raise unsupported(f"{at}.model", f"this session hears with {offer.name}, not {heard.model[:64]!r}", hint)
    if heard.prompt:
        raise unsupported(f"{at}.prompt", "prompt: the model hears without a prompt")
    if heard.delay is not None:
        raise unsupported(f"{at}.delay", "delay: how far text is behind audio is the model's own")
    key_terms(f"{at}.keywords", offer, map(KeyTerm, heard.keywords or ()))
    must_hear(offer, f"{at}.language", heard.language)
    for language in heard.languages or ():
        must_hear(offer, f"{at}.languages", language)
