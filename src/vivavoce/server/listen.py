"""The listening socket, and the certificate: whatever is wrong with them is one line, before any model is loaded."""

from __future__ import annotations

import os
import socket
import ssl

from vivavoce.core import VivavoceError
from vivavoce.settings import ServeSettings

BACKLOG = 2048


class ListenError(VivavoceError):
    """The server cannot listen as it was told to."""


def listen(settings: ServeSettings) -> socket.socket:
    """A socket that listens on settings.addr and settings.port (0 takes a free one). Raises ListenError."""
    return listen_at(settings.addr, settings.port)


def listen_at(addr: str, port: int) -> socket.socket:
    """A socket that listens there. Raises ListenError."""
    try:
        family, _, _, _, place = socket.getaddrinfo(addr, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = family == socket.AF_INET6 and addr == "::"
        listener = socket.create_server(place[:2], family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        raise ListenError(f"cannot listen on {addr} port {port}: {_why(error)}") from None
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
    return listener


def reserve_at(addr: str, port: int) -> socket.socket:
    """A socket that holds a port for this server's workers, and does not listen. Raises ListenError."""
    with listen_at(addr, port) as probe:  # which nobody else may listen on, workers of another server neither
        port = probe.getsockname()[1]
    return beside(addr, port)


def beside(addr: str, port: int) -> socket.socket:
    """A socket that, once it listens, gets its share of the connections to a port. Raises ListenError."""
    try:
        family, _, _, _, place = socket.getaddrinfo(addr, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        holder = socket.socket(family, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
        if family == socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, addr != "::")
        holder.bind(place)
    except OSError as error:
        raise ListenError(f"cannot listen on {addr} port {port}: {_why(error)}") from None
    return holder


def check_certificate(settings: ServeSettings) -> None:
    """Raises ListenError for a certificate or a key that is missing, unreadable, or not the other's."""
    if settings.tls_cert is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except ssl.SSLError as error:
        why = error.reason or "they are no certificate chain and key in PEM"
        raise ListenError(f"tls_cert {settings.tls_cert} and tls_key {settings.tls_key}: {why}") from None
    except OSError:
        unreadable = [path for path in (settings.tls_cert, settings.tls_key) if path and not os.access(path, os.R_OK)]
        raise ListenError(f"{unreadable[0] if unreadable else settings.tls_cert}: cannot be read") from None


def url(settings: ServeSettings, listener: socket.socket, scheme: str = "http") -> str:
    """http://HOST:PORT of this server, by a name under which this machine reaches it; `scheme` http or ws."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.addr, settings.addr)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{scheme}{'s' if settings.tls_cert else ''}://{host}:{listener.getsockname()[1]}"


def _why(error: OSError) -> str:
    if error.errno is None or error.errno < 0:  # a name that cannot be resolved
        return error.strerror or str(error)
    text = os.strerror(error.errno)
    return text[:1].lower() + text[1:]
