"""Pages: who has which, what is promised, and what happens when there are no more. No device is needed."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce.core import Fault, StreamError
from vivavoce.engine.gpu.pages import NONE, Pages

SLOTS, RING, SIZE, PROMISE = 4, 5, 4, 2


def hear(pages: Pages, slot: int, position: int) -> int:
    return int(pages.reach(np.array([slot]), np.array([position]))[1][0])


@given(
    count=st.integers(8, 30),
    ticks=st.lists(st.tuples(st.sets(st.integers(0, SLOTS - 1)), st.sets(st.integers(0, SLOTS - 1))), max_size=60),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_no_page_has_two_owners_and_none_is_lost(count: int, ticks: list[tuple[set[int], set[int]]]) -> None:
    """Streams that open and close (first set) and hear (second); whoever was let in always finds a page."""
    pages = Pages(SLOTS, RING, count, SIZE, PROMISE)
    heard = dict[int, int]()
    for toggled, hearing in ticks:
        for slot in toggled:
            if slot in heard:
                pages.close(slot)
                del heard[slot]
            elif pages.free >= PROMISE:
                pages.open(slot)
                heard[slot] = 0
            else:
                with pytest.raises(StreamError, match="the memory of one more stream takes 2 pages"):
                    pages.open(slot)
        for slot in hearing & heard.keys():
            assert hear(pages, slot, heard[slot]) != NONE
            heard[slot] += 1
            kept = np.unique(pages.table[slot][pages.table[slot] != NONE])
            assert len(kept) <= min(RING, -(-heard[slot] // SIZE))
        owned = pages.table[pages.table != NONE]
        assert len(np.unique(owned)) == len(owned)
        assert len(owned) + len(pages._free) == count
        assert pages.free >= 0


def test_a_stream_holds_what_it_has_heard_and_no_more_than_its_ring() -> None:
    pages = Pages(SLOTS, RING, 40, SIZE, PROMISE)
    pages.open(2)
    held = []
    for position in range(60):
        hear(pages, 2, position)
        held.append(int((pages.table != NONE).sum()))
    assert held[:9] == [1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert held[-1] == RING
    pages.close(2)
    assert not pages.table.any()
    assert pages.free == 40


def test_the_place_of_a_position_is_the_same_until_it_is_written_over() -> None:
    pages = Pages(SLOTS, RING, 40, SIZE, PROMISE)
    first = [hear(pages, 0, position) for position in range(RING * SIZE)]
    assert first == [hear(pages, 0, position) for position in range(RING * SIZE)]
    assert hear(pages, 0, RING * SIZE) == first[0]


def test_when_pages_run_out_a_stream_forgets_its_oldest_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    pages = Pages(SLOTS, RING, 5, SIZE, PROMISE)
    pages.open(0)
    pages.open(1)
    places = [hear(pages, 0, position) for position in range(3 * SIZE)]
    with caplog.at_level(logging.WARNING):
        assert hear(pages, 0, 3 * SIZE) == places[0]
        assert pages.oldest[0] == SIZE
        assert hear(pages, 0, 4 * SIZE) == places[SIZE]
        assert pages.oldest[0] == 2 * SIZE
    assert [record.getMessage()[:14] for record in caplog.records] == ["Memory is full"]
    assert [hear(pages, 1, position * SIZE) != NONE for position in range(2)] == [True, True]  # as it was promised


def test_a_stream_without_room_is_refused_as_one_that_finds_no_slot() -> None:
    pages = Pages(SLOTS, RING, 5, SIZE, PROMISE)
    pages.open(0)
    pages.open(1)
    with pytest.raises(StreamError) as refused:
        pages.open(2)
    assert refused.value.fault is Fault.CAPACITY
    pages.close(0)
    pages.open(2)


def test_a_restored_stream_takes_pages_from_where_it_stands() -> None:
    pages = Pages(SLOTS, RING, 40, SIZE, PROMISE)
    pages.open(1, oldest=1000)
    hear(pages, 1, 1001)
    assert int((pages.table != NONE).sum()) == 1
    assert pages.oldest[1] == 1000
