"""RFC 6455, what a server must do, over bare sockets; Autobahn's suite is run by hand (bench/results/faults.md).

One echo endpoint behind this server's own websocket layer.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator

import pytest

from vivavoce.settings import ServeSettings

from .asgi import serving
from .echo import app
from .raw import BINARY, CLOSE, CONT, HEADERS, PING, PONG, TEXT, Frame, Raw, frame, pieces

MESSAGE_BYTES = 100_000


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(app, ServeSettings(port=0, message_bytes=MESSAGE_BYTES)) as address:
        yield f"http://{address}"


@pytest.fixture
def client(url: str) -> Iterator[Raw]:
    with Raw(url) as client:
        assert client.upgrade("/").status == 101
        yield client


def closed(client: Raw) -> int | None:
    """The code of the server's close frame, after which it must end the connection."""
    *_, last = client.rest()
    assert last.opcode == CLOSE
    return last.close_code


# --- the handshake (4.2) ---


def test_the_key_is_answered(url: str) -> None:
    with Raw(url) as client:
        head = client.upgrade("/")
    digest = hashlib.sha1((HEADERS["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    assert head.status == 101
    assert head.headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
    assert head.headers["upgrade"].lower() == "websocket"
    assert head.headers["connection"].lower() == "upgrade"
    assert "sec-websocket-extensions" not in head.headers
    assert "sec-websocket-protocol" not in head.headers


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Sec-WebSocket-Version": "12"}, 426),
        ({"Sec-WebSocket-Version": None}, 426),
        ({"Sec-WebSocket-Key": None}, 400),
        ({"Sec-WebSocket-Key": "too short"}, 400),
        ({"Sec-WebSocket-Key": base64.b64encode(bytes(15)).decode()}, 400),
    ],
    ids=lambda value: str(value).strip("{}")[:40],
)
def test_a_wrong_handshake_is_refused(url: str, changes: dict[str, str | None], status: int) -> None:
    with Raw(url) as client:
        head = client.upgrade("/", changes)
    assert head.status == status
    assert head.headers.get("sec-websocket-version") == ("13" if status == 426 else None)


def test_names_and_values_of_the_handshake_have_no_case(url: str) -> None:
    with Raw(url) as client:
        changes = {"Upgrade": None, "Connection": None, "UPGRADE": "WebSocket", "connection": "keep-alive, UPGRADE"}
        assert client.upgrade("/", changes).status == 101


def test_extensions_that_were_offered_are_not_taken(url: str) -> None:
    with Raw(url) as client:
        head = client.upgrade("/", {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"})
        assert "sec-websocket-extensions" not in head.headers
        client.send(TEXT, b"plain", reserved=4)
        assert closed(client) == 1002


# --- frames (5.2) ---


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, MESSAGE_BYTES])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_messages_of_every_length_come_through_and_the_answer_is_not_masked(
    client: Raw, opcode: int, size: int
) -> None:
    client.send(opcode, b"*" * size)
    assert client.next() == Frame(opcode, b"*" * size, True, 0, False)


def test_a_frame_may_arrive_byte_by_byte(client: Raw) -> None:
    for byte in pieces(frame(TEXT, "grüße".encode()) + frame(BINARY, bytes(200)), 1):
        client.socket.sendall(byte)
    answers = [client.next(), client.next()]
    assert [one.payload for one in answers if one] == ["grüße".encode(), bytes(200)]


def test_a_frame_without_mask_ends_the_connection(client: Raw) -> None:
    client.send(TEXT, b"open", mask=False)
    assert closed(client) == 1002


@pytest.mark.parametrize("reserved", range(1, 8))
def test_reserved_bits_end_the_connection(client: Raw, reserved: int) -> None:
    client.send(BINARY, b"x", reserved=reserved)
    assert closed(client) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes_end_the_connection(client: Raw, opcode: int) -> None:
    client.send(opcode)
    assert closed(client) == 1002


def test_a_message_over_the_limit_ends_the_connection_with_1009(client: Raw) -> None:
    client.send(BINARY, bytes(MESSAGE_BYTES + 1))
    assert closed(client) == 1009


def test_so_does_one_that_passes_it_in_fragments(client: Raw) -> None:
    client.send(BINARY, bytes(MESSAGE_BYTES), fin=False)
    client.send(CONT, b"x")
    assert closed(client) == 1009


# --- fragments (5.4) ---


def test_fragments_are_one_message_and_control_frames_may_stand_between(client: Raw) -> None:
    client.send(TEXT, b"one ", fin=False)
    client.send(PING, b"between")
    client.send(CONT, b"", fin=False)
    client.send(PONG, b"nobody asked")
    client.send(CONT, b"message")
    assert client.next() == Frame(PONG, b"between", True, 0, False)
    assert client.until(TEXT).payload == b"one message"


def test_a_letter_may_be_cut_between_fragments(client: Raw) -> None:
    text = "κόσμε𝄞".encode()
    for number, byte in enumerate(pieces(text, 1)):
        client.send(CONT if number else TEXT, byte, fin=False)
    client.send(CONT)
    assert client.until(TEXT).payload == text


@pytest.mark.parametrize(
    "frames",
    [
        [(CONT, True)],
        [(CONT, False), (CONT, True)],
        [(TEXT, False), (TEXT, True)],
        [(TEXT, False), (BINARY, True)],
        [(TEXT, False), (CONT, True), (CONT, True)],
    ],
    ids=str,
)
def test_fragments_out_of_order_end_the_connection(client: Raw, frames: list[tuple[int, bool]]) -> None:
    for opcode, fin in frames:
        client.send(opcode, b"x", fin=fin)
    assert closed(client) == 1002


# --- control frames (5.5) ---


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(125))], ids=len)
def test_a_ping_is_answered_by_its_own_payload(client: Raw, payload: bytes) -> None:
    client.send(PING, payload)
    assert client.next() == Frame(PONG, payload, True, 0, False)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize(("payload", "fin"), [(bytes(126), True), (b"\x03\xe8", False)], ids=["long", "in pieces"])
def test_control_frames_are_short_and_whole(client: Raw, opcode: int, payload: bytes, fin: bool) -> None:
    client.send(opcode, payload, fin=fin)
    assert closed(client) == 1002


def test_a_pong_that_nobody_asked_for_changes_nothing(client: Raw) -> None:
    client.send(PONG, b"here")
    client.send(TEXT, b"still there")
    assert client.until(TEXT).payload == b"still there"


# --- closing (5.5.1, 7.4) ---


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
def test_a_close_is_answered_with_its_code_and_the_connection_ends(client: Raw, code: int) -> None:
    client.send(CLOSE, struct.pack(">H", code) + b"bye")
    assert closed(client) == code


def test_a_close_may_come_in_the_midst_of_a_message(client: Raw) -> None:
    client.send(TEXT, b"half a mess", fin=False)
    client.send(CLOSE, struct.pack(">H", 1000))
    assert closed(client) == 1000


def test_a_close_without_a_code_is_answered(client: Raw) -> None:
    client.send(CLOSE)
    assert closed(client) in (None, 1000)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535])
def test_a_code_that_must_not_be_sent_is_a_protocol_error(client: Raw, code: int) -> None:
    client.send(CLOSE, struct.pack(">H", code))
    assert closed(client) == 1002


@pytest.mark.parametrize(
    ("payload", "code"), [(b"\x03", 1002), (b"\x03\xe8\xff", 1007), (b"\x03\xe8" + b"x" * 123, 1000)]
)
def test_the_payload_of_a_close_is_a_code_and_a_text(client: Raw, payload: bytes, code: int) -> None:
    client.send(CLOSE, payload)
    assert closed(client) == code


def test_what_follows_a_close_is_not_heard(client: Raw) -> None:
    client.socket.sendall(frame(CLOSE, b"\x03\xe8") + frame(TEXT, b"too late") + frame(PING, b"too late"))
    assert [one.opcode for one in client.rest()] == [CLOSE]


# --- text is UTF-8 (8.1) ---


@pytest.mark.parametrize(
    "text",
    [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"good \xc3\x28"],
    ids=bytes.hex,
)
def test_text_that_is_no_utf8_ends_the_connection_with_1007(
    client: Raw, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client.send(TEXT, text)
    assert closed(client) == 1007
    assert not caplog.records  # the line is the journal's, of the stream that ends


def test_also_when_it_comes_in_fragments(client: Raw) -> None:
    client.send(TEXT, b"\xce\xba", fin=False)
    client.send(CONT, b"\xed\xa0", fin=False)
    client.send(CONT, b"\x80")
    assert closed(client) == 1007


@pytest.mark.parametrize("text", ["\0", "\x7f", "\ud7ff", "\ue000", "\ufffe", "\U0010ffff"], ids=ascii)
def test_every_letter_there_is_may_be_sent(client: Raw, text: str) -> None:
    client.send(TEXT, text.encode())
    assert client.until(TEXT).payload == text.encode()
