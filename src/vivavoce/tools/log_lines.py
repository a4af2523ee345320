"""Lines of a server's log made friendly: of ours, of the fork's, as text or as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from vivavoce.server.logs import redacted

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_LEVEL = re.compile(r"\s*(?:[^\w\s]\s*)?(TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL)\b\s*", re.IGNORECASE)
_TARGET = re.compile(r"([A-Za-z_][\w.-]*(?:::[\w]+)*)(:(?=\s|$)|(?=\s|$))\s*")
_PLACE = re.compile(r"^[\w./-]+\.(?:py|rs):\d+\s+")  # of the verbose style
_SESSION = re.compile(r"\[([\w-]{4,36})\]\s*")


@dataclass(frozen=True)
class Line:
    """One line that tells when it was written."""

    time: datetime  # with its zone
    level: str
    target: str
    message: str
    session: str | None = None

    def __str__(self) -> str:
        """`[date, local 12-hour time, zone] [LEVEL] [target] rest`, as the fork's log-formatter has it."""
        local = self.time.astimezone()
        offset = local.strftime("%z")
        clock = f"{local:%Y-%m-%d %I:%M:%S}.{local.microsecond // 1000:03d} {local:%p %Z} ({offset[:3]}:{offset[3:]})"
        session = [f"[{self.session}]"] if self.session else []
        return " ".join([f"[{clock}]", f"[{self.level}]", *([f"[{self.target}]"] if self.target else []), *session,
                         self.message]).rstrip()  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "time": self.time.isoformat(timespec="milliseconds")}


def clean(lines: Iterable[str], *, strip_raw: bool = False) -> Iterator[Line | str]:
    """A `Line` where one tells its time, else its text; `strip_raw` trims the latter at both ends.

    Colours and control characters are gone, and so is what stands behind token= or session=.
    """
    for raw in lines:
        text = redacted(_CONTROL.sub(" ", _ANSI.sub("", raw.replace("\r", ""))).rstrip())
        yield parse(text) or (text.strip() if strip_raw else text)


def parse(text: str) -> Line | None:
    """None for what tells no time: the rest of a message, a traceback, somebody else's output."""
    return _of_json(text) if text.lstrip().startswith("{") else _of_text(text)


def _of_text(text: str) -> Line | None:
    found = _TIME.match(text)
    when = found and _moment(found[0])
    if not found or not when:
        return None
    rest = text[found.end() :]
    level = _LEVEL.match(rest)
    if level is None:
        return Line(when, "INFO", "", rest.strip())
    rest, target = rest[level.end() :], ""
    if (named := _TARGET.match(rest)) and (named[2] or "." in named[1] or "::" in named[1] or named[1] == "vivavoce"):
        target, rest = named[1], rest[named.end() :]
    rest = _PLACE.sub("", rest)
    session = _SESSION.match(rest)
    message = rest[session.end() :] if session else rest
    return Line(when, _level(level[1]), target, message, session[1] if session else None)


def _of_json(text: str) -> Line | None:
    """Ours, and those of Rust's tracing: timestamp, level, target, fields.message."""
    try:
        told = json.loads(text)
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    when = _moment(str(told.get("time") or told.get("timestamp") or ""))
    if when is None:
        return None
    inner = told.get("fields")
    fields = inner if isinstance(inner, dict) else told
    message = "\n".join(str(fields[key]) for key in ("message", "exception") if fields.get(key))
    target, session = str(told.get("logger") or told.get("target") or ""), told.get("session")
    return Line(when, _level(str(told.get("level") or "info")), target, message, session and str(session))


def _moment(text: str) -> datetime | None:
    """A time without a zone is this machine's."""
    try:
        return datetime.fromisoformat(text.replace(",", ".")).astimezone()
    except ValueError:
        return None


def _level(word: str) -> str:
    return {"WARNING": "WARN", "CRITICAL": "ERROR"}.get(word.upper(), word.upper())


def beside(file: Path) -> Path:
    """Where the clean log goes: out of a folder `raw`, else `friendly-NAME` beside it."""
    if file.parent.name == "raw":
        return file.parent.parent / file.name
    return file.with_name(f"friendly-{file.name}")
