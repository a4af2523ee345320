"""Every fault of the table, met before the upgrade and after it: what is said, and whether it is tried again."""

from __future__ import annotations

import asyncio
import re

import pytest
from websockets.asyncio.server import ServerConnection

from vivavoce.client import Connected, ConnectionFailedError, Disconnected, Patience, ServerError, SttStream, connect
from vivavoce.client.backoff import Backoff
from vivavoce.core import Fault, StreamError, VivavoceError

from .proxy import refusal, scripted

FAULTS = [fault for fault in Fault if fault is not Fault.NORMAL]
READY = '{"type":"ready","session":"s","model":"m","sample_rate":24000,"samples":0}'


def hasty(stream: SttStream) -> SttStream:
    """The same stream without waits between attempts."""
    stream._backoff = Backoff(draw=lambda: -1.0)
    return stream


async def read(stream: SttStream, told: list[object]) -> VivavoceError | None:
    """To the end; what ended it early."""
    try:
        while True:
            told.append(await anext(stream))
    except StopAsyncIteration:
        return None
    except VivavoceError as error:
        return error


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_refusal_before_the_upgrade(fault: Fault) -> None:
    body = {"error": "refused", "code": fault.name.lower(), "message": "because", "hint": "do this"}
    refusals = [refusal(fault.status, body, Retry_After="0"), refusal(418)]

    async def run() -> tuple[list[object], VivavoceError]:
        async with scripted(talk, lambda _: refusals.pop(0)) as url:
            stream = hasty(connect(f"{url}/v1/stream", patience=Patience(first=5)))
            with pytest.raises(VivavoceError) as caught:
                await stream.__aenter__()
            return list(stream._inbox._waiting), caught.value

    async def talk(connection: ServerConnection) -> None:
        raise AssertionError("the connection was refused")

    told, error = asyncio.run(run())
    if fault.retry:
        assert told == [Disconnected("because (do this)", fault, 0.0)]
        assert isinstance(error, ConnectionFailedError)
        assert "HTTP 418 instead of a websocket" in str(error)
    else:
        assert told == []
        assert isinstance(error, StreamError)
        assert error.fault is fault
        assert "because (do this)" in str(error)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("speaks", [False, True], ids=["close alone", "error message first"])
def test_a_close_after_the_upgrade(fault: Fault, speaks: bool) -> None:
    connections = 0

    async def talk(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await connection.send(READY)
        if connections > 1:
            await connection.send('{"type":"end"}')
            await connection.wait_closed()
            return
        if speaks:
            await connection.send(f'{{"type":"error","code":"{fault.name.lower()}","message":"because"}}')
        await connection.close(fault.close_code, "because")

    async def run() -> tuple[list[object], Exception | None]:
        told: list[object] = []
        async with scripted(talk) as url, hasty(connect(f"{url}/v1/stream?session=mine")) as stream:
            await stream.end()
            return told, await read(stream, told)

    told, error = asyncio.run(run())
    assert any(isinstance(event, ServerError) and event.fault is fault for event in told) is speaks
    if fault is Fault.UNKNOWN_SESSION:  # a session that is gone is begun again
        assert error is None
        return
    lost = [event for event in told if isinstance(event, Disconnected)]
    if fault.retry:
        assert [(event.reason, event.fault) for event in lost] == [("because", fault)]
        assert error is None
        assert connections == 2
    else:
        assert lost == []
        assert isinstance(error, StreamError)
        first = next(other for other in Fault if other.close_code == fault.close_code)  # of those that share a code
        assert error.fault is (fault if speaks else first)
        assert "because" in str(error)
        assert connections == 1


def test_a_capacity_error_of_moshi_server_is_tried_again() -> None:
    full = b"\x82\xa4type\xa5Error\xa7message\xb0no free channels"

    async def talk(connection: ServerConnection) -> None:
        await connection.send(full)
        await connection.close()  # without a code

    async def run() -> VivavoceError:
        async with scripted(talk) as url:
            with pytest.raises(VivavoceError) as caught:
                await connect(f"{url}/api/asr-streaming").__aenter__()
            return caught.value

    error = asyncio.run(run())
    assert isinstance(error, StreamError)
    assert error.fault is Fault.CAPACITY
    assert "no free channels" in str(error)


def test_a_server_that_only_speaks_the_other_dialect_is_found() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send(b"\x81\xa4type\xa5Ready")
        await connection.wait_closed()

    async def run() -> str:
        async with (
            scripted(talk, lambda request: refusal(404) if request.path.startswith("/v1") else None) as url,
            connect(url) as stream,
        ):
            return stream.target.dialect

    assert asyncio.run(run()) == "moshi"


def test_a_stream_that_the_server_ends_early_is_no_success() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send(READY)

    async def run() -> str:
        async with scripted(talk) as url, connect(f"{url}/v1/stream") as stream:
            return str(await read(stream, []))

    assert "before everything was said" in asyncio.run(run())


@pytest.mark.parametrize(
    "body",
    [{"message": "because"}, {"error": {"message": "because", "code": "invalid_value"}}, {"err_msg": "because"}],
    ids=["ours", "OpenAI's", "Deepgram's"],
)
def test_what_a_path_of_another_dialect_says_is_told(body: dict[str, object]) -> None:
    async def run() -> None:
        async with scripted(lambda _: asyncio.sleep(0), lambda _: refusal(400, body)) as url:
            await connect(f"{url}/v1/realtime", dialect="stream").__aenter__()

    with pytest.raises(StreamError, match="/v1/realtime: because"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no TLS is spoken there: ws:// instead of wss://?"),
        (b"", "the connection was lost during the handshake"),
    ],
    ids=["a server without TLS", "silence"],
)
def test_tls_that_does_not_come_about_is_one_line(answer: bytes, why: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await connect(f"wss://127.0.0.1:{port}").__aenter__()

    with pytest.raises(ConnectionFailedError, match=re.escape(why)):
        asyncio.run(run())


def test_secrets_stay_out_of_every_message() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send(READY)
        await connection.close(4003, "no ws://h/?token=hush here")

    async def run() -> str:
        async with (
            scripted(talk) as url,
            connect(f"{url}/v1/stream?token=hush&auth_id=hush", key="hush", token="hush") as stream,
        ):
            told: list[object] = []
            error = await read(stream, told)
            assert isinstance(told[0], Connected)
            assert isinstance(error, StreamError)
            return f"{told} {error} {stream.target.shown}"

    said = asyncio.run(run())
    assert "hush" not in said
    assert "token=***" in said


@pytest.mark.parametrize("sent", ["not json", "[]", '{"type":"word","text":"x"}', b"\xff\xfe"])
def test_a_server_that_talks_nonsense_is_one_line(sent: str | bytes) -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send(READY)
        await connection.send(sent)
        await connection.wait_closed()

    async def run() -> str:
        async with scripted(talk) as url, connect(f"{url}/v1/stream") as stream:
            return str(await read(stream, []))

    assert "no message of /v1/stream" in asyncio.run(run())


def test_messages_of_a_later_version_are_passed_over() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send(READY)
        await connection.send('{"type":"applause","volume":11}')
        await connection.send('{"type":"token","text":"hi","mood":"good"}')
        await connection.send('{"type":"end"}')
        await connection.wait_closed()

    async def run() -> list[str]:
        async with scripted(talk) as url, connect(f"{url}/v1/stream") as stream:
            return [type(event).__name__ async for event in stream]

    assert asyncio.run(run()) == ["Connected", "Token"]


def test_waits_grow_with_jitter_and_never_undercut_the_server() -> None:
    backoff = Backoff(draw=lambda: 0.0)
    assert [backoff.next() for _ in range(8)] == [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff.next(retry_after=7) == 12.0
    backoff.reset()
    backoff.draw = lambda: 1.0
    assert [backoff.next(), backoff.next()] == [0.25, 0.5]
