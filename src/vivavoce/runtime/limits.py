"""What a stream may take of the server, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one stream and of its engine; times in seconds."""

    queue_seconds: float = 10.0  # of audio that may wait for the engine; push waits beyond it
    event_backlog: int = 4096  # events that may wait unread; beyond it SLOW_READER
    idle_seconds: float = 60.0  # without audio; then CLIENT_TIMEOUT; 0 is no limit
    session_seconds: float = 14_400.0  # then SESSION_TIMEOUT; 0 is no limit
    resume_seconds: float = 60.0  # for which a parked stream is kept
    stall_seconds: float = 10.0  # without an answer of the engine; then it is killed and begun afresh
    heal_seconds: float = 10.0  # of speech without a word; then the model's context is begun afresh; 0 is never
    load_limit: float = 0.9  # of 80 ms that a step of all streams may take, above which newcomers are refused; 0 is any
