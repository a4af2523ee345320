"""What Home Assistant does with a Wyoming server: asks what it has, says a sentence, hears what was said.

    vivavoce serve --wyoming tcp://127.0.0.1:10300
    python examples/home_assistant.py 127.0.0.1 10300 "four one five"

In Home Assistant itself: Settings, Devices & services, Add integration, Wyoming Protocol, with this host and port.
Needs the package wyoming.
"""

import asyncio
import sys

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize


async def heard(client: AsyncTcpClient) -> Event:
    """The next event."""
    event = await client.read_event()
    if event is None:
        sys.exit("the server has closed the connection")
    if Error.is_type(event.type):
        sys.exit(Error.from_event(event).text)
    return event


async def main(host: str, port: str, text: str) -> None:
    async with AsyncTcpClient(host, int(port)) as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await heard(client))
        print("hears:", ", ".join(model.name for program in info.asr for model in program.models))
        print("speaks:", ", ".join(voice.name for program in info.tts for voice in program.voices))

        await client.write_event(Synthesize(text=text).event())
        spoken: list[AudioChunk] = []
        while not AudioStop.is_type((event := await heard(client)).type):
            if AudioChunk.is_type(event.type):
                spoken.append(AudioChunk.from_event(event))

        await client.write_event(Transcribe().event())
        await client.write_event(AudioStart(spoken[0].rate, spoken[0].width, spoken[0].channels).event())
        for chunk in spoken:
            await client.write_event(chunk.event())
        await client.write_event(AudioStop().event())
        while not Transcript.is_type((event := await heard(client)).type):
            pass
        print("heard:", Transcript.from_event(event).text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
