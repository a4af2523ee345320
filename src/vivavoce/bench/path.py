"""The path around the step: what a live stream costs the server's processes, and how much later its answers come."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from vivavoce.core import VivavoceError

from .clip import Clip
from .crowd import TONGUES, Crowd, Heard, cpu_seconds
from .figures import Summary, summarise
from .flame import Flame
from .load import Steps, steps_between
from .targets import Account, Target

EMPTY = 30.0  # seconds in which the streams of the load before must have left their slots


@dataclass(frozen=True)
class Row:
    """One load. Costs in milliseconds of processor time for a stream's second, waiting times in seconds."""

    dialect: str
    streams: int
    seconds: float
    workers: int  # that serve the connections
    server_ms: float  # the server's process, or its main process and its workers
    main_ms: float  # the main process alone, which is all where there is one worker
    engine_ms: float  # the engine's
    clients_ms: float  # the crowd's
    cores: float  # that all three kept busy
    asked: int  # frames that are to be answered
    answered: int
    failed: list[str]  # streams that ended, a reason each
    answer: Summary | None  # from a frame's last byte sent to its answer, the engine's step included
    late: Summary | None  # by how much the crowd missed its own schedule
    steps: Steps | None

    @property
    def passed(self) -> bool:
        """Whether every frame that is to be answered was, of every stream."""
        return not self.failed and self.answered == self.asked


def measure(
    target: Target,
    server: int,
    clip: Clip,
    dialect: str,
    streams: int,
    seconds: float,
    warm_up: float,
    flame: Path | None = None,
) -> Row:
    """So many live streams of a dialect, measured after `warm_up` seconds; `server` is the process's number, and
    `flame` where its flame graph of the measured seconds goes, which costs the server a little.

    Raises VivavoceError.
    """
    before = _empty(target)
    engine = int(before.status["engines"][0]["pid"])
    workers = [int(worker["pid"]) for worker in before.status.get("workers", [])]
    told = list[tuple[float, ...]]()
    profiler = Flame(server, seconds, flame) if flame else None

    def mark() -> None:
        if profiler and not told:
            profiler.begin()
        main, fronts = cpu_seconds(server), sum(map(cpu_seconds, workers))
        told.append((time.perf_counter(), main, fronts, cpu_seconds(engine), time.process_time()))

    with Crowd(target.service.url, TONGUES[dialect](), clip.samples, streams) as crowd:
        heard = crowd.speak(seconds, warm_up, mark)
    if profiler:
        profiler.end()
    wall, *costs = (end - begin for begin, end in zip(*told, strict=True))
    steps = steps_between(before, target.account_now())
    return _row(dialect, streams, seconds, max(1, len(workers)), wall, costs, heard, steps)


def _row(
    dialect: str,
    streams: int,
    seconds: float,
    workers: int,
    wall: float,
    costs: list[float],
    heard: Heard,
    steps: Steps | None,
) -> Row:
    main, fronts, engine, clients = (1000 * cost / (streams * wall) for cost in costs)
    return Row(
        dialect,
        streams,
        seconds,
        workers,
        main + fronts,
        main,
        engine,
        clients,
        sum(costs) / wall,
        heard.asked,
        len(heard.answers),
        heard.failed,
        summarise(heard.answers),
        summarise(heard.late),
        steps,
    )


def _empty(target: Target) -> Account:
    """What the server tells once no stream has a slot."""
    deadline = time.monotonic() + EMPTY
    while time.monotonic() < deadline:
        account = target.account_now()
        if account and account.slots and not account.slots[0]:
            return account
        time.sleep(0.1)
    raise VivavoceError(f"{target.name} still has streams in its slots after {EMPTY:g} s, or does not tell them")
