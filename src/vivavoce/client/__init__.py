"""The client: live streams to a vivavoce server, or to any that speaks one of its dialects.

async with connect("ws://localhost:8080") as stream:
    await stream.send(samples)
    await stream.end()
    async for event in stream:
        print(event)

print(say("ws://localhost:8080", "four one five").duration)
"""

from .address import AddressError, redacted
from .connect import connect, connect_tts
from .events import ClientEvent, Connected, ConnectionEvent, Disconnected, Dropped, Gap, ServerError
from .faults import ConnectionFailedError
from .recording import Heard, hear, transcribe
from .saying import say, speak, spoken
from .speech import TtsStream
from .stream import Patience, SttStream
from .voices import KnownVoices, voices

__all__ = [
    "AddressError",
    "ClientEvent",
    "Connected",
    "ConnectionEvent",
    "ConnectionFailedError",
    "Disconnected",
    "Dropped",
    "Gap",
    "Heard",
    "KnownVoices",
    "Patience",
    "ServerError",
    "SttStream",
    "TtsStream",
    "connect",
    "connect_tts",
    "hear",
    "redacted",
    "say",
    "speak",
    "spoken",
    "transcribe",
    "voices",
]
