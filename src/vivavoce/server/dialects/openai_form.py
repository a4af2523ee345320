"""What a caller of /v1/audio/transcriptions may ask for in its form, and a clear refusal of everything else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from vivavoce.core import Fault, KeyTerm

from ..errors import Refused
from .choice import Hearing, choose, impossible, key_terms, must_hear, unsupported

MODELS = ("whisper-1", "gpt-transcribe", "gpt-live-transcribe", "gpt-realtime-whisper")
MODEL_FAMILIES = ("gpt-4o-transcribe", "gpt-4o-mini-transcribe")
MOST_FIELDS = 100
CHUNKING = "chunking_strategy"
Format = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity = Literal["word", "segment"]
REFUSED = {
    "prompt": "the model hears without a prompt",
    "known_speaker_names": "speakers are not told apart",
    "known_speaker_references": "speakers are not told apart",
}
FIELDS = (
    "file", "model", "language", "languages", "prompt", "keywords", "response_format", "temperature", "stream",
    "timestamp_granularities", "include", "chunking_strategy", "known_speaker_names", "known_speaker_references",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """One request's form."""

    file: UploadFile
    offer: Hearing
    format: Format
    granularities: tuple[Granularity, ...]
    logprobs: bool
    stream: bool
    temperature: float | None
    language: str | None
    key_terms: tuple[KeyTerm, ...] = ()


def is_openai_model(name: str) -> bool:
    """Whether OpenAI transcribes with a model of this name. The one that tells speakers apart is not stood in for."""
    return name in MODELS or (name.startswith(MODEL_FAMILIES) and "diarize" not in name)


async def wanted(request: Request, hearing: Sequence[Hearing]) -> Wanted:
    """The form of a request. Raises Refused, HTTPException for a form that cannot be read."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        hint = "curl -F file=@FILE -F model=MODEL"
        raise Refused(Fault.INVALID_MESSAGE, "form", "the body must be a form (multipart/form-data)", hint)
    form = await request.form(max_files=1, max_fields=MOST_FIELDS)
    try:
        return _read(form, hearing)
    except BaseException:
        await form.close()
        raise


def _read(form: FormData, hearing: Sequence[Hearing]) -> Wanted:
    for name in form:
        if name.partition("[")[0] not in FIELDS:
            raise impossible(name, f"unknown field {name[:64]!r}", f"the fields are {', '.join(FIELDS)}")
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise impossible("file", "the field file is missing: the recording, with a name")
    model = _one(form, "model")
    if not model:
        raise impossible("model", "the field model is missing", "GET /v1/models lists the models")
    offer = choose(hearing, model, is_openai_model)
    for name, why in REFUSED.items():
        if any(_all(form, name)):
            raise unsupported(name, f"{name}: {why}")
    languages = _all(form, "languages")
    for known in languages:
        must_hear(offer, "languages", known)
    language = _one(form, "language") or (languages[0] if len(languages) == 1 else None)
    must_hear(offer, "language", language)
    if _one(form, CHUNKING) not in (None, "auto") or any(name.startswith(f"{CHUNKING}[") for name in form):
        raise unsupported(CHUNKING, f"{CHUNKING} must be auto: a recording is heard in one piece")
    return _consistent(
        Wanted(
            file,
            offer,
            _format(_one(form, "response_format") or "json"),
            _granularities(form),
            _logprobs(form),
            _flag("stream", _one(form, "stream")),
            _temperature(_one(form, "temperature")),
            language,
            key_terms("keywords", offer, map(KeyTerm, _all(form, "keywords"))),
        ),
        granular=bool(_all(form, "timestamp_granularities")),
    )


def _consistent(found: Wanted, granular: bool) -> Wanted:
    if found.stream and found.format not in ("json", "text"):
        raise unsupported("response_format", f"response_format {found.format} is given whole, not with stream=true")
    if granular and found.format != "verbose_json":
        raise impossible("timestamp_granularities", "timestamp_granularities need response_format=verbose_json")
    if found.logprobs and found.format != "json":
        raise impossible("include", "include=logprobs needs response_format=json")
    return found


def _format(text: str) -> Format:
    for known in get_args(Format):
        if text == known:
            return known
    if text == "diarized_json":
        raise unsupported("response_format", "response_format diarized_json: speakers are not told apart")
    raise impossible(
        "response_format", f"response_format must be one of {', '.join(get_args(Format))}, got {text[:32]}"
    )


def _granularities(form: FormData) -> tuple[Granularity, ...]:
    asked = tuple(dict.fromkeys(_all(form, "timestamp_granularities"))) or ("segment",)
    for name in asked:
        if name not in get_args(Granularity):
            raise impossible("timestamp_granularities", f"timestamp_granularities are word, segment; got {name[:32]!r}")
    return asked  # type: ignore[return-value]


def _logprobs(form: FormData) -> bool:
    asked = set(_all(form, "include"))
    if asked - {"logprobs"}:
        raise impossible("include", f"include may hold logprobs, got {', '.join(sorted(asked))[:64]}")
    return bool(asked)


def _flag(name: str, text: str | None) -> bool:
    if text not in (None, "true", "false", "True", "False", "1", "0", ""):
        raise impossible(name, f"{name} must be true or false, got {text[:32]!r}")
    return text in ("true", "True", "1")


def _temperature(text: str | None) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise impossible("temperature", f"temperature must be a number from 0 to 1, got {text[:32]!r}")
    return value


def _all(form: FormData, name: str) -> list[str]:
    """The values of a field, which clients call NAME or NAME[]."""
    values = [*form.getlist(name), *form.getlist(f"{name}[]")]
    if not all(isinstance(value, str) for value in values):
        raise impossible(name, f"{name} must be a text, not a file")
    return [value for value in values if isinstance(value, str)]


def _one(form: FormData, name: str) -> str | None:
    values = _all(form, name)
    if len(values) > 1:
        raise impossible(name, f"the field {name} is there {len(values)} times")
    return values[0] if values else None
