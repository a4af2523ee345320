"""SIGUSR1: other engines, under the streams that are open."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vivavoce import Transcriber, audio
from vivavoce.settings import embedded

from ..example import EXAMPLE
from .dialects.dialogue import Json, stream
from .process import PATIENCE, Server

FLAGS = ("--slots", "4", "--threads", "1", "--load-limit", "0")
FRAME = 1920
Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def speech() -> Samples:
    """5.5 s, eleven digits."""
    return audio.load(EXAMPLE)[:132_000]


@pytest.fixture(scope="module")
def said(speech: Samples) -> list[str]:
    """The undisturbed run."""
    return [word.text for word in Transcriber.load(device="cpu", batch_size=1).transcribe(speech)]


@pytest.fixture(scope="module", params=["1", pytest.param("2", marks=pytest.mark.skipif(
    os.uname().sysname != "Linux", reason="the kernel spreads connections only there"))])  # fmt: skip
def running(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The embedded model, behind one process or two workers."""
    with Server(*FLAGS, "--workers", request.param) as server:
        server.wait_ready()
        yield server


def engine(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.get("/api/status").json()["engines"][0]
    return found


def until_another(server: Server, restarts: int) -> None:
    """Than that before which there were so many `restarts`."""
    deadline = time.monotonic() + PATIENCE
    while (now := engine(server))["restarts"] == restarts or now["state"] != "ready":
        assert time.monotonic() < deadline, server.text
        time.sleep(0.05)


def words(heard: list[dict[str, Any]]) -> list[str]:
    return [message["text"] for message in heard if message["type"] == "word"]


def test_streams_move_to_the_new_engine_and_lose_no_word(running: Server, speech: Samples, said: list[str]) -> None:
    before = engine(running)
    with contextlib.ExitStack() as stack:
        clients: list[Json] = [stack.enter_context(stream(running.url, "words=true&idle=60")) for _ in range(4)]
        for client in clients:
            client.send(speech[: 40 * FRAME].tobytes())
        heard = [client.until_type("word") for client in clients]
        running.signal(signal.SIGUSR1)
        until_another(running, before["restarts"])
        for client, told in zip(clients, heard, strict=True):
            client.send(speech[40 * FRAME :].tobytes())
            client.control("eos")
            told += client.until_type("end")
    assert [words(told) for told in heard] == [said] * 4
    after = engine(running)
    assert (after["restarts"], after["pid"] == before["pid"]) == (before["restarts"] + 1, False)
    assert running.metric('vivavoce_engine_restarts_total{module="stt",reason="requested"}') >= 1
    assert "Loading every engine anew, and moving the streams" in running.text


def test_an_engine_that_could_not_be_loaded_any_more_comes_back(
    running: Server, speech: Samples, said: list[str]
) -> None:
    while engine(running)["state"] != "broken":
        with contextlib.suppress(ProcessLookupError):
            os.kill(engine(running)["pid"], signal.SIGKILL)
        time.sleep(0.05)
    assert running.get("/ready").status == 503
    running.signal(signal.SIGUSR1)
    until_another(running, 0)
    with stream(running.url, "words=true") as client:
        client.send(speech.tobytes())
        client.control("eos")
        assert words(client.until_type("end")) == said


def test_without_another_engine_all_stays_as_it_is(tmp_path: Path, speech: Samples, said: list[str]) -> None:
    model = shutil.copytree(embedded(), tmp_path / "model")
    with Server(*FLAGS, "--model", str(model)) as server:
        server.wait_ready()
        before = engine(server)
        with stream(server.url, "words=true") as client:
            client.send(speech[: 40 * FRAME].tobytes())
            heard = client.until_type("word")
            config = (model / "config.json").read_text()
            (model / "config.json").unlink()
            server.signal(signal.SIGUSR1)
            server.wait_for("There is no other engine for stt, all stays as it is")
            assert "config.json" in server.lines[-1]
            client.send(speech[40 * FRAME :].tobytes())
            client.control("eos")
            assert words(heard + client.until_type("end")) == said
        assert (engine(server)["pid"], engine(server)["state"]) == (before["pid"], "ready")
        (model / "config.json").write_text(config)
        server.signal(signal.SIGUSR1)  # and another time
        until_another(server, before["restarts"])


def test_a_server_that_is_told_to_end_meanwhile_ends() -> None:
    with Server(*FLAGS) as server:
        server.wait_ready()
        server.signal(signal.SIGUSR1)
        server.wait_for("Loading every engine anew")
        server.signal()
        assert server.wait() == 0
        assert "Traceback" not in server.text
