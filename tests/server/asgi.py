"""An application on a real socket, by the server's own uvicorn, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from vivavoce.server.listen import listen
from vivavoce.server.wire import uvicorn_config
from vivavoce.settings import ServeSettings


@contextmanager
def serving(app: ASGIApp, settings: ServeSettings, **changes: Any) -> Iterator[str]:
    """Yields host:port; `changes` are attributes of uvicorn's configuration."""
    config = uvicorn_config(settings, app)
    for name, value in changes.items():
        setattr(config, name, value)
    server = uvicorn.Server(config)
    with listen(settings) as listener:
        host, port = listener.getsockname()[:2]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"{host}:{port}"
        finally:
            server.should_exit = True
            thread.join()
