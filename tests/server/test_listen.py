"""The listening socket: where, and under which name this machine reaches it."""

from __future__ import annotations

import socket

import pytest

from vivavoce.server.listen import ListenError, listen, url
from vivavoce.settings import ServeSettings


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.mark.parametrize(
    ("addr", "host", "callers"),
    [
        ("127.0.0.1", "127.0.0.1", ["127.0.0.1"]),
        ("localhost", "localhost", ["localhost"]),
        ("0.0.0.0", "127.0.0.1", ["127.0.0.1"]),
        pytest.param("::1", "[::1]", ["::1"], marks=ipv6),
        pytest.param("::", "[::1]", ["::1", "127.0.0.1"], marks=ipv6),
    ],
)
def test_it_can_be_reached_where_it_says(addr: str, host: str, callers: list[str]) -> None:
    settings = ServeSettings(addr=addr, port=0)
    with listen(settings) as listener:
        port = listener.getsockname()[1]
        assert url(settings, listener) == f"http://{host}:{port}"
        assert url(settings, listener, "ws") == f"ws://{host}:{port}"
        for caller in callers:
            with socket.create_connection((caller, port)), listener.accept()[0] as accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_two_servers_do_not_share_a_port() -> None:
    with listen(ServeSettings(port=0)) as first, pytest.raises(ListenError, match="address already in use"):
        listen(ServeSettings(port=first.getsockname()[1]))
