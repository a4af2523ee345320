"""A crowd of live streams that costs next to nothing: raw sockets, frames built beforehand, one epoll loop.

It measures servers and so must not be what is slow: a client of asyncio costs more than the server that it talks to.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np

from vivavoce.audio import Samples
from vivavoce.core import FRAME_SECONDS, FRAME_SIZE, VivavoceError
from vivavoce.server.dialects import packing

BURST = 8  # frames that are sent at most before answers are looked for
PATIENCE = 5.0  # seconds: for an answer to the last frames
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


class Tongue(ABC):
    """What is spoken: the server's path, how 80 ms are sent, and which frame an answer is of."""

    path: str
    answered: ClassVar[bool] = True  # each frame, whatever was said in it

    @abstractmethod
    def audio(self, samples: Samples) -> bytes:
        """The message of one frame."""

    @abstractmethod
    def answers(self, message: bytes) -> int | None:
        """The number of the frame, from 1, that this message says has been heard; None for any other message."""


class OfStream(Tongue):
    """/v1/stream, with an event for each frame and for each word."""

    path = "/v1/stream?vad=true&words=true&idle=60"
    _HEAD = b'{"type":"vad","time":'

    def audio(self, samples: Samples) -> bytes:
        return samples.astype("<f4").tobytes()

    def answers(self, message: bytes) -> int | None:
        if not message.startswith(self._HEAD):
            return None
        begin = len(self._HEAD)
        return round(float(message[begin : message.index(b",", begin)]) / FRAME_SECONDS)


class OfWords(OfStream):
    """/v1/stream with words alone, as most clients ask for: a frame in which none begins or ends is not answered."""

    path = "/v1/stream?words=true&idle=60"
    answered = False


class OfMoshi(Tongue):
    """moshi-server's path: MessagePack, a Step for each frame."""

    path = "/api/asr-streaming"
    _HEAD = b"\x84\xa4type\xa4Step\xa8step_idx"

    def audio(self, samples: Samples) -> bytes:
        return b"\x82\xa4type\xa5Audio\xa3pcm" + packing.singles(samples)

    def answers(self, message: bytes) -> int | None:
        if not message.startswith(self._HEAD):
            return None
        first = message[len(self._HEAD)]
        width = {0xCC: 1, 0xCD: 2, 0xCE: 4}.get(first, 0)
        begin = len(self._HEAD) + 1
        return int.from_bytes(message[begin : begin + width], "big") if width else first


TONGUES: dict[str, type[Tongue]] = {"stream": OfStream, "words": OfWords, "moshi": OfMoshi}


@dataclass
class Heard:
    """What the crowd lived through. Seconds."""

    answers: list[float] = field(default_factory=list)  # from a frame's last byte sent to its answer
    late: list[float] = field(default_factory=list)  # of each frame, after it was due
    asked: int = 0  # frames that are to be answered
    failed: list[str] = field(default_factory=list)  # streams that ended, a reason each


class _Caller:
    """One stream: a socket, when its frames were sent, and what is still on its way in and out."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.sent = list[float]()  # when the last byte of each frame went out
        self.answered = 0  # frames
        self.rest = b""  # of the newest message to the server
        self.held = b""  # the beginning of a message from the server

    def send(self, data: bytes, now: Callable[[], float]) -> None:
        """A frame; what the socket does not take goes with the next one."""
        data = self.rest + data if self.rest else data
        try:
            taken = self.socket.send(data)
        except BlockingIOError:
            taken = 0
        self.rest = data[taken:] if taken < len(data) else b""
        self.sent.append(now())

    def messages(self) -> list[tuple[int, bytes]]:
        """Whole messages that have come, with their opcodes. Raises OSError when the connection is over."""
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionResetError("the server has hung up")
        data, found, at = self.held + data if self.held else data, list[tuple[int, bytes]](), 0
        while (whole := _whole(data, at)) is not None:
            begin, end = whole
            found.append((data[at] & 15, data[begin:end]))
            at = end
        self.held = data[at:]
        return found


def _whole(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `at` begins and ends; None while it is not all there."""
    begin = at + 2
    if begin > len(data):
        return None
    length = data[at + 1]
    if length > 125:
        width = 2 if length == 126 else 8
        length = int.from_bytes(data[begin : begin + width], "big")
        begin += width
    return (begin, begin + length) if begin + length <= len(data) else None


def framed(opcode: int, payload: bytes) -> bytes:
    """A whole message of a client; its mask is zero, and costs the server what any other does."""
    length = len(payload)
    head = bytes([0x80 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + head + b"\0\0\0\0" + payload


class Crowd:
    """`with Crowd(url, OfStream(), samples, 500) as crowd: crowd.speak(...)`."""

    def __init__(self, url: str, tongue: Tongue, samples: Samples, streams: int) -> None:
        self._place, self._tongue, self._streams = urlsplit(url), tongue, streams
        whole = samples[: len(samples) // FRAME_SIZE * FRAME_SIZE].reshape(-1, FRAME_SIZE)
        self._frames = [framed(_BINARY, tongue.audio(np.ascontiguousarray(frame))) for frame in whole]
        self._callers = list[_Caller]()
        self._poll = select.epoll()

    def __enter__(self) -> Crowd:
        for _ in range(self._streams):
            caller = _Caller(self._connect())
            self._callers.append(caller)
            self._poll.register(caller.socket, select.EPOLLIN)
        self._by_number = {caller.socket.fileno(): caller for caller in self._callers}
        return self

    def __exit__(self, *error: object) -> None:
        for caller in self._callers:
            with caller.socket:
                if not error[0]:
                    caller.socket.setblocking(True)
                    caller.socket.settimeout(PATIENCE)
                    with contextlib.suppress(OSError):  # it was closed already, which `failed` has told
                        caller.socket.sendall(caller.rest + framed(_CLOSE, (1000).to_bytes(2, "big")))
        self._poll.close()

    def speak(self, seconds: float, unmeasured: float, mark: Callable[[], None]) -> Heard:
        """Every stream at real time, evenly apart. `mark` is called where the measured part begins and where it ends;
        `unmeasured` seconds come before it."""
        heard, streams = Heard(), self._streams
        first, asked = (round(part / FRAME_SECONDS) * streams for part in (unmeasured, seconds))
        total = first + asked
        clock, gap, number = time.perf_counter, FRAME_SECONDS / streams, 0
        gc_was = gc.isenabled()
        gc.disable()
        start = clock() + 0.1
        try:
            while number < total:
                for _ in range(BURST):
                    late = clock() - start - number * gap
                    if late < 0 or number == total:
                        break
                    if number == first:
                        mark()
                    if number >= first:
                        heard.late.append(late)
                    self._send(number, clock)
                    number += 1
                due = start + number * gap - clock()
                self._hear(max(0.0, due), heard, first // streams, clock)
            mark()
            deadline = clock() + PATIENCE
            frames = total // streams if self._tongue.answered else 0
            while clock() < deadline and any(caller.answered < frames for caller in self._by_number.values()):
                self._hear(0.05, heard, first // streams, clock)
        finally:
            if gc_was:
                gc.enable()
        heard.asked = asked if self._tongue.answered else 0
        return heard

    def _send(self, number: int, clock: Callable[[], float]) -> None:
        frame, who = divmod(number, self._streams)
        caller = self._callers[who]
        if caller.socket.fileno() in self._by_number:
            with contextlib.suppress(OSError):  # reading tells why
                caller.send(self._frames[(frame + 7 * who) % len(self._frames)], clock)

    def _hear(self, wait: float, heard: Heard, first: int, clock: Callable[[], float]) -> None:
        answers = self._tongue.answers
        for number, _ in self._poll.poll(wait):
            caller = self._by_number.get(number)
            if caller is None:
                continue
            try:
                for opcode, message in caller.messages():
                    if opcode == _PING:
                        caller.send(framed(_PONG, message), clock)
                        caller.sent.pop()
                    elif opcode == _CLOSE:
                        raise ConnectionResetError(f"{int.from_bytes(message[:2], 'big')} {message[2:].decode()}")
                    elif frame := answers(message):
                        if first < frame <= len(caller.sent) and frame > caller.answered:
                            heard.answers.append(clock() - caller.sent[frame - 1])
                        caller.answered = max(caller.answered, frame)
            except OSError as error:
                heard.failed.append(str(error))
                self._poll.unregister(number)
                del self._by_number[number]

    def _connect(self) -> socket.socket:
        assert self._place.hostname and self._place.port, f"a URL without a port: {self._place.geturl()}"
        connection = socket.create_connection((self._place.hostname, self._place.port), PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = (
            f"GET {self._tongue.path} HTTP/1.1\r\nHost: {self._place.netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        connection.sendall(head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += (more := connection.recv(1))
            if not more:
                break
        status = answer.split(b"\r\n", 1)[0].decode("latin-1")
        if " 101 " not in status:
            connection.close()
            raise VivavoceError(f"stream {len(self._callers) + 1} was not let in: {status or 'the server hung up'}")
        connection.setblocking(False)
        return connection


def cpu_seconds(pid: int) -> float:
    """Processor time, user's and system's, of all threads of a process so far. Raises VivavoceError without /proc."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            fields = file.read().rpartition(")")[2].split()
    except OSError as error:
        raise VivavoceError(f"the processor time of process {pid} cannot be read: {error.strerror}") from None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
