"""Who steps now: laws of the schedule, on a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce.runtime.cost import StepCost
from vivavoce.runtime.schedule import BURST, EXTRA_STEP_SECONDS, Schedule

FRAME = 0.08  # seconds


def linear(base: float, each: float, known: int = 64) -> StepCost:
    """A machine whose step takes `base` and `each` second for every stream."""
    cost = StepCost()
    for batch in (1, known):
        cost.learn(batch, base + batch * each)
    return cost


class Machine:
    """Runs a schedule: a step takes what the cost says."""

    def __init__(self, cost: StepCost) -> None:
        self.cost, self.schedule, self.now = cost, Schedule(cost), 0.0
        self.steps = dict[int, list[float]]()  # when each stream was stepped
        self.largest = 0.0

    def open(self, stream: int, frames: int = 0) -> None:
        self.schedule.open(stream, self.now)
        self.steps[stream] = []
        self.give(stream, frames)

    def give(self, stream: int, frames: int = 1) -> None:
        for _ in range(frames):
            self.schedule.frame(stream)

    def run(self, until: float) -> None:
        while self.now < until:
            chosen = self.schedule.choose(self.now)
            if not chosen:
                wait = self.schedule.wait(self.now)
                self.now = until if wait is None else min(until, self.now + max(wait, 1e-6))
                continue
            self.now += self.cost.predict(len(chosen))
            for stream in chosen:
                self.steps[stream].append(self.now)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40), st.floats(0, 0.2)), max_size=40),
    st.floats(0.001, 0.1),
    st.floats(0, 0.02),
)
def test_a_step_takes_every_frame_that_is_owed_and_never_one_that_does_not_wait(
    arrivals: list[tuple[int, int, float]], base: float, each: float
) -> None:
    schedule = Schedule(linear(base, each))
    now, waiting, stepped = 0.0, dict.fromkeys(range(6), 0), dict.fromkeys(range(6), 0)
    for stream in waiting:
        schedule.open(stream, now)
    for stream, frames, passed in arrivals:
        now += passed
        for _ in range(frames):
            schedule.frame(stream)
            waiting[stream] += 1
        chosen = schedule.choose(now)
        assert len(set(chosen)) == len(chosen)
        assert all(waiting[stream] for stream in chosen)
        for stream in chosen:
            waiting[stream] -= 1
            stepped[stream] += 1
        for stream in waiting:  # whoever still waits has had all that it was owed
            assert stream in chosen or not waiting[stream] or stepped[stream] >= BURST - 1


@given(st.integers(0, 60), st.lists(st.floats(0, 3), max_size=10))
def test_whoever_is_behind_may_claim_just_what_it_is_owed(frames: int, passed: list[float]) -> None:
    """A burst at once, and 12.5 frames for every second since; the same as frame by frame."""
    schedule, one_by_one = Schedule(linear(0.001, 0.0)), Schedule(linear(0.001, 0.0))
    for each in (schedule, one_by_one):
        each.open(0, 0.0)
        each.open(1, 0.0)  # a live one beside it, which keeps the step of extra frames small
        for _ in range(frames):
            each.frame(0)
    now = 0.0
    for more in [0.0, *passed]:
        now += more
        if schedule.choose(now):
            owed = schedule.owed(0)
            schedule.claim(0, owed)
            assert all(one_by_one.choose(now) == [0] for _ in range(1 + owed))
            assert one_by_one.owed(0) == schedule.owed(0) == 0
        else:
            assert not one_by_one.choose(now)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.001, 0.03), st.floats(0, 0.001))
def test_live_streams_are_stepped_in_time_however_many_fast_ones_there_are(
    live: int, fast: int, base: float, each: float
) -> None:
    """A live frame waits for at most the step that runs when it comes, and is in the next one."""
    cost = linear(base, each)
    machine = Machine(cost)
    for stream in range(live, live + fast):
        machine.open(stream, frames=500)
    machine.run(3.0)  # the burst of the fast ones is used up
    for stream in range(live):
        machine.open(stream)
    for _ in range(25):
        came = machine.now
        for stream in range(live):
            machine.give(stream)
        before = {stream: len(machine.steps[stream]) for stream in range(live)}
        machine.run(came + FRAME)
        owed_at_once = cost.predict(live + fast)  # fast ones too have a frame owed now and then
        for stream in range(live):
            assert len(machine.steps[stream]) == before[stream] + 1
            assert machine.steps[stream][-1] - came <= owed_at_once + max(EXTRA_STEP_SECONDS, owed_at_once)


@given(st.integers(1, 10), st.floats(0.001, 0.07))
def test_nobody_starves_a_fast_stream_has_its_share_beside_live_ones(live: int, each: float) -> None:
    """12.5 frames a second are everybody's, also where a step is too slow for extra frames."""
    machine = Machine(linear(0.001, each / 10))
    for stream in range(live):
        machine.open(stream)
    machine.open(99, frames=1000)
    for _ in range(50):
        for stream in range(live):
            machine.give(stream)
        machine.run(machine.now + FRAME)
    assert len(machine.steps[99]) >= 49


@given(st.integers(2, 10))
def test_fast_streams_alone_are_stepped_all_at_once(streams: int) -> None:
    machine = Machine(linear(1.0, 1.0))  # however slow the machine
    for stream in range(streams):
        machine.open(stream, frames=200)
    machine.run(50.0)
    counts = {len(steps) for steps in machine.steps.values()}
    assert max(counts) - min(counts) <= 1


def test_extra_frames_go_round() -> None:
    """Room for one extra frame beside a live stream: the fast ones take turns."""
    schedule = Schedule(linear(0, 0.02))  # two streams make 40 ms
    schedule.open(0, 0.0)
    for stream in (1, 2, 3):
        schedule.open(stream, 0.0)
        for _ in range(100):
            schedule.frame(stream)
    for _ in range(25):  # their bursts
        assert sorted(schedule.choose(0.0)) == [1, 2, 3]
    turns = [schedule.choose(0.0) for _ in range(6)]
    assert all(len(turn) == 2 for turn in turns)
    assert sorted(stream for turn in turns for stream in turn) == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]


def test_a_stream_that_is_behind_catches_up_within_its_burst_beside_others() -> None:
    """A network that stood still for two seconds: what then comes at once is all owed."""
    machine = Machine(linear(0.03, 0.001))
    machine.open(0)
    machine.open(1)
    machine.run(10.0)
    machine.give(0, 25)
    chosen = [machine.schedule.choose(10.0) for _ in range(25)]
    assert chosen == [[0]] * 25


def test_it_sleeps_until_the_next_frame_is_owed_and_without_frames_for_good() -> None:
    schedule = Schedule(linear(0.05, 0))  # too slow for extra frames
    schedule.open(0, 0.0)
    schedule.open(1, 0.0)
    assert schedule.wait(0.0) is None
    for _ in range(26):
        schedule.frame(0)
    assert schedule.wait(0.0) == 0
    for _ in range(25):
        schedule.choose(0.0)
    assert schedule.choose(0.0) == []
    assert schedule.wait(0.0) == pytest.approx(FRAME)
    assert schedule.choose(FRAME) == [0]


def test_a_closed_stream_is_not_stepped() -> None:
    schedule = Schedule(StepCost())
    schedule.open(0, 0.0)
    schedule.frame(0)
    schedule.close(0)
    assert schedule.choose(0.0) == []
    assert schedule.wait(0.0) is None
