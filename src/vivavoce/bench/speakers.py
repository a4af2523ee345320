"""Who is made to speak: a server, or a model in this process."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, Protocol

from vivavoce.client import Patience, connect_tts, redacted, spoken
from vivavoce.client.services import Service
from vivavoce.core import VivavoceError
from vivavoce.synthesizer import Synthesizer

from .speech import Ear, Load, Run
from .targets import explain

_PATIENCE = Patience(first=0.0)  # a refusal is a result


class Speaker(Protocol):
    name: str

    async def together(self, texts: list[str]) -> list[Run | str]:
        """Speak them all at once; for each what was measured, or why not."""


class RemoteSpeaker:
    """A server, a connection a text."""

    def __init__(self, service: Service, manner: dict[str, Any]) -> None:
        self.name = redacted(service.url)
        options = {name: value for name, value in service.options().items() if name != "dialect"}
        self._url, self._options = service.url, {**options, **manner, "patience": _PATIENCE}

    async def together(self, texts: list[str]) -> list[Run | str]:
        return await asyncio.gather(*map(self._one, texts))

    async def _one(self, text: str) -> Run | str:
        clock = asyncio.get_running_loop().time
        called = clock()
        try:
            async with connect_tts(self._url, **self._options) as stream:
                assert stream.opened is not None, "a stream that was entered has a websocket"
                ear = Ear(clock(), stream.opened - called)
                async for event in spoken(stream, [text]):
                    ear.hear(event, clock())
        except VivavoceError as error:
            return explain(error)
        return ear.run()


class LocalSpeaker:
    """A model in this process; its batch must hold as many as speak at once."""

    def __init__(self, synthesizer: Synthesizer, manner: dict[str, Any]) -> None:
        self.name = synthesizer.name
        self._synthesizer, self._manner = synthesizer, manner

    async def together(self, texts: list[str]) -> list[Run | str]:
        begun = perf_counter()
        ears = [Ear(begun) for _ in texts]
        for index, event in self._synthesizer.streams(([text] for text in texts), **self._manner):
            ears[index].hear(event, perf_counter())
        return [ear.run() for ear in ears]


async def load(speaker: Speaker, text: str, streams: int, runs: int) -> Load:
    """`runs` rounds of so many streams at once."""
    results, begun = list[Run | str](), perf_counter()
    for _ in range(runs):
        results += await speaker.together([text] * streams)
    return Load(streams, results, perf_counter() - begun)
