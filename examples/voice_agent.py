"""A voice agent's loop: listens until the turn is over, asks an "LLM", speaks its answer, stops when interrupted.

    vivavoce serve
    python examples/voice_agent.py ws://localhost:8080 examples/digits.flac said.wav

A recording stands for the microphone and a file for the loudspeaker. The LLM here repeats what it was told; yours gets
the same text and gives its own, piece by piece as it is made.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np

from vivavoce import audio, core
from vivavoce.client import connect, connect_tts
from vivavoce.core import FRAME_SIZE, SAMPLE_RATE, Flushed, Speech, Token, TurnEnded


async def llm(text: str) -> AsyncIterator[str]:
    """Answers word by word, as language models do."""
    for word in text.split():
        yield f"{word} "


class Agent:
    """One conversation."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url, self._key = url, key
        self._heard = ""
        self._answer: asyncio.Task[None] | None = None
        self.spoken: list[np.ndarray] = []

    async def converse(self, microphone: AsyncIterator[np.ndarray]) -> None:
        """Until the microphone ends and the last answer is spoken."""
        async with connect(self._url, key=self._key) as ear:

            async def listen() -> None:
                async for samples in microphone:
                    await ear.send(samples)
                await ear.end()

            listening = asyncio.create_task(listen())
            async for event in ear:
                match event:
                    case Token(text):
                        self._heard += text
                        await self._interrupt()
                    case TurnEnded() if not listening.done():
                        await ear.flush()  # what is still on its way, at once instead of after the model's delay
                    case Flushed():
                        self._reply()
            await listening
            self._reply()
        if self._answer:
            await self._answer

    def _reply(self) -> None:
        text, self._heard = self._heard.strip(), ""
        if text:
            print(text)
            self._answer = asyncio.create_task(self._speak(text))

    async def _speak(self, text: str) -> None:
        async with connect_tts(self._url, key=self._key) as mouth:
            async with aclosing(llm(text)) as pieces:
                async for piece in pieces:
                    await mouth.say(piece)
            await mouth.end()
            async for event in mouth:
                if isinstance(event, Speech):
                    self.spoken.append(event.samples)

    async def _interrupt(self) -> None:
        """The caller speaks while we do: be silent."""
        if self._answer:
            self._answer.cancel()
            await asyncio.gather(self._answer, return_exceptions=True)
            self._answer = None


async def played(path: str) -> AsyncIterator[np.ndarray]:
    """A recording as a microphone gives it, and three seconds of silence."""
    samples = np.concatenate([audio.load(path), np.zeros(3 * SAMPLE_RATE, np.float32)])
    for start in range(0, len(samples), FRAME_SIZE):
        yield samples[start : start + FRAME_SIZE]
        await asyncio.sleep(core.FRAME_SECONDS)


async def main(url: str, source: str, target: str, key: str | None = None) -> None:
    agent = Agent(url, key)
    await agent.converse(played(source))
    audio.save(target, np.concatenate(agent.spoken))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
