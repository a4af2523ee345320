"""A server with the embedded model, one for all tests; others are started where a test needs other settings."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from vivavoce import audio

from ...example import EXAMPLE, WORDS
from ..process import Server
from .dialogue import KEY, PATIENCE, Samples


@pytest.fixture(scope="session")
def three_slots() -> Iterator[Server]:
    """A server that asks for a key."""
    with Server("--slots", "3", "--api-keys", KEY) as server:
        server.wait_ready()
        yield server


@pytest.fixture
def url(three_slots: Server) -> str:
    """http://host:port of that server, once it has seen the clients of the test before leave."""
    deadline = time.monotonic() + PATIENCE
    while three_slots.metric('vivavoce_streams{module="stt",state="live"}'):
        assert time.monotonic() < deadline, "a test has left a stream behind"
        time.sleep(0.05)
    return three_slots.url


@pytest.fixture(scope="session")
def digits() -> Samples:
    """11.5 s of spoken digits at 24 kHz."""
    return audio.load(EXAMPLE)


@pytest.fixture(scope="session")
def three_digits(digits: Samples) -> Samples:
    """zero two zero, and the pause behind them: 27 frames."""
    return np.ascontiguousarray(digits[: 27 * 1920])


@pytest.fixture(scope="session")
def said() -> list[str]:
    return WORDS
