"""What a connection tells besides the words: events between the core ones, in their order."""

from __future__ import annotations

from dataclasses import dataclass

from vivavoce import core
from vivavoce.core import Fault


@dataclass(frozen=True, slots=True)
class Connected:
    """The server listens; `resumed` where it went on with the session that a lost connection had."""

    url: str  # without secrets
    dialect: str
    session: str | None  # None where the server cannot resume
    model: str | None
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection was lost or refused and is tried again in `retry_in` seconds; nothing is lost so far."""

    reason: str
    fault: Fault | None  # None where the server said nothing
    retry_in: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Audio between these times (seconds of the stream) may not have been heard: words may be missing there."""

    start: float
    stop: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """More audio waited than is kept: `seconds` of it, from `start` on, were thrown away."""

    start: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ServerError:
    """The server complains; if it is serious it closes the connection next."""

    fault: Fault
    message: str


ConnectionEvent = Connected | Disconnected | Gap | Dropped | ServerError
ClientEvent = core.Event | ConnectionEvent
