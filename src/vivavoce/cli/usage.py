"""What is wrong with the words of a command line, in one line: the option, the limit, and the value that was given."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import typer

_LIMITS = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
}


def explained(error: typer.TyperException) -> str:
    """The line for an error of typer's."""
    if isinstance(error, typer.BadParameter):
        found = getattr(error.__cause__, "errors", list[dict[str, Any]])()  # pydantic's, which typer converts with
        if found:
            error.message = _limit(found[0])
        elif error.param is None and error.param_hint is None:
            return error.message
    return error.format_message().replace("\n", " ")


def _limit(found: dict[str, Any]) -> str:
    words = _LIMITS.get(found["type"], found["msg"].removeprefix("Value error, ").rstrip("."))
    limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in found.get("ctx", {}).items()}
    value = repr(found["input"])
    return words.format(**limits) + ("" if value in words else f", got {value}")


def unknown(verb: str, verbs: list[str]) -> str:
    """The line for a verb that there is not."""
    near = get_close_matches(verb, verbs)
    meant = f"did you mean {' or '.join(map(repr, near))}?" if near else "vivavoce --help lists those that there are"
    return f"No such command {verb!r}; {meant}"
