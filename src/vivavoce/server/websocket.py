"""uvicorn's websocket with a quick way for live audio, patience for clients that send faster than real time, and the
RFC's last corners."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidHeader
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # no compiled part on this machine
    from websockets.utils import apply_mask

from vivavoce.core import Fault

PING_SECONDS = 10.0
PONG_SECONDS = 20.0
UNREAD_SECONDS = 10.0  # for which the last bytes wait for a client that does not read
QUICK = "vivavoce.quick"  # among the extensions of the scope: the PatientWebSocket itself
_QUICK_HEAD = b"\x82\xfe"  # a whole binary message, masked, of 126 to 65,535 bytes: what live audio comes in


class ByTheBook(ServerProtocol):
    """Where `websockets` leaves RFC 6455: an unknown version is answered with the known one (4.4), a close may come in
    the midst of a fragmented message (5.4), and of the pings of a client that does not read only the last one is
    answered (5.5.3), so that its pongs fill no memory."""

    is_read = True
    unanswered: bytes | None = None

    def accept(self, request: Request) -> Response:
        """The answer to a handshake."""
        response = super().accept(request)
        wrong = self.handshake_exc
        if isinstance(wrong, InvalidHeader) and wrong.name == "Sec-WebSocket-Version":
            response.status_code, response.reason_phrase = 426, "Upgrade Required"
            response.headers["Sec-WebSocket-Version"] = "13"
            response.headers["Upgrade"] = "websocket"
        return response

    def recv_frame(self, frame: Frame) -> None:
        """One frame has come."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        if frame.opcode is Opcode.PING and not self.is_read:
            self.unanswered = bytes(frame.data)
        else:
            super().recv_frame(frame)

    def read_again(self) -> None:
        """The client reads what it is sent."""
        self.is_read = True
        if self.unanswered is not None and self.state is State.OPEN:
            self.send_pong(self.unanswered)
        self.unanswered = None


class PatientWebSocket(WebSocketsSansIOProtocol):
    """A pong that stands behind unread audio is not missing.

    While a stream's queue is full its socket is not read, so that the pong of a client which is far ahead can be many
    seconds away. A client counts as gone when nothing at all has come from it for PONG_SECONDS though it was read.

    The quick way: a message of live audio that can be heard at once goes to `hear_now`, without the library, ASGI and
    a turn of the loop, which cost ten times what is done with it. It says whether it has taken the message. Everything
    else, in the order in which it came, takes the common way.
    """

    hear_now: Callable[[bytes], bool] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn: ByTheBook = ByTheBook(max_size=self.config.ws_max_size, logger=self.logger)
        self._heard = self.loop.time()
        self._held = b""  # the beginning of a frame
        self._common = 0  # bytes still to come of a frame that takes the common way

    def data_received(self, data: bytes) -> None:
        """Bytes of the socket: first the request, then frames cut anywhere."""
        self._heard = self.loop.time()
        if not self.handshake_initiated:
            super().data_received(data)
            return
        data, self._held, at = self._held + data if self._held else data, b"", 0
        while at < len(data):
            if not self._common:
                end = self._take_quickly(data, at)
                if end is None:
                    self._held = data[at:]
                    return
                if end > at:
                    at = end
                    continue
            part = data[at : at + self._common] if at or self._common < len(data) else data
            at += len(part)
            self._common -= len(part)
            super().data_received(part)

    def _take_quickly(self, data: bytes, at: int) -> int | None:
        """Where the frame at `at` ends when it was heard, else `at`: it takes the common way. None: more must come."""
        left = len(data) - at
        quick = self.hear_now is not None and self.conn.state is State.OPEN and self.conn.current_size is None
        if quick and data.startswith(_QUICK_HEAD, at) and left >= 4:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            end = at + 8 + length
            if length <= self.config.ws_max_size:
                if end > len(data):
                    return None
                message = apply_mask(data[at + 8 : end], data[at + 4 : at + 8])
                if self.queue.empty() and self.hear_now is not None and self.hear_now(message):
                    return end
        whole = _frame_length(data, at)
        if whole is None:
            return None
        self._common = whole
        return at

    def say_now(self, frames: bytes) -> None:
        """Whole frames, while the client `reads`."""
        self.transport.write(frames)

    @property
    def reads(self) -> bool:
        """Whether what is sent now goes out without waiting."""
        return self.writable.is_set() and self.conn.state is State.OPEN and not (self.close_sent or self.disconnected)

    def handle_connect(self, event: Request) -> None:
        """The request is there."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][QUICK] = self  # type: ignore[assignment]

    async def send(self, message: Any) -> None:
        """An event of the application. Who is refused has had his handshake too, which uvicorn would call missing."""
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True

    def pause_writing(self) -> None:
        """More waits for the client than the transport likes to hold."""
        super().pause_writing()
        self.conn.is_read = False

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self.conn.read_again()
        self.transport.write(b"".join(self.conn.data_to_send()))

    def keepalive_timeout(self) -> None:
        """Called PONG_SECONDS after a ping whose pong has not come."""
        silent = self.loop.time() - self._heard
        if self.read_paused or (self.ping_timeout and silent < self.ping_timeout):
            self.pong_timer = None
            self.schedule_ping()
        else:
            super().keepalive_timeout()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The application has ended. A client that does not read would keep the socket open for ever."""
        super().on_task_complete(task)
        self.scope["extensions"].pop(QUICK, None)  # they would hold each other
        if not self.writable.is_set():
            self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def shutdown(self) -> None:
        """The server ends: 1001, on which clients connect again, instead of uvicorn's 1012."""
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": Fault.GOING_AWAY.close_code})
            self.conn.send_close(Fault.GOING_AWAY.close_code, Fault.GOING_AWAY.meaning)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        super().shutdown()

    def send_receive_event_to_app(self) -> None:
        """A message is whole. Text that is none ends the connection, and the application is told so."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError as error:
                self.conn.fail(CloseCode.INVALID_DATA, f"text that is no UTF-8: {error.reason}, byte {error.start}")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()


def framed(payload: bytes, text: bool) -> bytes:
    """A whole message of the server as one frame; a text is UTF-8."""
    opcode, length = 0x81 if text else 0x82, len(payload)
    if length < 126:
        return bytes((opcode, length)) + payload
    if length < 65_536:
        return bytes((opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((opcode, 127)) + length.to_bytes(8, "big") + payload


def _frame_length(data: bytes, at: int) -> int | None:
    """Bytes of the frame that begins there, its head included; None while its head is not all there."""
    if len(data) < at + 2:
        return None
    second = data[at + 1]
    width = {126: 2, 127: 8}.get(second & 0x7F, 0)
    head = 2 + width + (4 if second & 0x80 else 0)
    if len(data) < at + head:
        return None
    return head + (int.from_bytes(data[at + 2 : at + 2 + width], "big") if width else second & 0x7F)
