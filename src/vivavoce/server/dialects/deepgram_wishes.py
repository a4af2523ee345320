"""What a caller of /v1/listen may ask for in the query, and a clear refusal of everything else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.datastructures import QueryParams

from vivavoce.core import KeyTerm

from ..credentials import QUERY_SECRETS
from .choice import Hearing, choose, impossible, key_terms, must_hear, once, unsupported
from .sound import Format
from .wishes import HIGHEST_RATE, LOWEST_RATE

MODELS = ("nova", "enhanced", "base", "whisper", "general", "meeting", "phonecall", "voicemail", "finance")
ENCODINGS: dict[str, Format] = {
    "linear16": "pcm_s16le", "linear32": "pcm_f32le", "mulaw": "mulaw", "alaw": "alaw", "opus": "opus",
    "ogg-opus": "opus",
}  # fmt: skip
OTHER_ENCODINGS = ("flac", "amr-nb", "amr-wb", "speex", "g729")
MOST_CHANNELS = 16
ENDPOINTING = 0.01  # seconds, as Deepgram has it when nothing is said
SHORTEST_UTTERANCE_END = 1.0  # seconds
UTTERANCE_SPLIT = 0.8  # seconds
REFUSED = {  # while they are wanted
    "diarize": "speakers are not told apart",
    "diarize_model": "speakers are not told apart",
    "dictation": "spoken commands stay words",
    "detect_entities": "no entities are found",
    "detect_language": "the language is not told",
    "language_hint": "the model cannot be told which languages to expect",
    "filler_words": "the model writes what it was trained to write",
    "measurements": "numbers are as the model writes them",
    "numerals": "numbers are as the model writes them",
    "paragraphs": "no paragraphs are made",
    "profanity_filter": "no word is taken out",
    "redact": "no word is taken out",
    "replace": "no word is replaced",
    "search": "audio is not searched",
    "sentiment": "only words are heard",
    "summarize": "only words are heard",
    "topics": "only words are heard",
    "intents": "only words are heard",
    "custom_topic": "only words are heard",
    "custom_topic_mode": "only words are heard",
    "custom_intent": "only words are heard",
    "custom_intent_mode": "only words are heard",
    "callback": "the answer goes to who asked",
    "callback_method": "the answer goes to who asked",
}
FREE = ("punctuate", "smart_format", "mip_opt_out", "no_delay")  # true or false: it is so, or is the model's own way
HONOURED = (
    "model", "version", "language", "encoding", "sample_rate", "channels", "multichannel", "interim_results",
    "endpointing", "utterance_end_ms", "vad_events", "tag", "extra", "utterances", "utt_split", "keyterm", "keywords",
)  # fmt: skip

MANY = ("tag", "extra", "keyterm", "keywords")  # may stand there many times


@dataclass(frozen=True)
class Wishes:
    """One caller's."""

    offer: Hearing
    format: Format | None = None  # None: the container tells
    sample_rate: int = 0
    channels: int = 1
    multichannel: bool = False
    interim: bool = False
    endpointing: float | None = ENDPOINTING  # seconds of silence that end speech; None: it is not looked for
    utterance_end: float | None = None  # seconds without a word
    vad_events: bool = False
    utterances: bool = False
    utterance_split: float = UTTERANCE_SPLIT
    tags: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)
    key_terms: tuple[KeyTerm, ...] = ()

    @property
    def streams(self) -> int:
        """How many are needed: each channel is heard by itself, or all are mixed."""
        return self.channels if self.multichannel else 1


def is_deepgram_model(name: str) -> bool:
    """Whether Deepgram hears with a model of this name."""
    return name.partition("-")[0] in MODELS or name.startswith(("nova-", "whisper-"))


def wishes(query: QueryParams, hearing: Sequence[Hearing], live: bool) -> Wishes:
    """`live`: of a websocket. Raises Refused that names the parameter."""
    for name in query:
        stem = name.partition("[")[0]
        if stem in REFUSED:
            if any(value.lower() not in ("false", "") for value in query.getlist(name)):
                raise unsupported(name, f"{name}: {REFUSED[stem]}")
        elif name in FREE:
            _flag(query, name)
        elif name not in (*HONOURED, *QUERY_SECRETS):
            raise impossible(name, f"unknown parameter {name[:64]!r}")
    once(query, (*MANY, *REFUSED))
    if query.get("version", "latest") != "latest":
        raise unsupported("version", f"version must be latest, got {query['version'][:32]!r}")
    offer = choose(hearing, query["model"], is_deepgram_model) if "model" in query else hearing[0]
    _check_language(offer, query.get("language"))
    coding, rate, channels = _encoding(query)
    found = Wishes(
        offer,
        coding,
        rate,
        channels,
        multichannel=_flag(query, "multichannel"),
        interim=_flag(query, "interim_results"),
        endpointing=_endpointing(query),
        utterance_end=_utterance_end(query) if query.get("utterance_end_ms") else None,
        vad_events=_flag(query, "vad_events"),
        utterances=_flag(query, "utterances"),
        utterance_split=_number(query, "utt_split", UTTERANCE_SPLIT, 0, 60),
        tags=tuple(query.getlist("tag")),
        extra=dict(_pair(text) for text in query.getlist("extra")),
        key_terms=_key_terms(query, offer),
    )
    if live and found.multichannel and found.format in (None, "opus"):
        raise unsupported("multichannel", "multichannel needs an encoding of samples: linear16, linear32, mulaw, alaw")
    return found


def _key_terms(query: QueryParams, offer: Hearing) -> tuple[KeyTerm, ...]:
    """A keyword may have an intensifier, WORD:2; a key term is phrases and all, and has none."""
    terms = key_terms("keyterm", offer, [KeyTerm(text) for text in query.getlist("keyterm") if text.strip()])
    return key_terms("keywords", offer, [*terms, *query.getlist("keywords")])


def _check_language(offer: Hearing, language: str | None) -> None:
    if language == "multi":
        known = offer.runtime.info.languages if offer.runtime.info else ()
        if len(known) < 2:
            raise unsupported("language", f"language multi: {offer.name} knows {', '.join(known) or 'one'} only")
    else:
        must_hear(offer, "language", language)


def _encoding(query: QueryParams) -> tuple[Format | None, int, int]:
    name = query.get("encoding")
    if not name:
        return None, 0, 1
    if name not in ENCODINGS:
        why = f"encoding {name[:32]}: the encodings are {', '.join(ENCODINGS)}"
        raise unsupported("encoding", why) if name in OTHER_ENCODINGS else impossible("encoding", why)
    rate = round(_number(query, "sample_rate", 0, LOWEST_RATE, HIGHEST_RATE))
    channels = round(_number(query, "channels", 1, 1, MOST_CHANNELS))
    if ENCODINGS[name] == "opus":
        return "opus", 0, 1  # its header says it
    if not rate:
        raise impossible("sample_rate", f"encoding {name} needs sample_rate")
    return ENCODINGS[name], rate, channels


def _endpointing(query: QueryParams) -> float | None:
    text = query.get("endpointing")
    if text in (None, "", "true"):
        return ENDPOINTING
    return None if text == "false" else _number(query, "endpointing", 0, 0, 60_000) / 1000


def _utterance_end(query: QueryParams) -> float:
    if not _flag(query, "interim_results"):
        raise impossible("utterance_end_ms", "utterance_end_ms needs interim_results=true")
    return _number(query, "utterance_end_ms", 1000, 1000 * SHORTEST_UTTERANCE_END, 60_000) / 1000


def _flag(query: QueryParams, name: str) -> bool:
    text = query.get(name, "false").lower()
    if text not in ("true", "false", ""):
        raise impossible(name, f"{name} must be true or false, got {text[:32]!r}")
    return text == "true"


def _number(query: QueryParams, name: str, default: float, low: float, high: float) -> float:
    text = query.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise impossible(name, f"{name} must be a number from {low:g} to {high:g}, got {text[:32]!r}")
    return value


def _pair(text: str) -> tuple[str, str]:
    key, colon, value = text.partition(":")
    if not colon:
        raise impossible("extra", f"extra must be KEY:VALUE, got {text[:32]!r}")
    return key, value
