"""A real server with the embedded model, short patience and many slots; it must be whole again after every fault."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from vivavoce import audio
from vivavoce.bench.clip import EXAMPLE, Clip

from ..server.process import Server
from .witness import Spoken, alone

SLOTS = 12
LIMITS = {
    "slots": SLOTS, "threads": 1, "load-limit": 0, "resume-seconds": 1, "send-seconds": 1,
    "event-backlog": 500,
}  # fmt: skip
PATIENCE = 60  # seconds; a bound for what hangs, no measurement


@pytest.fixture(scope="session")
def long_clip() -> Clip:
    """Twenty-two digits, 11.5 s."""
    return Clip("digits", audio.load(EXAMPLE), None, 0.0)


@pytest.fixture(scope="session")
def clip(long_clip: Clip) -> Clip:
    """The first three of them and the pause behind them, 27 frames."""
    return Clip("three digits", np.ascontiguousarray(long_clip.samples[: 27 * 1920]), None, 0.0)


@pytest.fixture(scope="session")
def pcm(clip: Clip) -> bytes:
    """The same as /v1/stream takes it."""
    return clip.samples.astype("<f4").tobytes()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    flags = [text for name, value in LIMITS.items() for text in (f"--{name}", str(value))]
    with Server(*flags) as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="session")
def said(server: Server, clip: Clip) -> Spoken:
    """What a lone stream says of the clip."""
    words = alone(server.url, clip)
    assert [text for text, *_ in words] == ["zero", "two", "zero"]
    return words


@pytest.fixture
def url(server: Server, said: Spoken) -> Iterator[str]:
    """The server's; behind the test the same engine still serves, and every slot is free."""
    before = server.engine()
    yield server.url
    every_slot_is_free(server)
    after = server.engine()
    assert (after["pid"], after["restarts"], after["state"]) == (before["pid"], before["restarts"], "ready")


def every_slot_is_free(server: Server) -> None:
    deadline = time.monotonic() + PATIENCE
    while (used := server.engine()["used_slots"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert used == 0, f"{used} slots are lost"
