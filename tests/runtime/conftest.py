"""The embedded model in an engine process of its own; what it says of the example is known from the transcriber."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vivavoce import Transcriber
from vivavoce.audio import load
from vivavoce.runtime import EngineSpec, Metrics, Runtime

from .driver import ANY_LOAD, Samples, Spoken, told

SLOTS = 4


@pytest.fixture(scope="session")
def recording() -> Samples:
    """Twenty-two digits, 11.5 s."""
    return load(Path(__file__).parents[2] / "examples" / "digits.flac")


@pytest.fixture(scope="session")
def digits(recording: Samples) -> Samples:
    """The first eleven of them, 5.5 s."""
    return recording[:132_000]


@pytest.fixture(scope="session")
def alone() -> Callable[[Samples], Spoken]:
    """What the library says of audio, without a server: the undisturbed run."""
    transcriber = Transcriber.load(device="cpu", batch_size=1)
    return lambda audio: [told(word) for word in transcriber.transcribe(audio)]


@pytest.fixture(scope="session")
def said(alone: Callable[[Samples], Spoken], digits: Samples) -> Spoken:
    words = alone(digits)
    assert len(words) == 11
    return words


@pytest.fixture(scope="session")
def all_said(alone: Callable[[Samples], Spoken], recording: Samples) -> Spoken:
    words = alone(recording)
    assert len(words) == 22
    return words


@pytest.fixture(scope="session")
def spec() -> EngineSpec:
    return EngineSpec(device="cpu", slots=SLOTS, threads=1)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the tests of a file, so that they can share an engine."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def runtime(runner: asyncio.Runner, spec: EngineSpec) -> Iterator[Runtime]:
    """An engine of four slots, ready; a test leaves no stream open."""

    async def start() -> Runtime:
        runtime = Runtime(spec, ANY_LOAD, Metrics())
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
