"""Events between the engine and their reader."""

from __future__ import annotations

import asyncio

import pytest

from vivavoce.core import Fault, Flushed, StreamError
from vivavoce.runtime.backlog import Backlog


def filled(count: int, bound: int = 4, keep: bool = False) -> Backlog:
    backlog = Backlog(bound, keep)
    for number in range(1, count + 1):
        backlog.extend([Flushed(number)])
    return backlog


def drained(backlog: Backlog) -> list[int | str]:
    events = iter(backlog.take, None)
    return [event.id for event in events if isinstance(event, Flushed)]


def test_events_come_once_in_order() -> None:
    backlog = filled(3)
    assert drained(backlog) == [1, 2, 3]
    assert backlog.take() is None
    assert backlog.position == 3


def test_it_is_full_when_more_than_its_bound_are_unread() -> None:
    assert not filled(4).full
    assert filled(5).full
    backlog = filled(5)
    backlog.take()
    assert not backlog.full


def test_read_events_can_be_repeated_where_they_are_kept() -> None:
    backlog = filled(4, keep=True)
    drained(backlog)
    backlog.seek(2)
    assert drained(backlog) == [3, 4]
    backlog.seek(0)
    assert drained(backlog) == [1, 2, 3, 4]


def test_as_many_as_the_bound_are_kept_and_older_ones_are_unknown() -> None:
    backlog = filled(4, keep=True)
    drained(backlog)
    backlog.extend([Flushed(5)])
    drained(backlog)
    backlog.seek(1)
    assert drained(backlog) == [2, 3, 4, 5]
    with pytest.raises(StreamError, match=r"events 2 to 5 can be repeated, not what follows number 0") as refused:
        backlog.seek(0)
    assert refused.value.fault is Fault.UNKNOWN_SESSION


@pytest.mark.parametrize("number", [4, -1, 10**9])
def test_what_was_not_read_cannot_be_repeated(number: int) -> None:
    backlog = filled(6, bound=9, keep=True)
    for _ in range(3):
        backlog.take()
    with pytest.raises(StreamError):
        backlog.seek(number)
    assert drained(backlog) == [4, 5, 6]


def test_nothing_is_repeated_where_nothing_is_kept() -> None:
    backlog = filled(3)
    drained(backlog)
    with pytest.raises(StreamError):
        backlog.seek(2)
    backlog.seek(3)


def test_a_close_leaves_what_is_unread_but_not_to_a_slow_reader() -> None:
    backlog = filled(2)
    backlog.close(StreamError(Fault.SESSION_TIMEOUT))
    assert drained(backlog) == [1, 2]
    backlog = filled(2)
    backlog.close(StreamError(Fault.SLOW_READER))
    assert drained(backlog) == []


def test_a_reader_sleeps_until_something_changes() -> None:
    async def main() -> None:
        backlog = Backlog(4, keep=False)
        waiting = asyncio.create_task(backlog.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        backlog.extend([Flushed(1)])
        await waiting

    asyncio.run(main())


def test_who_takes_quickly_is_asked_first_but_only_while_the_reader_waits() -> None:
    async def main() -> None:
        backlog, quickly = Backlog(9, keep=True), list[Flushed]()

        def take() -> bool:
            quickly.extend(backlog.take_unread())
            return True

        backlog.consumer = take
        backlog.extend([Flushed(1)])  # the reader is busy
        assert quickly == []
        assert drained(backlog) == [1]
        waiting = asyncio.create_task(backlog.wait())
        await asyncio.sleep(0)  # set by the first event, which has been read
        waiting = asyncio.create_task(backlog.wait())
        await asyncio.sleep(0)
        backlog.extend([Flushed(2), Flushed(3)])
        assert [event.id for event in quickly] == [2, 3]
        assert (backlog.unread, backlog.position) == (0, 3)
        await asyncio.sleep(0)
        assert not waiting.done()
        backlog.seek(1)  # what was taken quickly can be repeated
        assert drained(backlog) == [2, 3]
        backlog.consumer = lambda: False
        backlog.extend([Flushed(4)])
        await waiting
        assert drained(backlog) == [4]

    asyncio.run(main())
