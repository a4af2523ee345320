"""The engine's process while a step is on its way on a device: what it takes, begins and tells, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from vivavoce.core import FRAME_SIZE
from vivavoce.engine.null import NullEngine
from vivavoce.engine.outputs import Made, Outputs
from vivavoce.runtime.hearing import GLANCE, Hearing
from vivavoce.runtime.late import BEHIND
from vivavoce.runtime.link import Link
from vivavoce.runtime.messages import Close, Frames, Open, Opened, Stepped, ToEngine

NOTHING = np.zeros((0, FRAME_SIZE), np.float32)


@dataclass
class Step:
    """One that is over when the test says so, or when it is waited for."""

    engine: Device
    streams: tuple[int, ...]
    made: Outputs
    done: bool = False

    def outputs(self) -> Outputs:
        self.engine.log.append(("over", self.streams))
        return self.made


class Device(NullEngine):
    """The engine that computes nothing, on a device that takes its time."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self.log = list[tuple[str, tuple[int, ...]]]()
        self.running = list[Step]()

    def begin(self, frames: Mapping[int, NDArray[np.float32]]) -> Made:
        made = super().begin(frames).outputs()
        self.running.append(Step(self, tuple(made.slots), made))
        self.log.append(("begun", tuple(made.slots)))
        return cast("Made", self.running[-1])

    def catch_up(self, frames: Mapping[int, NDArray[np.float32]]) -> Any:
        self.log.append(("caught up", tuple(frames)))
        return super().catch_up(frames)


class Line:
    """What was told, one after the other."""

    def __init__(self) -> None:
        self.told = list[Any]()

    def send(self, messages: list[Any]) -> None:
        self.told += messages


class Process:
    """An engine's process with four streams, each in the slot of its number."""

    def __init__(self) -> None:
        self.device, self.line = Device(4), Line()
        self.hearing = Hearing(self.device, cast("Link", self.line), [(1, 0.001), (4, 0.001)])
        for stream in range(4):
            self.obey(Open(stream, stream, 0.0, 0))
        assert all(isinstance(message, Opened) for message in self.line.told)

    def obey(self, message: ToEngine) -> None:
        count = len(message.streams) if isinstance(message, Frames) else 0
        self.hearing.obey(message, np.zeros((count, FRAME_SIZE), np.float32) if count else NOTHING)

    def frames(self, *streams: int, afresh: tuple[int, ...] = ()) -> None:
        """They come, and the process does what it can."""
        self.obey(Frames(list(streams), list(afresh)))
        self.hearing.step()

    def finish(self) -> None:
        self.device.running[-1].done = True
        self.hearing.step()

    @property
    def answered(self) -> list[list[int]]:
        return [message.streams for message in self.line.told if isinstance(message, Stepped)]


@pytest.fixture
def process() -> Process:
    return Process()


def test_what_comes_during_a_step_is_all_in_the_next_which_begins_before_results_are_told(process: Process) -> None:
    process.frames(0, 1)
    process.frames(2)
    process.frames(3, 0)
    assert process.device.log == [("begun", (0, 1))]
    assert not process.answered
    assert process.hearing._wait() == GLANCE
    process.finish()
    assert process.device.log[1:] == [("begun", (0, 2, 3)), ("over", (0, 1))]
    assert process.answered == [[0, 1]]
    process.finish()
    assert process.answered == [[0, 1], [0, 2, 3]]
    assert process.hearing._wait() is None


def test_results_are_told_as_soon_as_they_are_there_when_nothing_waits(process: Process) -> None:
    process.frames(3, 1)
    process.finish()
    assert process.answered == [[1, 3]]
    assert len(process.device.running) == 1


def test_a_stream_that_is_closed_during_its_step_leaves_its_slot_to_another(process: Process) -> None:
    """Whoever closed it does not hear what is still told of it; the other has its own frames answered."""
    process.frames(0, 1)
    process.obey(Close(1))
    process.obey(Open(7, 1, 0.0, 0))
    process.frames(7)
    process.finish()
    process.finish()
    assert process.answered == [[0, 1], [7]]


def test_who_is_far_behind_catches_up_when_the_step_beside_it_is_over(process: Process) -> None:
    process.frames(0)
    process.frames(*[2] * BEHIND, 1)
    process.finish()
    assert process.device.log[1:] == [("begun", (1,)), ("over", (0,)), ("over", (1,)), ("caught up", (2,))]
    assert process.answered == [[0], [1], [2]]


def test_a_frame_that_is_heard_afresh_waits_for_the_step_before_it(process: Process) -> None:
    process.frames(0)
    process.frames(0, afresh=(0,))
    process.finish()
    process.finish()
    first, second = (message for message in process.line.told if isinstance(message, Stepped))
    assert (first.starts, list(second.starts)) == ({}, [0])
    assert first.tokens == second.tokens  # it began anew


def test_an_engine_that_computes_where_it_is_called_answers_at_once() -> None:
    line = Line()
    hearing = Hearing(NullEngine(2), cast("Link", line), [])
    hearing.obey(Open(5, 1, 0.0, 0), NOTHING)
    hearing.obey(Frames([5], []), np.zeros((1, FRAME_SIZE), np.float32))
    hearing.step()
    assert isinstance(line.told[-1], Stepped)
    assert hearing._wait() is None
