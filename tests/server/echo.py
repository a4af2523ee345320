"""What comes in goes out again: the websocket layer of this server for conformance suites, which expect an echo.

`python -m tests.server.echo 9001`
"""

from __future__ import annotations

import sys

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from vivavoce.server.listen import listen
from vivavoce.server.wire import Server, uvicorn_config
from vivavoce.settings import ServeSettings


async def echo(websocket: WebSocket) -> None:
    """Until the client closes."""
    await websocket.accept()
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if message.get("bytes") is not None:
            await websocket.send_bytes(message["bytes"])
        else:
            await websocket.send_text(message["text"])


app = Starlette(routes=[WebSocketRoute("/", echo)])

if __name__ == "__main__":
    settings = ServeSettings(port=int(sys.argv[1]))
    with listen(settings) as listener:
        Server(uvicorn_config(settings, app)).run([listener])
