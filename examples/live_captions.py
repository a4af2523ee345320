"""Captions of a recording while it plays: each line of the screen as soon as it is said.

    vivavoce serve
    python examples/live_captions.py ws://localhost:8080 examples/digits.flac

A third argument is the speed; 0 is as fast as the server hears.
"""

import asyncio
import sys

from vivavoce import audio
from vivavoce.client import connect
from vivavoce.core import FRAME_SECONDS, Token, TurnEnded, WordStarted

LONGEST = 42  # characters of a line


async def main(url: str, path: str, speed: str = "1") -> None:
    async with connect(url, live=float(speed) > 0) as stream:

        async def play() -> None:
            for samples in audio.blocks(path, FRAME_SECONDS):
                await stream.send(samples)
                if float(speed):
                    await asyncio.sleep(FRAME_SECONDS / float(speed))
            await stream.end()

        playing = asyncio.create_task(play())
        line = began = ""
        async for event in stream:
            match event:
                case WordStarted(_, start) if not began:
                    began = f"{int(start // 60):02}:{start % 60:05.2f}"
                case Token(text):
                    if text.startswith(" ") and len(line + text) > LONGEST:
                        print(began, line.strip())
                        line = began = ""
                    line += text
                case TurnEnded() if line:
                    print(began, line.strip())
                    line = began = ""
        if line:
            print(began, line.strip())
        await playing


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
