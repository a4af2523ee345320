"""config.json, read with a clear error for every field that is missing or of the wrong kind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import CheckpointError


@dataclass(frozen=True)
class Fields:
    """A JSON object and where it came from."""

    where: str
    values: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Fields:
        try:
            values = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: not readable JSON ({error})") from error
        if not isinstance(values, dict):
            raise CheckpointError(f"{path}: expected a JSON object, found {type(values).__name__}")
        return cls(str(path), values)

    def section(self, key: str) -> Fields:
        """A nested object; empty when absent or null."""
        return Fields(f"{self.where}: {key}", self._get(key, dict, {}))

    def integer(self, key: str, default: int | None = None) -> int:
        value: int = self._get(key, int, default)
        if value < 0:
            raise CheckpointError(f"{self.where}: {key} must not be negative, found {value}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        return float(self._get(key, (int, float), default))

    def text(self, key: str, default: str | None = None) -> str:
        value: str = self._get(key, str, default)
        return value

    def flag(self, key: str) -> bool:
        """true or false; false when absent."""
        self.demand(key, True, False)
        return self.values.get(key) is True

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings; empty when absent."""
        return tuple(map(str, self._get(key, list, [])))

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of integers, none negative; empty when absent."""
        values = self._get(key, list, [])
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise CheckpointError(f"{self.where}: {key} has {value!r}, expected integers that are not negative")
        return tuple(values)

    def demand(self, key: str, *allowed: object) -> None:
        """Raise CheckpointError when the field is present, not null and none of `allowed`."""
        value = self.values.get(key)
        if value is not None and value not in allowed:
            raise CheckpointError(
                f"{self.where}: {key} is {value!r}, only {' or '.join(map(repr, allowed))} is supported"
            )

    def _get(self, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise CheckpointError(f"{self.where}: {key} is missing")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise CheckpointError(f"{self.where}: {key} is {value!r}, expected {_name(kind)}")
        return value


def _name(kind: type | tuple[type, ...]) -> str:
    words = {int: "an integer", float: "a number", str: "a string", dict: "an object", list: "a list"}
    return words[kind[-1] if isinstance(kind, tuple) else kind]
