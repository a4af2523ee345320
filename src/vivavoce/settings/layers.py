"""One answer from many sources: flags over environment over `.env` over TOML over defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dotenv import dotenv_values
from pydantic import ValidationError

from .document import KEYS, Document
from .errors import SettingsError, explain
from .modules import SHARED, TTS, AnyModule, Engine, Module, SpeechModule, Voice
from .presets import preset_file
from .serve import ServeSettings

PREFIX = "VIVAVOCE_"
ANCESTORS = {  # names that mean the same in the programs before this one; ours go first
    "jwt_secret": "BETTER_AUTH_SECRET",
    "api_keys": "MOSHI_API_KEY",
    "modal_key": "MODAL_KEY",
    "modal_secret": "MODAL_SECRET",
    "slots": "MAX_CONCURRENT_SESSIONS",
    "idle_seconds": "IDLE_AUDIO_TIMEOUT_SECONDS",
    "session_seconds": "MAX_SESSION_SECONDS",
    "ping_seconds": "PING_INTERVAL_SECONDS",
    "temperature": "LM_TEMP_TEXT",
}
SECRETS = frozenset({"api_keys", "jwt_secret", "jwt_old_secrets", "modal_key", "modal_secret", "accounts"})
LIBRARIES = ("HF_", "NO_COLOR")  # variables that are read elsewhere: a `.env` sets them for the whole process


class Given(NamedTuple):
    """A value as it was written, and what to call the place."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Loaded:
    """The settings, where each came from (by name; of modules `modules.LABEL.key`), and what the user should know."""

    settings: ServeSettings
    origins: dict[str, str]
    warnings: tuple[str, ...] = ()


def load(
    flags: Mapping[str, Any] | None = None,
    config: Path | None = None,
    preset: str | None = None,
    *,
    defaults: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    dotenv: Path | None = Path(".env"),
    layered: bool = True,
) -> Loaded:
    """The settings that hold. `flags`: those that were given; `defaults`: other ones than the settings' own.

    `environment` and `dotenv` give settings and what `$NAME` in a file stands for; not `layered`, only the latter.

    No network. Raises SettingsError: one line with the name, its origin, the limit and the value seen.
    """
    if config is not None and preset is not None:
        raise SettingsError(f"one of --config and --preset can be used, found {config} and {preset}")
    real = os.environ if environment is None else environment
    beside = {} if dotenv is None else read_dotenv(dotenv)
    file = config if preset is None else preset_file(preset)
    document = None if file is None else Document.read(file, {**beside, **real})
    base = {name: Given(value, "default") for name, value in (defaults or {}).items()}
    over = variables(beside, str(dotenv)) | variables(real, "environment") if layered else {}
    over |= {name: Given(value, f"--{name.replace('_', '-')}") for name, value in (flags or {}).items()}
    written = {} if document is None else {key: Given(value, str(file)) for key, value in document.values.items()}
    merged = base | written | over
    modules = None if document is None else _modules(document, merged, over)
    settings = _validated(merged, modules)
    origins = {name: given.origin for name, given in merged.items()}
    for label, keys in (modules or {}).items():
        origins |= {f"modules.{label}.{name}": given.origin for name, given in keys.items()}
    return Loaded(settings, origins, () if document is None else tuple(document.warnings))


def variables(environment: Mapping[str, str], place: str) -> dict[str, Given]:
    """The settings that an environment gives; an empty variable counts as one that is not set."""
    found = {}
    for name in sorted(KEYS):
        for variable in (PREFIX + name.upper(), ANCESTORS.get(name)):
            if variable and environment.get(variable):
                found[name] = Given(environment[variable], f"{place} {variable}")
                break
    return found


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a `.env` file as they stand there, `$` included; none where there is no such file."""
    if not path.is_file():
        return {}
    try:
        return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not readable: {error}") from None


def export_dotenv(path: Path = Path(".env")) -> None:
    """What `.env` says to the hub's client and to the terminal, which read the process's environment."""
    for name, value in read_dotenv(path).items():
        if name.startswith(LIBRARIES):
            os.environ.setdefault(name, value)


def _modules(
    document: Document, merged: Mapping[str, Given], over: Mapping[str, Given]
) -> dict[str, dict[str, Given]] | None:
    """Flags and environment go over a module's own keys, and those over the file's flat ones."""
    if document.modules is None:
        return None
    found = {}
    for label, keys in document.modules.items():
        speaks = keys.get("kind") == "tts"
        written = {name: Given(value, f"{document.path} [modules.{label}]") for name, value in keys.items()}
        flat, above = _flat(merged, speaks), _flat(over, speaks)
        if "model" in above:  # the files, the delay and the sizes were those of the model that it replaces
            own = {"path", "kind", *_flat(dict.fromkeys(ServeSettings.model_fields, Given(None, "")), speaks)}
            written = {name: given for name, given in written.items() if name in own}
        found[label] = flat | written | above
    return found


def _flat(given: Mapping[str, Given], speaks: bool) -> dict[str, Given]:
    """Those of the flat settings that hold for a module of that kind, by the module's keys."""
    if not speaks:
        return {name: value for name, value in given.items() if name in Engine.model_fields}
    own = {name.removeprefix(TTS): value for name, value in given.items() if name in Voice.model_fields}
    return {name: value for name, value in given.items() if name in SHARED} | own


def _validated(merged: Mapping[str, Given], modules: dict[str, dict[str, Given]] | None) -> ServeSettings:
    try:
        settings = ServeSettings(**{name: given.value for name, given in merged.items()})
    except ValidationError as error:
        raise SettingsError(explain(error, lambda at: _where(merged, at), SECRETS)) from None
    if modules is None:
        return settings
    checked = tuple(_module(label, keys) for label, keys in modules.items())
    for i, module in enumerate(checked):
        if twin := next((other for other in checked[:i] if other.path == module.path), None):
            raise SettingsError(f"modules {twin.label} and {module.label} have the same path {module.path}")
    return settings.model_copy(update={"modules": checked})


def _module(label: str, keys: Mapping[str, Given]) -> AnyModule:
    values = {name: given.value for name, given in keys.items()}
    try:
        return SpeechModule(label=label, **values) if values.get("kind") == "tts" else Module(label=label, **values)
    except ValidationError as error:
        raise SettingsError(explain(error, lambda at: _where(keys, at))) from None


def _where(given: Mapping[str, Given], location: tuple[int | str, ...]) -> str:
    if not location:
        return ""
    name = str(location[0])
    origin = given[name].origin if name in given else ""
    if origin.startswith("--") or name.upper() in origin:  # a flag or a variable: it says which setting it is
        return origin.removeprefix("environment ")
    return f"{origin}: {name}" if origin else name
