"""Strings of a TOML that stand for places: `$NAME` replaced, hub addresses checked. Nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .sources import HubSource, hub_cache

_NAME = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


def resolve(value: Any, where: str, environment: Mapping[str, str]) -> Any:
    """Every string in a value, lists and tables searched, with `$NAME` replaced by what the environment says.

    Hub addresses stay as they are. Raises SettingsError for a variable that is not set, or an address of another form.
    """
    if isinstance(value, dict):
        return {key: resolve(item, f"{where}.{key}", environment) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, where, environment) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith(("hf://", "hf-snapshot://")):
        return _checked(value, where)

    def replaced(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise SettingsError(f"{where}: the variable {match[1]} of {value!r} is not set")
        return environment[match[1]]

    return _NAME.sub(replaced, value)


def _checked(value: str, where: str) -> str:
    scheme, rest = value.split("://", 1)
    parts, wanted = rest.split("/"), "hf://owner/name/file" if scheme == "hf" else "hf-snapshot://owner/name[/glob]"
    if len(parts) < (3 if scheme == "hf" else 2) or not all(parts):
        raise SettingsError(f"{where}: expected {wanted}, found {value!r}")
    return value


def on_this_machine(file: str) -> Path | None:
    """The local path of a file or of an `hf://owner/name/file` in the cache; None where it is not here."""
    path = Path(file)
    if file.startswith("hf://"):
        owner, name, inside = file.removeprefix("hf://").split("/", 2)
        path = cached(HubSource(f"{owner}/{name}"), inside)
    return path if path.is_file() else None


def cached(source: HubSource, file: str) -> Path:
    """Where the hub's client keeps a file of a repository, whether it is there or not."""
    folder = hub_cache() / f"models--{source.repository.replace('/', '--')}"
    reference = folder / "refs" / (source.revision or "main")
    commit = reference.read_text("ascii").strip() if reference.is_file() else source.revision or "main"
    return folder / "snapshots" / commit / file
