"""Whether a model hears the language that a caller says is spoken."""

from __future__ import annotations

from collections.abc import Sequence

from vivavoce.core import UnsupportedError


def check_language(name: str, language: str | None, model: str, languages: Sequence[str]) -> None:
    """Raises UnsupportedError unless the model always hears `language`, which the caller gave as `name`."""
    if language is None:
        return
    code = code_of(language)
    knows = ", ".join(languages) or "languages it does not tell"
    if code not in languages:
        raise UnsupportedError(f"{name} {language[:32]}: {model} does not know it; it knows {knows}")
    if len(languages) > 1:
        raise UnsupportedError(
            f"{name} {language[:32]}: {model} hears by itself which of {knows} is spoken and cannot be told; "
            f"leave {name} out"
        )


def code_of(language: str) -> str:
    """en-US is English."""
    return language.lower().replace("_", "-").split("-")[0]
