"""Named services: a URL and what opens it, from a file or from the environment.

# ~/.config/vivavoce/services.toml
[office]
url = "wss://speech.example.org/v1/stream"
token = "$OFFICE_TOKEN"          # a value that begins with $ is a variable of the environment
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from vivavoce.core import VivavoceError

from . import tokens

DialectChoice = Literal["auto", "stream", "moshi"]
LOCAL = "ws://127.0.0.1:8080"
MODAL = "wss://{workspace}--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run/v1/stream"
KEYS = {"url", "dialect", "key", "token", "modal_key", "modal_secret", "headers", "mint"}


class ServiceError(VivavoceError):
    """A service that is not known, or whose description is wrong."""


@dataclass(frozen=True)
class Service:
    """Where a server is and what it wants to see; the secrets are not part of its repr."""

    url: str
    dialect: DialectChoice = "auto"
    key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def options(self) -> dict[str, Any]:
        """Arguments of `vivavoce.client.connect`, without the URL."""
        return {"dialect": self.dialect, "key": self.key, "token": self.token, "headers": dict(self.headers)}


def resolve(
    name: str | None,
    url: str | None,
    *,
    key: str | None = None,
    token: str | None = None,
    dialect: DialectChoice | None = None,
) -> Service | None:
    """What `--service`, `--url` and the flags for secrets mean together; None when neither names a server.

    A flag wins over the service. A token that neither gives is $MOSHI_JWT_TOKEN. Raises ServiceError.
    """
    if name is None and url is None:
        return None
    service = Service(url or "") if name is None else find(name)
    return replace(
        service,
        url=url or service.url,
        key=key or service.key,
        token=token or service.token or os.environ.get("MOSHI_JWT_TOKEN") or None,
        dialect=dialect or service.dialect,
    )


def find(name: str) -> Service:
    """The service of that name, from the file or else a built-in one. Raises ServiceError."""
    listed = load()
    if name in listed:
        return listed[name]
    if name == "local":
        return Service(os.environ.get("LOCAL_WS_URL") or LOCAL)
    if name == "modal":
        return _modal()
    known = ", ".join(sorted({*listed, "local", "modal"}))
    raise ServiceError(f"--service {name}: not known; {path()} and the built-in ones have {known}")


def path() -> Path:
    """$VIVAVOCE_SERVICES, or services.toml in the user's configuration folder."""
    if named := os.environ.get("VIVAVOCE_SERVICES"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "vivavoce" / "services.toml"


def load() -> dict[str, Service]:
    """Every service of the file; none if it does not exist (an error if $VIVAVOCE_SERVICES names it)."""
    file = path()
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if os.environ.get("VIVAVOCE_SERVICES"):
            raise ServiceError(f"{file}: no such file (VIVAVOCE_SERVICES)") from None
        return {}
    except OSError as error:
        raise ServiceError(f"{file}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ServiceError(f"{file}: not valid TOML ({error})") from None
    return {name: _service(f"{file} [{name}]", table) for name, table in tables.items()}


def _service(where: str, table: Any) -> Service:
    if not isinstance(table, dict):
        raise ServiceError(f"{where}: expected a table with a url")
    if unknown := sorted(set(table) - KEYS):
        raise ServiceError(f"{where}: unknown key {unknown[0]}; the keys are {', '.join(sorted(KEYS))}")
    said = {key: _said(f"{where} {key}", value) for key, value in table.items() if key not in ("headers", "mint")}
    if not said.get("url"):
        raise ServiceError(f"{where}: url is missing")
    dialect = said.get("dialect") or "auto"
    if dialect not in get_args(DialectChoice):
        raise ServiceError(f"{where}: dialect must be one of {', '.join(get_args(DialectChoice))}, got {dialect}")
    headers = table.get("headers", {})
    if not isinstance(headers, dict):
        raise ServiceError(f"{where}: headers must be a table of names and values")
    headers = {name: _said(f"{where} headers.{name}", value) for name, value in headers.items()}
    headers |= modal_headers(said.get("modal_key"), said.get("modal_secret"))
    token = said.get("token") or (tokens.mint(tokens.demand()) if table.get("mint") is True else None)
    return Service(said["url"], dialect, said.get("key"), token, headers)  # type: ignore[arg-type]


def _said(where: str, value: Any) -> str:
    """A string; `$NAME` is that variable of the environment."""
    if not isinstance(value, str):
        raise ServiceError(f"{where}: must be a string")
    if not value.startswith("$"):
        return value
    name = value[1:].strip("{}")
    if not os.environ.get(name):
        raise ServiceError(f"{where}: the variable {name} is not set")
    return os.environ[name]


def _modal() -> Service:
    workspace = os.environ.get("MODAL_WORKSPACE")
    if not workspace:
        raise ServiceError("--service modal: set MODAL_WORKSPACE (and MODAL_KEY, MODAL_SECRET)")
    headers = modal_headers(os.environ.get("MODAL_KEY"), os.environ.get("MODAL_SECRET"))
    return Service(MODAL.format(workspace=workspace), "stream", headers=headers)


def modal_headers(key: str | None, secret: str | None) -> dict[str, str]:
    """What Modal's edge wants to see; nothing where neither is set. Raises ServiceError where one is missing."""
    if (key is None) != (secret is None):
        raise ServiceError("Modal wants both a key and a secret (MODAL_KEY and MODAL_SECRET), only one is set")
    return {"Modal-Key": key, "Modal-Secret": secret} if key and secret else {}
