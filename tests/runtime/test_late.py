"""Who is far behind catches up in one go, and keeps nobody waiting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vivavoce.runtime.cost import StepCost
from vivavoce.runtime.late import BEHIND, FEW, Late
from vivavoce.runtime.schedule import EXTRA_STEP_SECONDS

TOGETHER = 16


def machine(base: float, each: float) -> tuple[StepCost, Late]:
    """A step, or some frames in one go, take `base` and `each` seconds for every frame."""
    steps = [(1, base + each), (64, base + 64 * each)]
    cost = StepCost()
    for batch, seconds in steps:
        cost.learn(batch, seconds)
    return cost, Late(TOGETHER, cost, steps)


OWED = st.dictionaries(st.integers(0, 99), st.integers(1, 30), max_size=40)


@given(OWED, st.booleans(), st.floats(0, 0.05), st.floats(0.0001, 0.01))
def test_beside_live_streams_a_step_stays_short(owed: dict[int, int], live: bool, base: float, each: float) -> None:
    cost, late = machine(base, each)
    chosen, count = late.choose(owed, live)
    assert all(BEHIND <= count <= min(owed[stream], TOGETHER) for stream in chosen)
    assert len(chosen) <= FEW
    rest = len(owed) - len(chosen)
    if chosen and (live or rest):
        whole = cost.predict(rest) + cost.predict(count * len(chosen))
        assert whole <= EXTRA_STEP_SECONDS + 1e-9 or count * len(chosen) == BEHIND


@given(st.integers(BEHIND, 30), st.integers(1, FEW))
def test_without_others_everything_is_taken_at_once(frames: int, streams: int) -> None:
    _, late = machine(1.0, 1.0)  # however slow the machine
    assert late.choose(dict.fromkeys(range(streams), frames), live=False) == (
        list(range(streams)),
        min(frames, TOGETHER),
    )


def test_on_a_machine_with_time_to_spare_a_flush_beside_live_streams_is_one_step() -> None:
    _, late = machine(0.004, 0.0005)
    assert late.choose({7: 11, **dict.fromkeys(range(6), 1)}, live=True) == ([7], 11)


def test_whoever_has_the_fewest_frames_is_first_and_the_others_follow() -> None:
    _, late = machine(0.004, 0.002)  # 18 frames take 40 ms
    assert late.choose({1: 16, 2: 9, 3: 12}, live=True)[0][0] == 2
    assert late.choose({1: 16, 3: 4}, live=True)[0] == [3, 1]


def test_many_who_are_late_are_as_quick_together_and_a_few_frames_are_no_delay() -> None:
    _, late = machine(0.004, 0.0005)
    assert late.choose(dict.fromkeys(range(FEW + 1), 10), live=True) == ([], 1)
    assert late.choose({1: BEHIND - 1, 2: 1}, live=True) == ([], 1)


def test_what_catching_up_was_seen_to_take_decides() -> None:
    _, late = machine(0.001, 0.0001)
    assert late.choose({1: 16, 2: 1}, live=True) == ([1], 16)
    for frames in range(8, 17):
        for _ in range(15):
            late.learn(frames, 0.05)
    assert late.choose({1: 16, 2: 1}, live=True)[1] < 8
