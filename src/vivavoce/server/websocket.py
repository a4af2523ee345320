"""uvicorn's websocket with patience for clients that send faster than real time, and the RFC's last corners."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidHeader
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from vivavoce.core import Fault

PING_SECONDS = 10.0
PONG_SECONDS = 20.0
UNREAD_SECONDS = 10.0  # for which the last bytes wait for a client that does not read


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
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn: ByTheBook = ByTheBook(max_size=self.config.ws_max_size, logger=self.logger)
        self._heard = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Bytes of the socket."""
        self._heard = self.loop.time()
        super().data_received(data)

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
