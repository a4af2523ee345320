"""Many live streams at once: what they heard, how long they waited, and whether that passes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vivavoce.core import FRAME_SECONDS, VivavoceError

from .clip import Clip
from .driver import Driven, Order, Told, drive, elsewhere
from .figures import Summary, summarise
from .scoring import differences, word_errors
from .targets import Account, Target

BEHIND = 1.0  # seconds; a stream whose flush took longer, or whose audio left later, has fallen behind
FAST = 1000.0  # times real time: the lone stream, which the server slows down to what it can


@dataclass(frozen=True)
class Plan:
    """What to ask of a server."""

    clip: str | None  # a path; None is the example
    speed: float = 1.0  # times real time
    loops: int = 1  # how often each stream speaks the clip
    processes: int = 0  # of clients; 0 is this one
    spread: float = FRAME_SECONDS  # seconds of audio over which the streams begin; 0: all at the same moment


@dataclass(frozen=True)
class Steps:
    """The engine's steps while the load ran, as the server's histogram tells; milliseconds."""

    count: int
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    within_80ms: float | None  # the share of steps
    last_minute_p95_ms: float | None  # /api/status


@dataclass(frozen=True)
class Report:
    """One load. Summaries are in seconds; None where there was nothing to measure."""

    streams: int  # asked for
    refused: list[str]
    failed: list[str]
    behind: int  # streams
    audio_seconds: float  # of all streams that ended well
    wall_seconds: float  # from the common start to the last event
    wer: float | None
    lone_wer: float | None  # of a stream that had the server to itself
    differences: int  # words that differ from the lone stream's
    shifted: int  # words that are the same and begin at another time
    connect: Summary | None
    speech_to_token: Summary | None
    final_text: Summary | None  # from the last sample sent to the last word event
    flushed: Summary | None  # from the last sample sent to the answer of the flush
    server_flush_p95: float | None  # from the flush's arrival to its answer, inside the server; interpolated
    sent_late: Summary | None  # what the clients themselves were late by
    steps: Steps | None  # None where the server does not tell
    restarts: int  # of engines, meanwhile
    clients_cpu: float  # processor seconds of all clients

    @property
    def ran(self) -> int:
        """Streams that ended well."""
        return self.streams - len(self.refused) - len(self.failed)

    @property
    def speed_x(self) -> float:
        """Audio of all streams / time taken."""
        return self.audio_seconds / self.wall_seconds

    @property
    def rtf(self) -> float | None:
        """Time taken / audio of all streams: the inverse."""
        return 1 / self.speed_x if self.audio_seconds else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ran": self.ran, "speed_x": self.speed_x, "rtf": self.rtf}


async def lone(target: Target, plan: Plan) -> Told:
    """One stream with the server to itself, as fast as the server takes it. Raises VivavoceError when it fails."""
    driven = await drive(Order(target.service, plan.clip, FAST, plan.loops, [0.0]), _at_once)
    (told,) = driven.streams
    if told.refused or told.failed:
        raise VivavoceError(f"{target.name}: {told.refused or told.failed}")
    return told


async def load(target: Target, clip: Clip, plan: Plan, streams: int, alone: Told) -> Report:
    """`streams` of them at once, compared with what one heard alone."""
    before = await target.account()
    driven = await _drive(target, plan, streams)
    after = await target.account()
    told = [stream for one in driven for stream in one.streams]
    well = [stream for stream in told if not stream.refused and not stream.failed]
    return Report(
        streams=streams,
        refused=[stream.refused for stream in told if stream.refused],
        failed=[stream.failed for stream in told if stream.failed],
        behind=sum(max((*stream.flushed, *stream.late)) > BEHIND for stream in well),
        audio_seconds=len(well) * plan.loops * clip.duration,
        wall_seconds=max(one.seconds for one in driven),
        wer=_error_rate(clip, well),
        lone_wer=_error_rate(clip, [alone]),
        differences=sum(differences(_texts(alone), _texts(stream)) for stream in well),
        shifted=sum(_shifted(alone, stream) for stream in well),
        connect=summarise(stream.connect for stream in well),
        speech_to_token=summarise(value for stream in well for value in stream.speech_to_token),
        final_text=summarise(value for stream in well for value in stream.final_text),
        flushed=summarise(value for stream in well for value in stream.flushed),
        server_flush_p95=_flush_p95(before, after),
        sent_late=summarise(value for stream in well for value in stream.late),
        steps=steps_between(before, after),
        restarts=after.restarts - before.restarts if before and after else 0,
        clients_cpu=sum(one.cpu_seconds for one in driven),
    )


async def _drive(target: Target, plan: Plan, streams: int) -> Sequence[Driven]:
    """In this process, or dealt out to others, which begin together."""
    spread = plan.spread / plan.speed
    offsets = [number * spread / streams for number in range(streams)]
    processes = min(plan.processes, streams)
    if not processes:
        return [await drive(_order(target, plan, offsets), _at_once)]
    barrier = asyncio.Barrier(processes)

    async def together() -> None:
        await barrier.wait()

    try:
        async with asyncio.TaskGroup() as group:
            shares = (offsets[number::processes] for number in range(processes))
            tasks = [group.create_task(elsewhere(_order(target, plan, share), together)) for share in shares]
    except* VivavoceError as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _order(target: Target, plan: Plan, offsets: list[float]) -> Order:
    return Order(target.service, plan.clip, plan.speed, plan.loops, offsets)


async def _at_once() -> None:
    return


def _texts(told: Told) -> list[str]:
    return [text for words in told.words for text, _ in words]


def _shifted(alone: Told, stream: Told) -> int:
    """Words at another time, where the words are the same."""
    if _texts(alone) != _texts(stream):
        return 0
    pairs = zip(alone.words, stream.words, strict=True)
    return sum(one != other for ours, theirs in pairs for one, other in zip(ours, theirs))


def _error_rate(clip: Clip, streams: Sequence[Told]) -> float | None:
    """Errors of all passes per word said in them; None without a reference or a stream."""
    if clip.reference is None or not streams:
        return None
    counted = [
        word_errors(clip.reference, " ".join(text for text, _ in words)) for told in streams for words in told.words
    ]
    errors, words = sum(errors for errors, _ in counted), sum(words for _, words in counted)
    return errors / words if words else float(errors > 0)


def _flush_p95(before: Account | None, after: Account | None) -> float | None:
    if after is None or after.flushes is None:
        return None
    return after.flushes.since(before.flushes if before else None).quantile(0.95)


def steps_between(before: Account | None, after: Account | None) -> Steps | None:
    """The engine's steps between two accounts of a server; None where it does not tell."""
    if after is None or after.steps is None:
        return None
    during = after.steps.since(before.steps if before else None)
    p50, p95 = during.quantile(0.5), during.quantile(0.95)
    return Steps(
        int(during.count),
        _milliseconds(during.mean),
        _milliseconds(p50),
        _milliseconds(p95),
        during.share_within(FRAME_SECONDS),
        after.step_p95_ms,
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds
