"""From start to stop: loading, its failures, drain, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
from asyncio import Runner
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import uvloop

from vivavoce.core import Fault, StreamError
from vivavoce.runtime import EngineSpec, Limits, Metrics, Runtime, StreamOptions
from vivavoce.runtime import supervisor as supervision

from .driver import Samples, Spoken, events, kill, running, send, spoken, until


def engines() -> list[psutil.Process]:
    """Engine processes of ours; servers that other tests keep have theirs below them."""
    return [child for child in psutil.Process().children() if "vivavoce.runtime.worker" in child.cmdline()]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go."""
    path = Path(tempfile.mkdtemp())
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    path.rmdir()  # it is empty again


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_stop_leaves_nothing_behind(
    spec: EngineSpec, digits: Samples, said: Spoken, temporary: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """On either event loop; streams are open, one is parked, and their reader and their timers sleep."""
    with Runner(loop_factory=loop) as runner:
        runner.run(asyncio.sleep(0))  # uvloop keeps a pipe of its own for good
    threads, files = threading.active_count(), psutil.Process().num_fds()

    async def main() -> None:
        runtime = Runtime(spec, Limits(load_limit=0), Metrics())
        await runtime.start()
        await runtime.wait_ready()
        assert spoken(await events(runtime.open(), digits)) == said
        reading = asyncio.create_task(anext(runtime.open().events()))  # type: ignore[arg-type]
        runtime.open(StreamOptions(resumable=True)).park()
        await send(runtime.open(), digits)
        await runtime.stop()
        assert runtime.state == "stopped"
        assert runtime.slots_used == 0
        with pytest.raises(StreamError) as ended:
            await reading
        assert ended.value.fault is Fault.GOING_AWAY
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with Runner(loop_factory=loop) as runner:
        runner.run(main())
    gc.collect()
    assert not engines()
    assert list(temporary.iterdir()) == []
    assert threading.active_count() <= threads
    assert psutil.Process().num_fds() <= files


def test_a_model_that_cannot_be_loaded_is_told_at_once_in_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(EngineSpec(str(tmp_path), "cpu"), ready=False) as runtime:
            assert runtime.state == "loading"
            with pytest.raises(StreamError, match=r"config\.json is missing") as broken:
                await runtime.wait_ready()
            assert broken.value.fault is Fault.UNAVAILABLE
            assert runtime.state == "broken"
            assert runtime.restarts == 0  # and not tried again
            assert "\n" not in (runtime.error or "\n")
            with pytest.raises(StreamError, match=r"config\.json is missing"):
                runtime.open()

    asyncio.run(main())


def test_while_the_model_loads_streams_are_refused_and_stop_waits_for_nothing(spec: EngineSpec) -> None:
    async def main() -> None:
        async with running(spec, ready=False) as runtime:
            with pytest.raises(StreamError, match="loading") as refused:
                runtime.open()
            assert refused.value.fault is Fault.UNAVAILABLE
            assert refused.value.retry_after
            await until(lambda: runtime.pid is not None)

    asyncio.run(main())
    assert not engines()


def test_a_process_killed_while_it_loads_for_the_first_time_is_begun_again(
    spec: EngineSpec, digits: Samples, said: Spoken
) -> None:
    async def main() -> None:
        async with running(spec, ready=False) as runtime:
            await until(lambda: runtime.pid is not None)
            kill(runtime)
            await runtime.wait_ready()
            assert spoken(await events(runtime.open(), digits)) == said

    asyncio.run(main())


def test_an_engine_that_fails_five_times_in_a_row_is_broken_and_a_restart_mends_it(
    spec: EngineSpec, digits: Samples, said: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "BACKOFF", (0.01, 0.02))

    async def main() -> None:
        async with running(spec) as runtime:
            stream = runtime.open()
            for _ in range(supervision.MOST_FAILURES):
                pid = runtime.pid
                kill(runtime)
                await until(lambda pid=pid: runtime.pid != pid or runtime.state == "broken")  # type: ignore[misc]
            assert runtime.state == "broken"
            with pytest.raises(StreamError) as ended:
                await anext(stream.events())  # type: ignore[arg-type]
            assert ended.value.fault is Fault.UNAVAILABLE
            with pytest.raises(StreamError, match="ended with code -9"):
                runtime.open()
            await runtime.restart()
            assert runtime.state == "ready"
            assert spoken(await events(runtime.open(), digits)) == said

    asyncio.run(main())


def test_a_restart_that_cannot_load_leaves_the_old_engine_running(digits: Samples, tmp_path: Path) -> None:
    import shutil

    from vivavoce.settings import embedded

    model = tmp_path / "model"
    shutil.copytree(embedded(), model)

    async def main() -> None:
        async with running(EngineSpec(str(model), "cpu", slots=1, threads=1)) as runtime:
            pid, stream = runtime.pid, runtime.open()
            (model / "config.json").unlink()
            with pytest.raises(StreamError, match=r"config\.json is missing"):
                await runtime.restart()
            assert runtime.state == "ready"
            assert len(spoken(await events(stream, digits))) == 11
            assert pid
            assert psutil.pid_exists(pid)

    asyncio.run(main())


def test_a_process_that_cannot_be_started_is_told(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "BACKOFF", (0.01, 0.02))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    async def main() -> None:
        async with running(spec, ready=False) as runtime:
            with pytest.raises(StreamError, match=r"cannot be started.*/nowhere/python"):
                await runtime.wait_ready()

    asyncio.run(main())


def test_a_stop_ends_a_restart(spec: EngineSpec) -> None:
    async def main() -> None:
        async with running(spec) as runtime:
            moving = asyncio.create_task(runtime.restart())
            await until(lambda: len(engines()) == 2)
        with pytest.raises(StreamError) as ended:
            await moving
        assert ended.value.fault is Fault.GOING_AWAY

    asyncio.run(main())
    assert not engines()


def test_a_drain_refuses_newcomers_and_waits_for_those_who_talk(
    spec: EngineSpec, digits: Samples, said: Spoken
) -> None:
    async def main() -> None:
        async with running(spec) as runtime:
            talking = asyncio.create_task(events(runtime.open(), digits))
            parked = runtime.open(StreamOptions(resumable=True))
            parked.park()
            silent = runtime.open()
            draining = asyncio.create_task(runtime.drain(1000))
            await asyncio.sleep(0)
            assert runtime.state == "draining"
            with pytest.raises(StreamError) as refused:
                runtime.open()
            assert refused.value.fault is Fault.GOING_AWAY
            with pytest.raises(StreamError):
                runtime.resume(parked.id)
            assert spoken(await talking) == said
            assert not draining.done()
            silent.close()
            await draining

    asyncio.run(main())


def test_a_drain_has_a_deadline(runner: Runner, spec: EngineSpec) -> None:
    async def main() -> None:
        async with running(spec) as runtime:
            stream = runtime.open()
            await runtime.drain(0.05)
            with pytest.raises(StreamError) as ended:
                await anext(stream.events())  # type: ignore[arg-type]
            assert ended.value.fault is Fault.GOING_AWAY

    asyncio.run(main())


ORPHAN = """
import asyncio, sys
from vivavoce.runtime import EngineSpec, Limits, Metrics, Runtime

async def main():
    runtime = Runtime(EngineSpec(device="cpu", slots=1, threads=1), Limits(), Metrics())
    await runtime.start()
    if sys.argv[1] == "ready":
        await runtime.wait_ready()
    while runtime.pid is None:
        await asyncio.sleep(0.01)
    print(runtime.pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.parametrize("when", ["ready", "loading"])
def test_the_engine_dies_with_its_server(when: str) -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN, when], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        engine = psutil.Process(int(server.stdout.readline()))
        os.kill(server.pid, signal.SIGKILL)
    engine.wait(timeout=60)


def test_one_more_stream_than_the_engine_bears_is_refused(spec: EngineSpec) -> None:
    """The limit is set so low that any machine is too slow for two."""

    async def main() -> None:
        async with running(spec, Limits(load_limit=1e-6)) as runtime:
            stream = runtime.open()  # nobody is there whom it could slow down
            with pytest.raises(StreamError, match="% of its 80 ms") as refused:
                runtime.open()
            assert refused.value.fault is Fault.OVERLOADED
            assert refused.value.retry_after
            stream.close()

    asyncio.run(main())


def test_importing_the_runtime_does_not_import_torch() -> None:
    code = "import sys, vivavoce.runtime; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
