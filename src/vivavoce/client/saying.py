"""A whole text through a server: what it became."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any

from vivavoce.core import Flush, SpeechEvent, Utterance
from vivavoce.session.utterance import utterance

from .connect import connect_tts
from .speech import TtsStream

Texts = AsyncIterable[str | Flush] | Iterable[str | Flush]  # pieces cut anywhere


def say(url: str, text: str, **options: Any) -> Utterance:
    """A text as a server speaks it. `options` are those of `connect_tts`; raises what it raises."""

    async def run() -> Utterance:
        async with connect_tts(url, **options) as stream:
            return await speak(stream, [text])

    return asyncio.run(run())


async def speak(stream: TtsStream, texts: Texts, told: Callable[[SpeechEvent], None] | None = None) -> Utterance:
    """Say pieces of text as they come, and end; all that was spoken. `told` is told each event."""
    events = list[SpeechEvent]()
    async for event in spoken(stream, texts):
        events.append(event)
        if told is not None:
            told(event)
    return utterance(events)


async def spoken(stream: TtsStream, texts: Texts) -> AsyncIterator[SpeechEvent]:
    """The events of a stream while pieces of text are said to it, and flushes asked for, as they come; then its end."""
    writer = asyncio.create_task(_write(stream, texts))
    try:
        async for event in stream:
            yield event
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


async def _write(stream: TtsStream, texts: Texts) -> None:
    try:
        if isinstance(texts, AsyncIterable):
            async for text in texts:
                await _say(stream, text)
        else:
            for text in texts:
                await _say(stream, text)
        await stream.end()
    except Exception as error:  # raised where the events are read
        await stream.close(error)


async def _say(stream: TtsStream, text: str | Flush) -> None:
    if isinstance(text, Flush):
        await stream.flush(text.id)
    else:
        await stream.say(text)
