"""What a server's front-end workers and its main process tell each other of the one engine that they share.

Besides these the line carries what any server and its engine's process say: the hub passes it on.
"""

from __future__ import annotations

import msgspec

from .message import Message
from .messages import FromEngine, Ready, ToEngine
from .speech_messages import ReadyToSpeak

# --- from a worker ---


class Hold(Message):
    """A stream needs a slot; `key` is the worker's name for it. Answered by `Given` or `Denied`."""

    key: int


class Yield(Message):
    """It needs none any more, also if it was not answered yet."""

    key: int


class Parked(Message):
    """Its caller has gone, so that others may have the slot, or has come back."""

    key: int
    parked: bool


class Fetch(Message):
    """A stream that another worker may have is wanted here, with its slot; answered by `Luggage`."""

    key: int
    id: str


class HandedOver(Message):
    """What was wanted: the stream is here no more. `luggage` is empty if it never was, `key` -1 if it had no slot."""

    wanted: int  # the asker's key
    key: int
    luggage: bytes


class Verdict(Message):
    """What was said before was for the engine that is gone. Whether it is known of whose work that died, and whether
    others are suspected of it."""

    convicted: bool
    suspects: bool


class TrialOver(Message):
    """No stream here has to be alone with the engine any more."""


class Stall(Message):
    """The engine owes answers, and has not given any for so many seconds."""

    seconds: float


# --- to a worker ---


class Adopt(Message):
    """An engine is ready; `for_all` or, until `ForAll`, for those alone that are tried."""

    ready: Ready | ReadyToSpeak
    for_all: bool
    restarts: int


class ForAll(Message):
    """Nobody is tried any more."""


class Gone(Message):
    """The engine has ended; another will come. To be answered by `Verdict`."""

    at_fault: bool
    stalled: bool


class Broken(Message):
    """No other engine will come."""

    reason: str
    exit_code: int


class Given(Message):
    """A slot."""

    key: int
    slot: int


class Denied(Message):
    """Every slot is taken by a stream whose caller is there."""

    key: int


class Evict(Message):
    """The slot of this parked stream is wanted; answered by `Yield`, unless the caller has come back meanwhile."""

    key: int


class HandOver(Message):
    """Another worker wants this stream; answered by `HandedOver`."""

    wanted: int
    id: str


class Luggage(Message):
    """The stream that was wanted, empty if there is none; `slot` is -1 if it has none."""

    key: int
    slot: int
    luggage: bytes


class Occupied(Message):
    """Slots that the streams of other workers have, and how many of those are parked."""

    slots: int
    parked: int


Ours = Hold | Yield | Parked | Fetch | HandedOver | Verdict | TrialOver | Stall
ToWorker = FromEngine | Adopt | ForAll | Gone | Broken | Given | Denied | Evict | HandOver | Luggage | Occupied

decode_to_hub = msgspec.msgpack.Decoder(list[ToEngine | Ours]).decode
decode_to_worker = msgspec.msgpack.Decoder(list[ToWorker]).decode
