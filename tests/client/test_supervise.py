"""Waiting until somebody else's server is ready."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from vivavoce.client.supervise import wait_ready
from vivavoce.core import VivavoceError

from ..web import answering


@contextmanager
def telling(codes: Sequence[int], wanted: str | None = None) -> Iterator[str]:
    """A server that answers with one code after the other, and with the last one from then on; `wanted`: 401 to who
    does not have this key."""
    left = list(codes)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(code if wanted is None or self.headers["Modal-Key"] == wanted else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with answering(HTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield f"ws{url.removeprefix('http')}"


def test_each_reason_to_wait_is_told_once() -> None:
    told = list[str]()
    with telling([503, 503, 502, 200]) as url:
        assert wait_ready(url, 30, told=told.append) == "/ready answers 200"
    assert [line.split(" s for ")[1] for line in told] == [f"http{url.removeprefix('ws')}/ready"] * 2
    assert [line.split(";")[0] for line in told] == ["HTTP 503", "HTTP 502"]


def test_nobody_there_is_said_in_words() -> None:
    told = list[str]()
    with pytest.raises(VivavoceError, match=r"^not ready within 0\.3 s: Connection refused$"):
        wait_ready("ws://127.0.0.1:9", 0.3, told=told.append)
    assert told == ["Connection refused; waiting 0 s for http://127.0.0.1:9/ready"]


def test_a_server_without_the_route_counts_as_ready() -> None:
    with telling([404]) as url:
        assert wait_ready(url, 30) == "there is no /ready here (HTTP 404)"


def test_who_must_show_a_key_waits_for_nothing_without_it() -> None:
    with telling([200], wanted="secret") as url:
        with pytest.raises(VivavoceError, match=r"^/ready is not for everybody: HTTP 401$"):
            wait_ready(url, 30)
        assert wait_ready(url, 30, headers={"Modal-Key": "secret"}) == "/ready answers 200"
