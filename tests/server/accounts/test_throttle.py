"""How often a password may be tried, by a clock that the test turns."""

from __future__ import annotations

import pytest

from vivavoce.core import Fault, Refused
from vivavoce.server.accounts import throttle
from vivavoce.server.accounts.throttle import Throttle

from ...accounts.conftest import Clock


def test_so_many_at_once_and_so_many_a_minute_under_each_name() -> None:
    clock = Clock(0)
    limit = Throttle(6, "account", clock)
    for _ in range(6):
        limit.take("ada")
    with pytest.raises(Refused, match="more than 6 attempts a minute for one account") as caught:
        limit.take("ada")
    assert (caught.value.fault, caught.value.retry_after) == (Fault.RATE_LIMITED, 10)
    limit.take("eve")
    clock.now += 10
    limit.take("ada")
    with pytest.raises(Refused):
        limit.take("ada")


def test_names_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST_NAMES", 2)
    limit = Throttle(1, "account", Clock(0))
    for name in "abc":
        limit.take(name)
    limit.take("a")
    with pytest.raises(Refused):
        limit.take("c")
