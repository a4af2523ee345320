"""The embedded model in an engine process of its own; what it says of the example is known from the transcriber."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from vivavoce import Transcriber
from vivavoce.audio import load
from vivavoce.runtime import EngineSpec, Limits, Metrics, Runtime

from .driver import Samples, Spoken, told

SLOTS = 4


@pytest.fixture(scope="session")
def digits() -> Samples:
    """Twenty-two digits, 11.5 s."""
    return load(Path(__file__).parents[2] / "examples" / "digits.flac")


@pytest.fixture(scope="session")
def said(digits: Samples) -> Spoken:
    """What the library alone says of it: the undisturbed run."""
    words = [told(word) for word in Transcriber.load(device="cpu", batch_size=1).transcribe(digits)]
    assert len(words) == 22
    return words


@pytest.fixture(scope="session")
def spec() -> EngineSpec:
    return EngineSpec(device="cpu", slots=SLOTS, threads=1)


@pytest.fixture
def limits() -> Limits:
    """Without a limit to the load: how fast the machine of the tests is must not matter."""
    return Limits(load_limit=0)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the tests of a file, so that they can share an engine."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def runtime(runner: asyncio.Runner, spec: EngineSpec) -> Iterator[Runtime]:
    """An engine of four slots, ready; a test leaves no stream open."""

    async def start() -> Runtime:
        runtime = Runtime(spec, Limits(load_limit=0), Metrics())
        await runtime.start()
        await runtime.wait_ready()
        return runtime

    runtime = runner.run(start())
    yield runtime
    runner.run(runtime.stop())


@pytest.fixture(autouse=True)
def _no_stream_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "runtime" in request.fixturenames:
        assert request.getfixturevalue("runtime").slots_used == 0
