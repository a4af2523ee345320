"""Standard error: one line for each thing that the user should know. Standard output belongs to results."""

from __future__ import annotations

import io
import logging
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@cache
def stderr() -> Console:
    """Knows whether standard error is a terminal, and NO_COLOR."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def complain(message: str) -> None:
    """`vivavoce: message`, in red on a terminal."""
    _say(message, "bold red")


def note(message: str) -> None:
    """`vivavoce: message` about something that is no failure."""
    _say(message, "yellow")


def set_up() -> None:
    """UTF-8 whatever the locale, file names that are not UTF-8 escaped; warnings of the library become notes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    logger = logging.getLogger("vivavoce")
    if not logger.handlers:
        logger.addHandler(_Notes(logging.INFO))
        logger.setLevel(logging.WARNING)
        logging.getLogger("vivavoce.engine.kernels").setLevel(logging.INFO)  # who waits for the compiler is told so


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def _say(message: str, style: str) -> None:
    from rich.text import Text

    stderr().print(Text.assemble(("vivavoce:", style), " ", message))
