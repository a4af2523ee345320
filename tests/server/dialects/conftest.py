"""A server with the embedded model, one for all tests; others are started where a test needs other settings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vivavoce import audio

from ...example import EXAMPLE, WORDS
from ..process import Server
from .dialogue import KEY, Samples


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """http://host:port of a server with three slots that asks for a key."""
    with Server("--slots", "3", "--api-keys", KEY) as server:
        server.wait_ready()
        yield server.url


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
