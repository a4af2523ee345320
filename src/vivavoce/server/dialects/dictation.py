"""Text as it comes in, speech as it comes out: one connection of text to speech, whatever is spoken over it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from vivavoce.core import Fault, Speech, SpeechEvent, StreamError, VivavoceError
from vivavoce.runtime import SpeechStream

from ..journal import Journal
from . import speech_codec
from .caller import Caller, first_of
from .msgpack import invalid
from .orders import Order, Orders

logger = logging.getLogger(__name__)
MOST_BAD_MESSAGES = 20  # in a row


class Tongue(Protocol):
    """What a dialect says and understands."""

    def begin(self) -> Iterable[bytes | str]:
        """What comes before all else."""

    def decode(self, message: bytes | str) -> speech_codec.Request:
        """One message of the caller. Raises StreamError(INVALID_MESSAGE)."""

    def tell(self, event: SpeechEvent) -> Iterable[bytes | str]:
        """The messages of one event."""

    def complaint(self, error: StreamError) -> bytes | str | None:
        """Why a message was not taken; None: there is no word for that, and the stream ends."""


class Dictation:
    """One connection, from its first message until everything was said."""

    def __init__(self, caller: Caller, stream: SpeechStream, tongue: Tongue, journal: Journal) -> None:
        self._caller, self._stream, self._tongue, self._journal = caller, stream, tongue, journal
        self._orders = Orders()
        self._bad = 0  # messages in a row

    async def run(self) -> None:
        """Until everything was said. Raises WebSocketDisconnect, and StreamError for a fault."""
        for message in self._tongue.begin():
            await self._caller.say(message)
        await first_of(self._speak(), self._listen(), self._obey())

    async def _speak(self) -> None:
        async for event in self._stream.events():
            self._journal.saw(event)
            if isinstance(event, Speech):
                await self._caller.admitted.pay(len(event.samples))
            for message in self._tongue.tell(event):
                await self._caller.say(message)

    async def _listen(self) -> None:
        """Reads on while text waits to be taken, so that an interruption is heard at once."""
        while True:
            order = self._decoded(await self._caller.hear(counted=False))
            if not (isinstance(order, StreamError) or (isinstance(order, speech_codec.Text) and order.text.strip())):
                self._caller.count()  # words are paced by their queue, everything else by the number of messages
            match order:
                case speech_codec.Ping():
                    self._stream.keepalive()
                case speech_codec.Clear():
                    for waiting in self._orders.take_all():
                        if not isinstance(waiting, speech_codec.Text):  # which is all that it drops
                            await self._heed(waiting)
                    self._stream.clear()
                case _:
                    await self._orders.put(order)

    def _decoded(self, message: bytes | str) -> Order:
        try:
            return self._tongue.decode(message)
        except StreamError as error:
            return error

    async def _obey(self) -> None:
        while True:
            await self._heed(await self._orders.take())

    async def _heed(self, order: Order) -> None:
        try:
            await self._do(order)
            self._bad = 0
        except StreamError as error:
            if error.fault is not Fault.INVALID_MESSAGE:
                raise
            await self._complain(error)
        except VivavoceError as error:  # of the session: what cannot be taken now
            await self._complain(invalid(str(error)))

    async def _do(self, order: Order) -> None:
        match order:
            case speech_codec.Text(text) if self._stream.ended and not text.strip():
                self._stream.keepalive()
            case speech_codec.Text(text, whole):
                await self._stream.say(text, whole=whole)
            case speech_codec.Voice(embedding):
                self._stream.voice(embedding)
            case speech_codec.Flush(id):
                self._stream.flush(id)
            case speech_codec.Eos():
                self._stream.end()
            case StreamError():
                raise order

    async def _complain(self, error: StreamError) -> None:
        self._bad += 1
        if self._bad >= MOST_BAD_MESSAGES:
            raise invalid(f"{self._bad} bad messages in a row; the last: {error}")
        complaint = self._tongue.complaint(error)
        if complaint is None:
            raise error
        logger.info("A bad message: %s", error)
        await self._caller.say(complaint)
