"""Errors of settings: one line with the name, where it was set, the limit and the value seen."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from ..core import ExitCode, VivavoceError


class SettingsError(VivavoceError):
    """A setting or a file of settings is wrong."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str) -> None:
        super().__init__(message.replace("\n", "\\n"))  # keys may hold anything; the message is one line


Where = Callable[[tuple[int | str, ...]], str]


def explain(error: ValidationError, where: Where, secrets: frozenset[str] = frozenset()) -> str:
    """All that pydantic found, in one line; `where` names a location, the values of `secrets` are not shown."""
    return "; ".join(dict.fromkeys(_line(found, where, secrets) for found in error.errors(include_url=False)))


def _line(found: object, where: Where, secrets: frozenset[str]) -> str:
    assert isinstance(found, dict)
    location = found["loc"]
    message = found["msg"].removeprefix("Value error, ").replace("Input should", "should").split(", unable to")[0]
    if found["type"] == "missing":
        return f"{where(location)} is missing"
    if not location:  # a rule about several settings names them itself
        return f"{where(location)}{message}"
    seen = "" if location[0] in secrets else f", found {found['input']!r}"
    return f"{where(location)} {message[0].lower() + message[1:]}{seen}"
