"""`vivavoce serve --workers 2`: one server for whoever connects, in several processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from vivavoce import Transcriber
from vivavoce.server.listen import ListenError, beside, reserve_at
from vivavoce.server.sums import Sums
from vivavoce.server.workers import demand_linux
from vivavoce.settings import ServeSettings

from ..example import half
from .process import PATIENCE, Server, needs_linux

TRIES = 40  # connections, each of which reaches either worker as likely
KEYS = ("--api-keys", "one,two", "--connections-per-key", "3")

pytestmark = needs_linux


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """The embedded model in four slots."""
    with Server("--slots", "4", "--threads", "1", "--load-limit", "0", "--workers", "2") as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def speech() -> bytes:
    """5.5 s, eleven digits."""
    return half().tobytes()


@pytest.fixture(scope="module")
def said(speech: bytes) -> list[str]:
    """The undisturbed run."""
    transcript = Transcriber.load(device="cpu", batch_size=1).transcribe(np.frombuffer(speech, np.float32))
    return [word.text for word in transcript]


def talk(server: Server, query: str = "", key: str = "") -> connect:
    headers = {"kyutai-api-key": key} if key else {}
    return connect(
        server.url.replace("http", "ws") + "/v1/stream?words=true" + query, proxy=None, additional_headers=headers
    )


async def hear(socket: ClientConnection, until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """All messages up to one."""
    told = list[dict[str, Any]]()
    async with asyncio.timeout(PATIENCE):
        while not (told and until(told[-1])):
            told.append(json.loads(await socket.recv()))
    return told


def is_type(type: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message["type"] == type


def words(told: list[dict[str, Any]]) -> list[str]:
    return [message["text"] for message in told if message["type"] == "word"]


def streams(server: Server, key: str = "") -> list[int]:
    """Of each worker."""
    status = server.get("/api/status", {"kyutai-api-key": key}).json()
    counts = [worker["streams"] for worker in status["workers"]]
    assert len(counts) == 2
    return counts


def pids_of_ready(server: Server) -> set[int]:
    """Of the workers."""
    return {worker["pid"] for worker in server.get("/api/status").json()["workers"] if worker["ready"]}


def in_use(server: Server) -> int:
    """Slots, of all that are there."""
    capacity: dict[str, int] = server.get("/api/status").json()["capacity"]
    assert capacity["used_slots"] + capacity["available_slots"] == capacity["total_slots"]
    return capacity["used_slots"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def spread(server: Server, key: str = "", query: str = "") -> AsyncIterator[list[ClientConnection]]:
    """Two streams, one at each worker; their first message is still to be read."""
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(talk(server, query, key))
        for _ in range(TRIES):
            second = await stack.enter_async_context(talk(server, query, key))
            if await asyncio.to_thread(streams, server, key) == [1, 1]:
                break
            await second.close()
            await until(lambda: sum(streams(server, key)) == 1)
        else:
            raise AssertionError("every connection reached one worker")
        yield [first, second]


# --- as one server ---


def test_words_are_those_of_one_process_and_all_numbers_those_of_all_workers(
    running: Server, speech: bytes, said: list[str]
) -> None:
    before = {name: running.metric(name) for name in COUNTED}

    async def say(socket: ClientConnection) -> list[str]:
        await socket.send(speech)
        await socket.send('{"type":"eos"}')
        return words(await hear(socket, is_type("end")))

    async def main() -> list[list[str]]:
        async with spread(running) as both, talk(running) as third:
            for each in (*both, third):
                await hear(each, is_type("ready"))
            await until(lambda: all(in_use(running) == 3 for _ in range(12)))  # as either worker knows
            assert sum(await asyncio.to_thread(streams, running)) == 3
            assert await asyncio.to_thread(running.metric, 'vivavoce_slots_used{module="stt"}') == 3
            assert await asyncio.to_thread(running.metric, 'asr_open_channels{handler="all"}') == 3
            assert await asyncio.to_thread(running.metric, 'vivavoce_slots{module="stt"}') == 4
            return await asyncio.gather(*map(say, [*both, third]))

    assert asyncio.run(main()) == [said] * 3
    asyncio.run(until(lambda: sum(streams(running)) == 0))
    after = {name: running.metric(name) - value for name, value in before.items()}
    assert after['vivavoce_words_total{module="stt"}'] == 3 * len(said)
    assert after['asr_connect{handler="all"}'] == after["asr_connection_num_steps_count"] >= 3
    assert after["asr_model_step_duration_count"] == after['vivavoce_step_seconds_count{module="stt"}'] > 0
    assert running.text.count("Stream opened") >= 3, "the log is one"


COUNTED = (
    'vivavoce_words_total{module="stt"}', 'asr_connect{handler="all"}', "asr_connection_num_steps_count",
    "asr_model_step_duration_count", 'vivavoce_step_seconds_count{module="stt"}',
)  # fmt: skip


def test_slots_are_those_of_the_whole_server(running: Server) -> None:
    async def main() -> None:
        async with spread(running), talk(running) as third, talk(running) as fourth:
            await hear(third, is_type("ready"))
            await hear(fourth, is_type("ready"))
            await until(lambda: all(in_use(running) == 4 for _ in range(12)))  # as either worker knows
            for _ in range(6):
                with pytest.raises(InvalidStatus) as refused:
                    await talk(running).__aenter__()
                assert refused.value.response.status_code == 503

    asyncio.run(main())
    asyncio.run(until(lambda: sum(streams(running)) == 0))


def test_a_session_is_resumed_at_another_worker_and_no_word_is_lost(
    running: Server, speech: bytes, said: list[str]
) -> None:
    half = len(speech) // 2 // 7680 * 7680

    async def main() -> list[str]:
        told = list[dict[str, Any]]()
        first = await talk(running, "&resume=true").__aenter__()
        [ready] = await hear(first, is_type("ready"))
        await until(lambda: sum(streams(running)) == 1)
        session, at = ready["session"], streams(running)
        await first.send(speech[:half])
        told += await hear(first, is_type("word"))
        first.transport.abort()  # as a connection that is lost
        moves = 0
        for _ in range(TRIES):
            seq = max((message["seq"] for message in told if "seq" in message), default=0)
            again = await talk(running, f"&resume=true&session={session}&seq={seq}").__aenter__()
            [ready] = await hear(again, is_type("ready"))
            assert ready["samples"] == half // 4
            where = streams(running)
            moves, at = moves + (where != at), where
            if moves == 2:
                break
            again.transport.abort()
        else:
            raise AssertionError("every connection reached one worker")
        await again.send(speech[half:])
        await again.send('{"type":"eos"}')
        told += await hear(again, is_type("end"))
        await again.close()
        return words(told)

    assert asyncio.run(main()) == said
    asyncio.run(until(lambda: sum(streams(running)) == 0))


def test_an_engine_that_is_killed_costs_no_word(running: Server, speech: bytes, said: list[str]) -> None:
    async def main() -> list[list[str]]:
        async with spread(running) as both:
            for each in both:
                await each.send(speech[: len(speech) // 2])
            heard = [await hear(each, is_type("word")) for each in both]
            os.kill(running.engine()["pid"], signal.SIGKILL)
            for each, told in zip(both, heard, strict=True):
                await each.send(speech[len(speech) // 2 :])
                await each.send('{"type":"eos"}')
                told += await hear(each, is_type("end"))
            return [words(told) for told in heard]

    assert asyncio.run(main()) == [said] * 2
    assert running.engine()["restarts"] == 1
    asyncio.run(until(lambda: sum(streams(running)) == 0))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_or_stands_still_is_begun_again_and_the_others_callers_notice_nothing(
    running: Server, speech: bytes, said: list[str], how: signal.Signals
) -> None:
    async def finish(socket: ClientConnection) -> list[dict[str, Any]]:
        await socket.send(speech[len(speech) // 2 :])
        await socket.send('{"type":"eos"}')
        return await hear(socket, is_type("end"))

    async def main() -> None:
        async with spread(running, query="&resume=true") as both:
            for each in both:
                await each.send(speech[: len(speech) // 2])
            sessions = [(await hear(each, is_type("ready")))[0]["session"] for each in both]
            heard = [await hear(each, is_type("word")) for each in both]
            before = pids_of_ready(running)
            victim = running.get("/api/status").json()["workers"][0]
            counted = running.metric('asr_connect{handler="all"}')
            ends = running.text.count("its streams are lost")
            os.kill(victim["pid"], how)
            rests = await asyncio.gather(*map(finish, both), return_exceptions=True)
            [lost] = [number for number, told in enumerate(rests) if isinstance(told, ConnectionClosed)]
            assert both[lost].close_code == 1006
            told = rests[1 - lost]
            assert isinstance(told, list) and words(heard[1 - lost] + told) == said
            await both[1 - lost].close()
            await until(lambda: running.text.count("its streams are lost") > ends)  # nobody is sent to it any more
            with pytest.raises((InvalidStatus, ConnectionClosed)):  # its client is told, and begins afresh
                async with talk(running, f"&resume=true&session={sessions[lost]}&seq=0") as again:
                    await again.recv()
            await until(lambda: pids_of_ready(running) - {victim["pid"]} > before - {victim["pid"]})
            assert running.metric('asr_connect{handler="all"}') >= counted, "what it had counted is kept"
            await until(lambda: sum(streams(running)) == 0)
            async with spread(running):  # nobody is sent away while it begins
                pass

    asyncio.run(main())
    assert "Worker 1 (process" in running.text and "by signal SIGKILL; its streams are lost" in running.text
    assert ("has stood still for 10 s and is killed" in running.text) == (how is signal.SIGSTOP)
    asyncio.run(until(lambda: sum(streams(running)) == 0))


# --- its limits and its end ---


def test_places_are_counted_over_all_workers_and_the_end_is_for_all(tmp_path: Path) -> None:
    accounts = ("--accounts", f"sqlite:///{tmp_path / 'accounts.sqlite'}", "--jwt-secret", "short")
    with Server("--model", "null", "--slots", "8", "--load-limit", "0", "--workers", "2", *KEYS, *accounts) as server:
        server.wait_ready()

        async def main() -> None:
            async with spread(server, "one") as both, talk(server, key="one") as third:
                await hear(third, is_type("ready"))
                for _ in range(6):
                    with pytest.raises(InvalidStatus) as refused:
                        await talk(server, key="one").__aenter__()
                    assert refused.value.response.status_code == 429
                async with talk(server, key="two") as another:
                    await hear(another, is_type("ready"))
                await third.close()
                await until(lambda: sum(streams(server)) == 2)
                async with talk(server, key="one") as third_again:
                    await hear(third_again, is_type("ready"))
                await until(lambda: sum(streams(server)) == 2)
                server.signal()
                await asyncio.to_thread(server.wait_for, "Draining: 2 open streams")
                for each in both:
                    await each.send(np.ones(24_000, np.float32).tobytes())
                    await each.send('{"type":"eos"}')
                    told = await hear(each, is_type("end"))
                    assert told[-1]["samples"] == 24_000

        processes = psutil.Process(server.process.pid).children(recursive=True)
        assert len(processes) == 3
        asyncio.run(main())
        assert server.wait() == 0
        assert "Drained" in server.text and "Traceback" not in server.text and "ERROR" not in server.text
        assert server.text.count("jwt_secret has 5 bytes") == server.text.count("The database of accounts has") == 1
        assert not [process for process in processes if process.is_running()]


def test_told_twice_it_ends_at_once_and_killed_it_leaves_nobody_behind() -> None:
    with Server("--model", "null", "--load-limit", "0", "--workers", "2") as server:
        server.wait_ready()

        async def main() -> None:
            async with talk(server) as socket:
                await hear(socket, is_type("ready"))
                await until(lambda: sum(streams(server)) == 1)
                server.signal(signal.SIGINT)
                await asyncio.to_thread(server.wait_for, "Draining: 1 open streams")
                server.signal(signal.SIGINT)
                assert await asyncio.to_thread(server.wait) == 130

        asyncio.run(main())
    with Server("--model", "null", "--workers", "2") as server:
        processes = list[psutil.Process]()
        deadline = time.monotonic() + PATIENCE
        while len(processes) < 3 and time.monotonic() < deadline:
            processes = psutil.Process(server.process.pid).children(recursive=True)
        assert len(processes) == 3
        server.signal(signal.SIGKILL)
        server.wait()
        assert not psutil.wait_procs(processes, PATIENCE)[1]


def test_workers_that_end_again_and_again_end_the_server() -> None:
    with Server("--model", "null", "--workers", "2") as server:
        asyncio.run(until(lambda: _kill_workers(server)))
        assert server.wait() == 1
        assert server.lines[-1].startswith("vivavoce: worker"), server.text
        assert server.lines[-1].endswith("has ended by signal SIGKILL, 5 times in a row")


def _kill_workers(server: Server) -> bool:
    """Whether the server has ended; kills every worker that there is."""
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(server.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if "vivavoce.server.worker" in process.cmdline():
                    process.kill()
    return server.process.poll() is not None


# --- what keeps it from starting ---


def test_a_model_that_cannot_be_loaded_ends_all_with_its_line_and_code(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with Server("--model", str(tmp_path), "--workers", "2") as server:
        assert server.wait() == 5
    [line] = [line for line in server.lines if line.startswith("vivavoce: ")]
    assert str(tmp_path) in line and "Traceback" not in server.text


@pytest.mark.parametrize("other", ["of another program", "of another server with workers"])
def test_a_port_that_is_taken_is_not_shared(other: str) -> None:
    taken = socket.create_server(("127.0.0.1", 0)) if "program" in other else beside("127.0.0.1", 0)
    taken.listen()
    with taken, pytest.raises(ListenError, match="address already in use"):
        reserve_at("127.0.0.1", taken.getsockname()[1])


def test_elsewhere_than_on_linux_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    demand_linux(ServeSettings())
    with pytest.raises(Exception, match="workers needs Linux"):
        demand_linux(ServeSettings(workers=2))


def test_metrics_are_added_up_but_for_those_of_the_engine() -> None:
    from vivavoce.runtime import Metrics

    def of(words: int, used: int, ready: int) -> Any:
        metrics = Metrics()
        metrics.words.labels("stt").inc(words)
        metrics.slots_used.labels("stt").set(used)
        metrics.ready.labels("stt").set(ready)
        metrics.first_word.labels("stt").observe(words)
        return list(metrics.registry.collect())

    lines = Sums([of(1, 5, 1), of(2, 5, 0)]).text().decode().splitlines()
    assert 'vivavoce_words_total{module="stt"} 3.0' in lines
    assert 'vivavoce_slots_used{module="stt"} 5.0' in lines
    assert 'vivavoce_ready{module="stt"} 0.0' in lines
    assert 'vivavoce_first_word_seconds_bucket{le="1.0",module="stt"} 1.0' in lines
    assert 'vivavoce_first_word_seconds_sum{module="stt"} 3.0' in lines
    assert lines.count("# TYPE vivavoce_words_total counter") == 1
