"""What a caller, a stream and the engine may take: the one place where these numbers stand."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ByteSize, ConfigDict, Field

_MIB = 2**20
Seconds = Annotated[float, Field(gt=0)]
SecondsOrOff = Annotated[float, Field(ge=0)]
CountOrOff = Annotated[int, Field(ge=0)]
Bytes = Annotated[ByteSize, Field(gt=0)]


class Limits(BaseModel):
    """Frozen; `limits.model_copy(update={...})` changes some. Seconds, bytes and counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    queue_seconds: Seconds = Field(
        10, description="Audio of a stream that may wait for its step before the socket is not read."
    )
    event_backlog: int = Field(
        4096, ge=1, description="Events that a stream's reader may leave unread before it is closed (4008)."
    )
    send_seconds: Seconds = Field(
        10, description="How long one message to a client may take before it is closed (4008)."
    )
    idle_seconds: SecondsOrOff = Field(
        60, description="A stream is closed (4006) when nothing came for this long; 0: never."
    )
    session_seconds: SecondsOrOff = Field(14_400, description="The longest session (4002); 0: no limit.")
    resume_seconds: SecondsOrOff = Field(
        60, description="How long a stream whose connection was lost waits to be resumed; 0: not at all."
    )
    stall_seconds: Seconds = Field(
        10, description="An engine that does not answer for this long while frames wait is restarted."
    )
    heal_seconds: SecondsOrOff = Field(
        10, description="Speech without a word for this long begins the model's context afresh; 0: never."
    )
    ping_seconds: SecondsOrOff = Field(
        10, description="How often a quiet stream says ping, so that proxies keep the connection; 0: never."
    )
    drain_seconds: SecondsOrOff = Field(30, description="After SIGTERM, how long open streams may go on.")
    message_bytes: Bytes = Field(ByteSize(16 * _MIB), description="The largest message of a websocket (1009).")
    upload_bytes: Bytes = Field(ByteSize(512 * _MIB), description="The largest body of a request (413).")
    messages_per_second: CountOrOff = Field(
        200, description="Messages of one connection, ten times as many in a burst (4004); 0: no limit."
    )
    connections_per_key: CountOrOff = Field(
        0, description="Streams open at once with one key or account (4004); 0: no limit."
    )
    connections_per_address: CountOrOff = Field(
        0, description="Streams open at once from one address (4004); 0: no limit."
    )
