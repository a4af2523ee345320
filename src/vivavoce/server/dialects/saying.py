"""One text in a POST, its speech in the answer while it is spoken; a dialect says what a request asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vivavoce.settings import ServeSettings

from ..gate import Admitted, Gate
from ..journal import Journal
from .choice import Speaking
from .opening import open_speech, speech_options
from .patient import Patient
from .spoken import Telling, answer, check
from .waiting import when_free


@dataclass(frozen=True)
class Wish:
    """What one request asks for."""

    text: str
    offer: Speaking
    voice: str | None  # None is the module's own
    telling: Callable[[], Telling]  # made once the text may be spoken


Read = Callable[[Request], Awaitable[Wish]]  # reads query and body; raises Refused


class SayingPost:
    """The endpoint."""

    def __init__(self, gate: Gate, settings: ServeSettings, dialect: str, read: Read) -> None:
        self._gate, self._send_seconds, self._dialect, self._read = gate, settings.send_seconds, dialect, read

    async def __call__(self, request: Request) -> Response:
        """Raises StreamError."""
        admitted = await self._gate.admit(request, "tts")
        return _Answer(request, admitted, self._read, self._dialect, self._send_seconds)


class _Answer(Response):
    """The answer to one POST; it holds the caller's place at the gate until it is given."""

    def __init__(self, request: Request, admitted: Admitted, read: Read, dialect: str, send_seconds: float) -> None:
        super().__init__()
        self._request, self._admitted, self._read = request, admitted, read
        self._dialect, self._send_seconds = dialect, send_seconds

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        with self._admitted:
            wish = await self._read(self._request)
            module, runtime = wish.offer.module, wish.offer.runtime
            options = speech_options(module, voices=wish.voice and (wish.voice,))
            stream = await when_free(self._request, runtime, lambda: open_speech(runtime, options))
            try:
                check(stream, [wish.text])
                with Journal(stream, runtime.name, dialect=self._dialect, who=self._admitted.who) as journal:
                    client = Patient(send, self._send_seconds)
                    await answer(self._request, stream, [wish.text], journal, client, wish.telling(), self._admitted)
            finally:
                stream.close()
