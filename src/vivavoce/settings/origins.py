"""Where requests may come from: origins of web pages, addresses of proxies."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

EVERYONE = "*"
DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(value: str) -> str:
    """As browsers send it, which it is compared with: in lower case, without a path and the scheme's own port.

    Raises ValueError.
    """
    if value in (EVERYONE, "null"):  # the latter is that of a file and of a sandboxed page
        return value
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
        more = parts.username or parts.path not in ("", "/") or parts.query or parts.fragment
    except ValueError:  # a port that is no number, half an IPv6 address
        host = ""
    if not host or not host.isascii() or more:
        raise ValueError("should be SCHEME://HOST or SCHEME://HOST:PORT, such as https://example.org, or *")
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}" + ("" if port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{port}")


def proxy(value: str) -> str:
    """An address, or a network as its first address and the bits that count. Raises ValueError."""
    try:
        if value == EVERYONE:
            return value
        return str(ip_network(value, strict=False) if "/" in value else ip_address(value))
    except ValueError:
        raise ValueError("should be an IP address, a network such as 10.0.0.0/8, or *") from None
