"""Where a server is: URLs as people write them to websocket URLs, and back to something that may be shown."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from vivavoce.core import VivavoceError

Dialect = Literal["stream", "moshi"]
PATHS: dict[Dialect, str] = {"stream": "/v1/stream", "moshi": "/api/asr-streaming"}
SECRETS = {"token", "auth_id", "key", "api_key", "apikey", "access_token", "secret", "password"}
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


class AddressError(VivavoceError):
    """The URL names no server that can be talked to."""


@dataclass(frozen=True)
class Target:
    """One place to connect to, and the protocol spoken there."""

    url: str  # ws:// or wss://
    dialect: Dialect

    @property
    def shown(self) -> str:
        """The URL without secrets."""
        return redacted(self.url)

    @property
    def http(self) -> str:
        """http://host:port of the same server."""
        parts = urlsplit(self.url)
        return urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, "", "", ""))

    @property
    def loopback(self) -> bool:
        """Whether the server is on this machine, where no proxy may stand between."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    def with_query(self, **more: str | Sequence[str]) -> str:
        """The URL with these added to its query, a list as often as it is long; what the URL says itself stays."""
        parts = urlsplit(self.url)
        said = parse_qsl(parts.query, keep_blank_values=True)
        names = {name for name, _ in said}
        query = urlencode([*said, *((name, value) for name, value in more.items() if name not in names)], doseq=True)
        return urlunsplit(parts._replace(query=query))


def targets(url: str, dialect: Literal["auto", "stream", "moshi"] = "auto") -> list[Target]:
    """The places that a URL may mean, best first; raises AddressError.

    `host:8080`, `http://` and `https://` are understood. A path decides the dialect (one with `asr` is moshi's);
    without a path both are candidates, `/v1/stream` before `/api/asr-streaming`.
    """
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    try:
        known = parts.scheme in _SCHEMES and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        known = False
    if not known:
        raise AddressError(f"{redacted(url) or repr('')}: expected a URL like ws://host:8080 or wss://host/v1/stream")
    parts = parts._replace(scheme=_SCHEMES[parts.scheme], fragment="")
    if parts.path in ("", "/"):
        dialects: list[Dialect] = ["stream", "moshi"] if dialect == "auto" else [dialect]
        return [Target(urlunsplit(parts._replace(path=PATHS[name])), name) for name in dialects]
    guessed: Dialect = "moshi" if "asr" in parts.path else "stream"
    return [Target(urlunsplit(parts), guessed if dialect == "auto" else dialect)]


def redacted(text: str) -> str:
    """A URL, or a message with URLs in it, with the values of secret parameters and passwords replaced by `***`."""
    text = re.sub(rf"([?&;](?:{'|'.join(SECRETS)})=)[^&;#\s'\"]+", r"\1***", text, flags=re.IGNORECASE)
    return re.sub(r"(://[^/\s:@]*:)[^/\s@]+(@)", r"\1***\2", text)
