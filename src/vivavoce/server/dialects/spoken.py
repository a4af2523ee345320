"""Texts' speech as the answer to one request, sent while it is spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from starlette.requests import Request

from vivavoce.core import Fault, Speech, SpeechEvent, StreamError, UnsupportedError
from vivavoce.runtime import SpeechStream

from ..errors import Refused
from ..gate import Admitted
from ..journal import Journal
from .caller import first_of
from .patient import Patient, watch


class Telling(Protocol):
    """What events become in the answer's body."""

    @property
    def media_type(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...

    def begin(self) -> bytes: ...
    def tell(self, event: SpeechEvent) -> bytes: ...
    def end(self) -> bytes: ...


async def read_body(request: Request, most: int) -> bytes:
    """The whole body. Raises StreamError(TOO_LARGE)."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise StreamError(Fault.TOO_LARGE, f"the body has more than {most} bytes; that is the limit of a text")
    return bytes(data)


def check(stream: SpeechStream, turns: Sequence[str]) -> None:
    """Raises Refused, which a status can still tell, for a word that the model cannot say."""
    try:
        for turn in turns:
            stream.check(turn)
    except UnsupportedError as error:
        raise Refused(Fault.INVALID_MESSAGE, "unknown_word", str(error)) from None


async def say(stream: SpeechStream, turns: Sequence[str]) -> None:
    """Says them, the turns of two speakers, and does not return."""
    for number, turn in enumerate(turns):
        await stream.say(turn, whole=True, speaker=number % 2)
    stream.end()
    await asyncio.Event().wait()  # for the last words


async def answer(
    request: Request,
    stream: SpeechStream,
    turns: Sequence[str],
    journal: Journal,
    send: Patient,
    telling: Telling,
    admitted: Admitted,
) -> None:
    """The whole answer. Raises StreamError for a fault, also when the client has gone."""

    async def tell() -> None:
        await send.start(telling.media_type, telling.headers)
        if head := telling.begin():
            await send.body(head)
        async for event in stream.events():
            journal.saw(event)
            if isinstance(event, Speech):
                await admitted.pay(len(event.samples))
            if data := telling.tell(event):
                await send.body(data)
        await send.body(telling.end(), more=False)

    await first_of(tell(), say(stream, turns), watch(request))
