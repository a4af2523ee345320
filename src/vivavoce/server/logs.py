"""What the server says while it runs: to the console, to a file that rotates, for people or for machines."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from vivavoce.core import UnsupportedError
from vivavoce.settings import ServeSettings

TRACE = 5
LEVELS = {
    "off": logging.CRITICAL + 1, "error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO,
    "debug": logging.DEBUG, "trace": TRACE,
}  # fmt: skip
_LOOKS = {  # level: icon, colour
    TRACE: ("·", 90), logging.DEBUG: ("○", 36), logging.INFO: ("●", 32), logging.WARNING: ("▲", 33),
    logging.ERROR: ("✖", 31), logging.CRITICAL: ("✖", 35),
}  # fmt: skip
_SECRET = re.compile(r"(?i)\b(auth_id|token|session)=[^&\s\"']+")
_session: ContextVar[str | None] = ContextVar("session", default=None)


@contextmanager
def session(id: str) -> Iterator[None]:
    """Every line that this task, and those it starts, logs meanwhile carries the stream's id."""
    before = _session.set(id)
    try:
        yield
    finally:
        _session.reset(before)


def set_up(settings: ServeSettings) -> None:
    """Sends all logging of the process to console and file. Raises UnsupportedError for a folder that takes no file."""
    handlers: list[logging.Handler] = []
    if not settings.silent:
        console = logging.StreamHandler(sys.stderr)
        console.setFormatter(_formatter(settings, colour=_colourful()))
        handlers.append(console)
    if settings.log_dir is not None:
        handlers.append(_file(settings, settings.log_dir))
    for handler in handlers:
        handler.addFilter(_complete)
    _route(handlers or [logging.NullHandler()], LEVELS[settings.log_level])


def set_up_worker(settings: ServeSettings, handler: logging.Handler) -> None:
    """Sends all logging of a worker to the main process, which has console and file."""
    handler.addFilter(_complete)
    _route([handler], LEVELS[settings.log_level])


def _route(handlers: list[logging.Handler], level: int) -> None:
    logging.addLevelName(TRACE, "TRACE")
    root, own, uvicorn = logging.getLogger(), logging.getLogger("vivavoce"), logging.getLogger("uvicorn")
    for logger in (root, own, uvicorn, logging.getLogger("uvicorn.error")):
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    own.setLevel(level)
    # Its line for every connection repeats ours; at DEBUG it would write headers out, and keys with them.
    uvicorn_level = logging.INFO if level <= logging.DEBUG else max(level, logging.WARNING)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(uvicorn_level)


def _file(settings: ServeSettings, folder: Path) -> logging.Handler:
    path = folder / f"log.{settings.instance_name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = RotatingFile(path, settings.log_max_size_mb * 1_000_000, settings.log_max_files)
    except OSError as error:
        raise UnsupportedError(f"{path}: the log cannot be written there: {error.strerror}") from None
    handler.setFormatter(_formatter(settings, colour=False))
    return handler


def _formatter(settings: ServeSettings, colour: bool) -> logging.Formatter:
    return JsonLines() if settings.log_json else Lines(settings.log_style, colour)


def _colourful() -> bool:
    from rich.console import Console  # knows terminals, NO_COLOR and FORCE_COLOR

    console = Console(stderr=True)
    return console.is_terminal and not console.no_color


def _complete(record: logging.LogRecord) -> bool:
    """Adds the session; cuts what uvicorn says of a URL after its `?`."""
    if not hasattr(record, "session"):
        record.session = _session.get()
    if record.name.startswith("uvicorn") and isinstance(record.args, tuple):
        record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
    return True


def redacted(text: str) -> str:
    """Without the secrets that a URL may carry."""
    return _SECRET.sub(r"\1=***", text)


class Lines(logging.Formatter):
    """For people. compact: time, level, text; pretty: with an icon and the module; verbose: with file and line too."""

    def __init__(self, style: str, colour: bool) -> None:
        super().__init__()
        self._look, self._colour = style, colour

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback of an exception below it."""
        when = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        session = getattr(record, "session", None)
        parts = [self._dim(when), self._level(record), self._where(record), f"[{session}]" if session else ""]
        lines = [" ".join([*filter(None, parts), record.getMessage()])]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        elif record.exc_text:  # of another process
            lines.append(record.exc_text)
        return redacted("\n".join(lines))

    def _level(self, record: logging.LogRecord) -> str:
        icon, colour = _LOOKS.get(record.levelno, ("?", 37))
        name = {"WARNING": "WARN", "CRITICAL": "ERROR"}.get(record.levelname, record.levelname)
        text = f"{name:<5}" if self._look == "compact" else f"{icon} {name:<5}"
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text

    def _where(self, record: logging.LogRecord) -> str:
        if self._look == "compact":
            return ""
        place = f" {record.filename}:{record.lineno}" if self._look == "verbose" else ""
        return self._dim(record.name + place)

    def _dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self._colour else text


class JsonLines(logging.Formatter):
    """For machines: one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Keys: time (UTC), level, logger, message, file, line; session and exception where there is one."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
            "file": record.filename,
            "line": record.lineno,
        }
        if session := getattr(record, "session", None):
            line["session"] = session
        if record.exc_info:
            line["exception"] = redacted(self.formatException(record.exc_info))
        elif record.exc_text:
            line["exception"] = redacted(record.exc_text)
        return json.dumps(line, ensure_ascii=False)


class RotatingFile(RotatingFileHandler):
    """log.NAME, log.NAME.1, .2 and so on, the newest first: begun afresh at `limit` bytes, and every day."""

    def __init__(self, path: Path, limit: int, kept: int) -> None:
        self._day = date.fromtimestamp(path.stat().st_mtime) if path.exists() else None
        super().__init__(path, maxBytes=limit, backupCount=kept, encoding="utf-8")

    def shouldRollover(self, record: logging.LogRecord) -> int:  # noqa: N802 (the name of the standard library)
        """Whether this record belongs into a new file."""
        day, before = date.fromtimestamp(record.created), self._day
        self._day = day
        return int(before is not None and before != day) or int(super().shouldRollover(record))
