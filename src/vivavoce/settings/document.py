"""A TOML file: flat settings, and `[modules.NAME]` tables of our kind or of moshi-server's."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .asr import speech_to_text
from .errors import SettingsError, explain
from .modules import Module, SpeechModule
from .moshi import TYPES, Asr, Py, Tts
from .paths import resolve
from .serve import ServeSettings
from .tts import from_py, from_tts

MODELS = {"model", "tts_model"}
EXPANDED = MODELS | {"static_dir", "log_dir", "instance_name", "tls_cert", "tls_key", "tts_voice_dir"}  # with $NAME
EXPANDED_IN_MODULES = {"voice_dir", "voices", "script", "py", "model"}  # and every key that ends in _file
KEYS = set(ServeSettings.model_fields) - {"modules"}
OWN: dict[str, type[Module | SpeechModule]] = {"stt": Module, "tts": SpeechModule}
PLACES = {"lm_file", "mimi_file", "tokenizer_file", "model", "voice_dir"}


@dataclass
class Document:
    """What a file says: flat values by key, the keys of each module by label, and what the reader should know."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    modules: dict[str, dict[str, Any]] | None = None  # None: the file has no module tables
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, environment: Mapping[str, str]) -> Document:
        """Raises SettingsError: not readable, an unknown type, a missing key, a key of the wrong kind."""
        document = cls(path)
        tables = _parse(path)
        modules = tables.pop("modules", None)
        document._flat(tables, environment)
        if modules is not None:
            if not isinstance(modules, dict):
                raise SettingsError(f"{path}: modules should be tables such as [modules.asr], found {modules!r}")
            document.modules = {}
            for label, table in modules.items():
                document._module(label, table, environment)
        return document

    def _flat(self, tables: dict[str, Any], environment: Mapping[str, str]) -> None:
        if "authorized_ids" in tables:
            tables.setdefault("api_keys", tables.pop("authorized_ids"))
            if tables["api_keys"] == ["public_token"]:
                self.warnings.append(f"{self.path}: the key public_token is known to everybody")
        if isinstance(warmup := tables.get("warmup"), dict):  # the fork's table
            del tables["warmup"]
            self._unknown([f"warmup.{key}" for key in warmup if key != "enabled"], ())
            if warmup.get("enabled", True) is not True:
                self.warnings.append(f"{self.path}: warmup.enabled has no effect: the engine always warms up")
        self._unknown([key for key in tables if key not in KEYS], KEYS)
        for key in sorted(tables.keys() & KEYS):
            where = f"{self.path}: {key}"
            value = tables[key]
            if isinstance(value, bool) and ServeSettings.model_fields[key].annotation is not bool:
                raise SettingsError(f"{where} should not be true or false")  # pydantic would take it for 1 or 0
            if key in MODELS and isinstance(value, str) and value.startswith("hf://"):
                self.values[key] = value  # a whole repository is meant
            else:
                self.values[key] = resolve(value, where, environment) if key in EXPANDED else value

    def _module(self, label: str, table: Any, environment: Mapping[str, str]) -> None:
        where = f"{self.path}: [modules.{label}]"
        if not isinstance(table, dict):
            raise SettingsError(f"{where} should be a table, found {table!r}")
        kind, known = table.pop("type", None), ", ".join([*OWN, *TYPES])
        if kind is None:
            raise SettingsError(f"{where} type is missing; it is one of {known}")
        if kind not in (*OWN, *TYPES):
            raise SettingsError(f"{where} type should be one of {known}, found {kind!r}")
        assert self.modules is not None
        if kind in OWN:
            self.modules[label] = {"kind": kind, **self._own(label, kind, table, where, environment)}
        elif keys := self._moshi(label, kind, table, where, environment):
            self.modules[label] = keys

    def _own(
        self, label: str, kind: str, table: dict[str, Any], where: str, environment: Mapping[str, str]
    ) -> dict[str, Any]:
        known = set(OWN[kind].model_fields) - {"label", "kind"}
        self._unknown([f"modules.{label}.{key}" for key in table if key not in known], known)
        keys = {key: value for key, value in table.items() if key in known}
        if wrong := next((key for key, value in keys.items() if isinstance(value, bool)), None):
            raise SettingsError(f"{where} {wrong} should not be true or false")
        for key in keys.keys() & PLACES:
            if key != "model" or not str(keys[key]).startswith("hf://"):
                keys[key] = resolve(keys[key], f"{where} {key}", environment)
        return keys

    def _moshi(
        self, label: str, kind: str, table: dict[str, Any], where: str, environment: Mapping[str, str]
    ) -> dict[str, Any] | None:
        for key, value in table.items():
            if key.endswith("_file") or key in EXPANDED_IN_MODULES - {"model"}:
                table[key] = resolve(value, f"{where} {key}", environment)
        try:
            checked = TYPES[kind].model_validate(table)
        except ValidationError as error:
            message = explain(error, lambda at: f"{where} {'.'.join(map(str, at))}")
            raise SettingsError(message) from None
        self._unknown([f"modules.{label}.{key}" for key in checked.unknown()], ())
        match checked:
            case Asr():
                keys, warnings = speech_to_text(checked, where)
            case Py(script=None):
                keys, warnings = from_py(checked, where)
            case Tts():
                keys, warnings = from_tts(checked, where)
            case _:
                own = " with a script of its own" if isinstance(checked, Py) else ""
                self.warnings.append(f"{where} is of type {kind}{own}, which this build does not serve")
                return None
        self.warnings += warnings
        return keys

    def _unknown(self, keys: Iterable[str], known: Iterable[str]) -> None:
        for key in keys:
            close = get_close_matches(key.rsplit(".", 1)[-1], list(known), 1)
            hint = f"; is {close[0]} meant?" if close else ""
            self.warnings.append(f"{self.path}: {key} is not a known key and has no effect{hint}")


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not readable TOML: {error}") from None
