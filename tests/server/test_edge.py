"""The layer around all routes, on a real socket: ids, errors as JSON, patience with slow pongs."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import time
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from vivavoce.core import Fault, InvalidAudioError, StreamError
from vivavoce.server import errors
from vivavoce.server.edge import Edge
from vivavoce.server.http import PunctualHttp
from vivavoce.settings import Limits, ServeSettings

from .asgi import serving
from .process import fetch

LIMITS = Limits(upload_bytes=1000, upload_seconds=0.5)
FAULTS = {
    "full": StreamError(Fault.CAPACITY, retry_after=2.5),
    "key": errors.Refused(Fault.UNAUTHENTICATED, "missing_credentials", "no key", "give one"),
    "account": errors.Refused(Fault.FORBIDDEN, "pending_approval", "wait"),
    "audio": InvalidAudioError("no audio in it"),
    "bug": ZeroDivisionError("a secret detail"),
}


async def fail(request: Request) -> Response:
    raise FAULTS[request.path_params["fault"]]


async def refuse(websocket: WebSocket) -> None:
    raise FAULTS[websocket.path_params["fault"]]


async def accept_and_fail(websocket: WebSocket) -> None:
    await websocket.accept()
    raise FAULTS[websocket.path_params["fault"]]


async def fine(request: Request) -> Response:
    return PlainTextResponse("fine")


async def swallow(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def slow(websocket: WebSocket) -> None:
    """Reads one message and then none for longer than a pong may take; then counts."""
    await websocket.accept()
    await websocket.receive_bytes()
    await asyncio.sleep(1)
    count = 1
    while await websocket.receive_bytes():
        count += 1
    await websocket.send_text(str(count))


async def quiet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    routes = [
        Route("/fail/{fault}", fail, methods=["GET", "POST"]),
        Route("/fine", fine),
        Route("/swallow", swallow, methods=["POST"]),
        WebSocketRoute("/refuse/{fault}", refuse),
        WebSocketRoute("/accept/{fault}", accept_and_fail),
        WebSocketRoute("/slow", slow),
        WebSocketRoute("/quiet", quiet),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Edge, LIMITS)])
    hasty = type("HastyHttp", (PunctualHttp,), {"head_seconds": 0.5})
    with serving(app, ServeSettings(port=0), http=hasty, ws_ping_interval=0.1, ws_ping_timeout=0.2) as address:
        yield address


@pytest.mark.parametrize(
    ("fault", "status", "error", "code", "hint"),
    [
        ("full", 503, "capacity", "capacity", "try again shortly, or start the server with more slots"),
        ("key", 401, "unauthorized", "missing_credentials", "give one"),
        ("account", 403, "forbidden", "pending_approval", ""),
        ("audio", 400, "invalid_message", "invalid_message", ""),
        ("bug", 500, "internal", "internal", ""),
    ],
)
def test_a_fault_is_json_over_http_and_before_an_upgrade(
    address: str, fault: str, status: int, error: str, code: str, hint: str
) -> None:
    async def refused() -> InvalidStatus:
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"ws://{address}/refuse/{fault}", proxy=None):
                pass
        return caught.value

    answer, response = fetch(f"http://{address}/fail/{fault}"), asyncio.run(refused()).response
    for seen, headers, body in [
        (answer.status, answer.headers, answer.body),
        (response.status_code, response.headers, response.body),
    ]:
        assert seen == status
        parsed = json.loads(body or b"")
        assert set(parsed) == {"error", "code", "message", "hint"}
        assert (parsed["error"], parsed["code"], parsed["hint"]) == (error, code, hint)
        assert b"secret" not in (body or b"")
        assert headers["x-request-id"]
        assert headers.get("retry-after") == ("3" if fault == "full" else None)


async def _closed(address: str, fault: str) -> ConnectionClosed:
    with pytest.raises(ConnectionClosed) as caught:
        async with connect(f"ws://{address}/accept/{fault}", proxy=None) as websocket:
            await websocket.recv()
    return caught.value


@pytest.mark.parametrize(("fault", "code"), [("full", 4000), ("key", 4001), ("bug", 1011), ("audio", 4003)])
def test_a_fault_after_the_upgrade_is_a_close_code_with_a_reason(address: str, fault: str, code: int) -> None:
    close = asyncio.run(_closed(address, fault)).rcvd
    assert close is not None
    assert close.code == code and close.reason and "secret" not in close.reason


def test_a_body_is_read_up_to_the_limit(address: str) -> None:
    assert fetch(f"http://{address}/swallow", body=bytes(1000)).body == b"1000"
    large = fetch(f"http://{address}/swallow", body=bytes(1001))
    assert (large.status, large.json()["message"]) == (413, "the body has 1001 bytes; the limit is 1000")


def test_a_body_in_chunks_that_says_no_length_is_limited_too(address: str) -> None:
    connection = http.client.HTTPConnection(address)
    connection.request("POST", "/swallow", iter([bytes(600), bytes(600)]))
    assert connection.getresponse().status == 413
    connection.close()


def test_a_long_reason_is_cut_between_letters() -> None:
    reason = errors.reason(StreamError(Fault.INTERNAL, "é" * 100))
    assert reason == "é" * 61


def test_what_went_wrong_stands_in_the_log_once(address: str, caplog: pytest.LogCaptureFixture) -> None:
    fetch(f"http://{address}/fail/bug", {"x-request-id": "mine-1"})
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "Request mine-1 failed: /fail/bug"
    assert record.exc_info is not None


@pytest.mark.parametrize(
    ("given", "kept"), [("mine-1.a_B", True), ("x" * 65, False), ("with space", False), ("é", False)]
)
def test_a_plain_request_id_of_the_caller_is_kept(address: str, given: str, kept: bool) -> None:
    back = fetch(f"http://{address}/fine", {"x-request-id": given}).headers["x-request-id"]
    assert (back == given) is kept and back


def test_an_upgrade_carries_its_request_id(address: str) -> None:
    async def upgraded() -> str:
        headers = {"x-request-id": "mine"}
        async with connect(f"ws://{address}/quiet", proxy=None, additional_headers=headers) as websocket:
            assert websocket.response is not None
            return websocket.response.headers["x-request-id"]

    assert asyncio.run(upgraded()) == "mine"


def test_the_log_has_a_line_for_a_request_without_its_query(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "vivavoce")
    fetch(f"http://{address}/fine?auth_id=hidden&token=hidden", {"x-request-id": "mine"})
    while not any("mine" in message for message in caplog.messages):  # it is written when the answer has gone
        time.sleep(0.01)
    [line] = [message for message in caplog.messages if "mine" in message]
    assert line.startswith("GET /fine: 200 in ")
    assert "hidden" not in caplog.text


def test_a_client_far_ahead_whose_pong_waits_behind_its_audio_is_not_dropped(address: str) -> None:
    async def flood() -> str:
        async with connect(f"ws://{address}/slow", proxy=None, max_size=None) as websocket:
            for _ in range(300):
                await websocket.send(bytes(100_000))
            await websocket.send(b"")
            return str(await websocket.recv())

    assert asyncio.run(flood()) == "300"


def test_a_client_that_answers_no_ping_is_dropped(address: str) -> None:
    said = asyncio.run(
        last_words(
            address,
            b"GET /quiet HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        )
    )
    assert b"keepalive ping timeout" in said


async def last_words(address: str, *pieces: bytes) -> bytes:
    """What the server says to this, until it ends the connection."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


@pytest.mark.parametrize("pieces", [(), (b"GET /fine HTTP/1.1\r\nHost: x\r\n",)], ids=["nothing", "half a head"])
def test_who_never_finishes_asking_is_not_waited_for(address: str, pieces: tuple[bytes, ...]) -> None:
    assert asyncio.run(last_words(address, *pieces)) == b""


def test_a_body_that_comes_with_its_head_is_not_taken_for_one(address: str) -> None:
    head = b"POST /swallow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n"
    assert b"413" in asyncio.run(last_words(address, head + bytes(100_000))).splitlines()[0]


def test_a_head_without_end_is_cut(address: str) -> None:
    head = b"GET /fine HTTP/1.1\r\n" + b"x: y\r\n" * 20_000
    assert b"400" in asyncio.run(last_words(address, head))


BODY = b"POST /swallow HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


def test_a_body_that_drips_is_refused_and_its_connection_ends(address: str) -> None:
    """Ten bytes a second: less than is patiently taken, and never silent for long."""
    assert b" 408 " in asyncio.run(dripped(address, BODY)).splitlines()[0]


def test_a_body_that_nobody_reads_is_not_taken_for_ever(address: str) -> None:
    said = asyncio.run(dripped(address, BODY.replace(b"/swallow", b"/nowhere")))
    assert b" 404 " in said.splitlines()[0]


async def dripped(address: str, head: bytes) -> bytes:
    """What the server says to a body of which a byte comes now and then, until it ends the connection."""
    reader, writer = await asyncio.open_connection(*address.split(":"))

    async def drip() -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(b".")
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(drip())
    try:
        return await asyncio.wait_for(read_all(reader), 30)
    finally:
        dripping.cancel()
        writer.close()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionError):  # the last byte may find nobody to take it
        while data := await reader.read(65_536):
            said += data
    return said
