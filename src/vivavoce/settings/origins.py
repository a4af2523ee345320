"""Where requests may come from: origins of web pages, addresses of proxies."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

EVERYONE = "*"
DEFAULT_PORTS = {"http": 80, "https": 443}


def host_and_port(url: str) -> tuple[str, int | None] | None:
    """The port may be the scheme's own. None for what names no host, as the origin "null" of a sandboxed page."""
    try:
        parts = urlsplit(url)
        return (parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)) if parts.hostname else None
    except ValueError:  # a port that is no number, half an IPv6 address
        return None


def origin(value: str) -> str:
    """As browsers send it, which it is compared with: in lower case, without a path and the scheme's own port.

    Raises ValueError.
    """
    if value in (EVERYONE, "null"):  # the latter is that of a file and of a sandboxed page
        return value
    place = host_and_port(value)
    if place is None or not place[0].isascii() or not _is_origin(parts := urlsplit(value)):
        raise ValueError("should be SCHEME://HOST or SCHEME://HOST:PORT, such as https://example.org, or *")
    host, port = place
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}" + ("" if port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{port}")


def _is_origin(parts: SplitResult) -> bool:
    """Whether it says a scheme and a place, and no more."""
    more = parts.username or parts.path not in ("", "/") or parts.query or parts.fragment
    return bool(parts.scheme and not more)


def proxy(value: str) -> str:
    """An address, or a network as its first address and the bits that count. Raises ValueError."""
    try:
        if value == EVERYONE:
            return value
        return str(ip_network(value, strict=False) if "/" in value else ip_address(value))
    except ValueError:
        raise ValueError("should be an IP address, a network such as 10.0.0.0/8, or *") from None
