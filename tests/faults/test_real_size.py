"""The server with random weights of the released 1B model's shape, so that the real ones are a matter of download."""

from __future__ import annotations

import numpy as np
import psutil
import pytest

from ..server.dialects.dialogue import stream, types
from ..server.process import Server

FRAMES = 4


@pytest.mark.slow
def test_a_1b_model_is_loaded_warmed_up_and_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Needs some 6 GB and, on two cores, a few minutes; the port answers all the while."""
    monkeypatch.setattr("tests.server.process.PATIENCE", 900)
    monkeypatch.setattr("tests.server.dialects.dialogue.PATIENCE", 300)
    flags = "--model", "random:stt-1b", "--slots", "2", "--load-limit", "0", "--idle-seconds", "600"
    with Server(*flags) as server:
        loading = server.get("/ready")
        assert (loading.status, loading.json()["status"]) == (503, "loading")
        server.wait_ready()
        assert server.get("/ready").status == 200
        (engine,) = server.get("/api/status").json()["engines"]
        assert psutil.Process(engine["pid"]).memory_info().rss > 2e9
        with stream(server.url, "vad=true&idle=600") as client:
            assert client.next()["type"] == "ready"
            for _ in range(FRAMES):
                client.send(np.zeros(1_920, "<f4").tobytes())
            client.control("eos")
            heard = client.until_type("end")
            assert types(heard).count("vad") >= FRAMES
            assert client.close_code()[0] == 1000
        server.signal()
        assert server.wait() == 0
