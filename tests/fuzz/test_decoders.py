"""Whatever a caller sends means something or is refused; a million inputs are bench/fuzz.py's."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vivavoce.server.dialects.moshi_codec import decode

from .decoders import decoders
from .mutate import mutated

NAMES = list(decoders())
SLOW = {"settings (TOML)", "recordings (POST)"}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Damage is warned of, again and again."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    yield
    logging.disable(before)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_understands_is_understood(name: str) -> None:
    for seed in decoders()[name].seeds:
        decoders()[name].target(seed)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=400))
def test_any_bytes_mean_something_or_are_refused(name: str, data: bytes) -> None:
    decoders()[name].target(data)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_damaged_means_something_or_is_refused(name: str) -> None:
    draw = random.Random(name)
    for _ in range(50 if name in SLOW else 400):
        data = mutated(draw, decoders()[name].seeds)
        try:
            decoders()[name].target(data)
        except Exception as error:
            raise AssertionError(f"a crash of {name} by {data!r}") from error


def test_a_signalling_nan_among_numbers_of_other_widths_is_read_in_silence() -> None:
    """Found by bench/fuzz.py: numpy warned of it, once for each server, in nobody's name."""
    message = bytes.fromhex("82a474797065a5417564696fa370636d 92 00 ca7fa00000")
    (first, second) = decode(message).pcm
    assert first == 0
    assert math.isnan(second)


def test_a_repository_that_cannot_be_one_is_an_error_of_the_settings() -> None:
    """Found by bench/fuzz.py: it was one of the checkpoint, without the file and the table."""
    config = decoders()["settings (TOML)"].seeds[0]
    decoders()["settings (TOML)"].target(config.replace(b"hf://kyutai/", b"hf://ky[tai/"))
