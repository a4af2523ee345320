"""SIGUSR1: other engines, under the streams that are open."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vivavoce.settings import embedded

from ..example import HALF_WORDS, half
from .dialects.dialogue import Json, stream, words
from .process import PATIENCE, Server, needs_linux

FLAGS = ("--slots", "4", "--threads", "1", "--load-limit", "0")
FRAME = 1920
Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def speech() -> Samples:
    """5.5 s, HALF_WORDS."""
    return half()


@pytest.fixture(scope="module", params=["1", pytest.param("2", marks=needs_linux)])
def running(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The embedded model, behind one process or two workers."""
    with Server(*FLAGS, "--workers", request.param) as server:
        server.wait_ready()
        yield server


def until_another(server: Server, restarts: int) -> None:
    """Than that before which there were so many `restarts`."""
    deadline = time.monotonic() + PATIENCE
    while (now := server.engine())["restarts"] == restarts or now["state"] != "ready":
        assert time.monotonic() < deadline, server.text
        time.sleep(0.05)


def test_streams_move_to_the_new_engine_and_lose_no_word(running: Server, speech: Samples) -> None:
    before = running.engine()
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
    assert [words(told) for told in heard] == [HALF_WORDS] * 4
    after = running.engine()
    assert (after["restarts"], after["pid"] == before["pid"]) == (before["restarts"] + 1, False)
    assert running.metric('vivavoce_engine_restarts_total{module="stt",reason="requested"}') >= 1
    assert "Loading every engine anew, and moving the streams" in running.text


def test_an_engine_that_could_not_be_loaded_any_more_comes_back(running: Server, speech: Samples) -> None:
    while running.engine()["state"] != "broken":
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.engine()["pid"], signal.SIGKILL)
        time.sleep(0.05)
    assert running.get("/ready").status == 503
    running.signal(signal.SIGUSR1)
    until_another(running, 0)
    with stream(running.url, "words=true") as client:
        client.send(speech.tobytes())
        client.control("eos")
        assert words(client.until_type("end")) == HALF_WORDS


def test_without_another_engine_all_stays_as_it_is(tmp_path: Path, speech: Samples) -> None:
    model = shutil.copytree(embedded(), tmp_path / "model")
    with Server(*FLAGS, "--model", str(model)) as server:
        server.wait_ready()
        before = server.engine()
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
            assert words(heard + client.until_type("end")) == HALF_WORDS
        assert (server.engine()["pid"], server.engine()["state"]) == (before["pid"], "ready")
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
