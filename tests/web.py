"""A small web server of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer
from threading import Thread


@contextmanager
def answering(server: HTTPServer) -> Iterator[str]:
    """It answers, in a thread, until the block ends; its URL, http://127.0.0.1:PORT."""
    with server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
