"""The settings as people read them: TOML with origins, and the tables of docs/configuration.md.

`python -m vivavoce.settings.render docs/configuration.md` writes the tables into the page anew.
"""

from __future__ import annotations

import json
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from .layers import ANCESTORS, Loaded
from .limits import Limits
from .modules import Engine, Voice
from .serve import Access, Accounts, Listening, Logs, ServeSettings

HIDDEN = "**********"
_TITLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("Where it listens", Listening),
    ("The model", Engine),
    ("The voice", Voice),
    ("Who may come in", Access),
    ("Accounts", Accounts),
    ("What it says", Logs),
    ("Limits", Limits),
)
SECTIONS = [(title, list(section.model_fields)) for title, section in _TITLES]


def as_toml(loaded: Loaded) -> str:
    """The effective settings, to be read back as a file, but for the secrets."""
    lines: list[str] = []
    for title, names in SECTIONS:
        lines += [*([""] if lines else []), f"# {title}"]
        lines += [_line(name, getattr(loaded.settings, name), loaded.origins.get(name)) for name in names]
    for module in loaded.settings.modules or ():
        at = f"modules.{module.label}"
        lines += ["", f"[modules.{_key(module.label)}]", f"type = {json.dumps(module.kind)}"]
        names = [name for name in type(module).model_fields if name not in ("label", "kind")]
        lines += [_line(name, getattr(module, name), loaded.origins.get(f"{at}.{name}")) for name in names]
    return "".join(f"{line}\n" for line in lines)


def _key(label: str) -> str:
    return label if label.replace("-", "").replace("_", "").isalnum() and label.isascii() else f"{_toml(label)}"


def _line(name: str, value: Any, origin: str | None) -> str:
    comment = "  # " + "".join(c if c.isprintable() else "?" for c in origin or "default")
    written = _toml(value)
    return f"# {name} is not set{comment}" if written is None else f"{name} = {written}{comment}"


def _toml(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool() | str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case SecretStr():
            return f'"{HIDDEN}"'
        case Path():
            return _toml(str(value))
        case tuple():
            return f"[{', '.join(filter(None, map(_toml, value)))}]"
    return f"{value:d}" if isinstance(value, int) else repr(value)


def as_markdown() -> str:
    """The reference: a table for each section, a row for each setting."""
    parts = []
    for title, names in SECTIONS:
        rows = [_row(name, ServeSettings.model_fields[name]) for name in names]
        head = "| key | default | kind | meaning |\n|---|---|---|---|"
        parts.append("\n".join([f"### {title}", "", head, *rows]))
    return "\n\n".join(parts) + "\n"


def renewed(page: str) -> str:
    """The page with the tables between its marks made anew."""
    start, end = "<!-- settings: made by vivavoce.settings.render -->\n", "<!-- end of settings -->"
    return re.sub(
        f"({re.escape(start)}).*?({end})", lambda mark: f"{mark[1]}\n{as_markdown()}\n{mark[2]}", page, flags=re.S
    )


def _row(name: str, field: FieldInfo) -> str:
    default = _toml(field.default)
    also = f" Also `{ANCESTORS[name]}`." if name in ANCESTORS else ""
    kind = ", ".join([" or ".join(_kinds(field.annotation)), *_bounds(field)])
    return f"| `{name}` | {'' if default is None else f'`{default}`'} | {kind} | {field.description}{also} |"


def _kinds(annotation: Any) -> Iterator[str]:
    origin = typing.get_origin(annotation)
    if origin in (UnionType, typing.Union):
        for part in typing.get_args(annotation):
            if part is not type(None):
                yield from _kinds(part)
    elif origin is typing.Annotated:
        yield from _kinds(typing.get_args(annotation)[0])
    elif origin is typing.Literal:
        yield from (f"`{value}`" for value in typing.get_args(annotation))
    elif origin is tuple:
        yield f"list of {next(_kinds(typing.get_args(annotation)[0]))}"
    else:
        names = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path", SecretStr: "secret"}
        yield names.get(annotation, "bytes")


def _bounds(field: FieldInfo) -> Iterator[str]:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for item in field.metadata:
        for attribute, word in words.items():
            if (bound := getattr(item, attribute, None)) is not None:
                yield f"{word} {bound}"


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(renewed(file.read_text("utf-8")), "utf-8")
