"""The fork's estimate, to the MiB."""

from __future__ import annotations

import pytest

from vivavoce.checkpoints.random import SHAPES
from vivavoce.tools.fork_plan import ForkPlan, fork_plan

SMALL, LARGE = SHAPES["stt-1b"][1], SHAPES["stt-2.6b"][1]


@pytest.mark.parametrize(
    ("total", "free", "small", "large"),
    [
        pytest.param(8192, 7800, (93, 15, 140, 1907, 2309, 16), (140, 17, 238, 4959, 0, 1), id="RTX 2070"),
        pytest.param(23034, 22500, (93, 13, 121, 1907, 17009, 140), (140, 15, 210, 4959, 13957, 66), id="L4"),
        pytest.param(46068, 45500, (93, 12, 112, 1907, 40009, 357), (140, 14, 196, 4959, 36957, 188), id="L40S"),
        pytest.param(81559, 80900, (93, 11, 103, 1907, 75409, 732), (140, 13, 182, 4959, 72357, 397), id="H100"),
    ],
)
def test_golden_values(total: int, free: int, small: tuple[int, ...], large: tuple[int, ...]) -> None:
    """Run from the fork's formulas: spec/features.md, appendix A."""
    assert fork_plan(SMALL, total, free, billions=1.0) == ForkPlan(*small)
    assert fork_plan(LARGE, total, free, billions=2.6) == ForkPlan(*large)


def test_only_a_card_with_nothing_left_is_critical() -> None:
    assert fork_plan(LARGE, 8192, 7800, billions=2.6).critical
    assert not fork_plan(SMALL, 8192, 7800, billions=1.0).critical


def test_what_the_environment_may_set() -> None:
    assert fork_plan(SMALL, 23034, 22500, billions=1.0, per_slot=600).slots == 17009 // 600
    assert fork_plan(SMALL, 23034, 22500, billions=1.0, reserved=2048, codec=0).available == 17009 + 512 + 1024
