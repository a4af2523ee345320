"""Which web page a browser came from, and whether such a page may use this server."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.requests import HTTPConnection

from vivavoce.settings.origins import EVERYONE, host_and_port


def is_loopback(host: str) -> bool:
    """Whether a name or an address stands for this machine only."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def origin_allowed(connection: HTTPConnection, allowed: Sequence[str], local_only: bool) -> bool:
    """Whether the page that a browser came from may use this server; who sends no Origin is no browser.

    `allowed` holds origins (https://example.org) or "*"; the server's own pages always may. `local_only` (nothing but
    the loopback address protects this server) asks that they were fetched by a local name too: any name of the
    internet can be made to point at 127.0.0.1.
    """
    origin = connection.headers.get("origin")
    if origin is None or EVERYONE in allowed or origin in allowed:
        return True
    scheme, _, _ = origin.partition("://")
    page, server = host_and_port(origin), host_and_port(f"{scheme}://{connection.headers.get('host', '')}")
    return page is not None and page == server and (is_loopback(page[0]) or not local_only)
