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
        10, description="Audio of a stream that may wait for its step; beyond it the socket is not read."
    )
    event_backlog: int = Field(4096, ge=1, description="Events that may wait unread; beyond it 4008.")
    send_seconds: Seconds = Field(10, description="What one message to a client may take; beyond it 4008.")
    idle_seconds: SecondsOrOff = Field(60, description="Without a message, a stream is closed with 4006; 0: never.")
    session_seconds: SecondsOrOff = Field(14_400, description="The longest session; beyond it 4002; 0: no limit.")
    resume_seconds: SecondsOrOff = Field(60, description="How long a lost stream waits to be resumed; 0: not at all.")
    stall_seconds: Seconds = Field(
        10, description="An engine silent for this long while frames wait is restarted, and so is a worker."
    )
    heal_seconds: SecondsOrOff = Field(
        10, description="Speech without a word for this long begins the model's context afresh; 0: never."
    )
    ping_seconds: SecondsOrOff = Field(10, description="How often a quiet stream says ping; 0: never.")
    drain_seconds: SecondsOrOff = Field(30, description="After SIGTERM, how long open streams may go on.")
    load_limit: float = Field(
        0.9,
        ge=0,
        description="Share of 80 ms that a step of all streams may take; newcomers beyond it get 1013; 0: any.",
    )
    message_bytes: Bytes = Field(ByteSize(16 * _MIB), description="The largest message of a websocket; beyond it 1009.")
    upload_bytes: Bytes = Field(ByteSize(512 * _MIB), description="The largest body of a request; beyond it 413.")
    upload_seconds: Seconds = Field(
        60, description="What the body of a request may take, and a second more for each kilobyte; beyond it 408."
    )
    messages_per_second: CountOrOff = Field(
        200, description="Messages of one connection, ten times as many in a burst; beyond it 4004; 0: no limit."
    )
    connections_per_key: CountOrOff = Field(0, description="Streams at once with one key or account; 0: no limit.")
    connections_per_address: CountOrOff = Field(0, description="Streams at once from one address; 0: no limit.")
