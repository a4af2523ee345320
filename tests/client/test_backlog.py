"""Laws of what is kept: nothing is sent twice, nothing kept is left out, the clock is the caller's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce.client.backlog import PIECE, Audio, Backlog, End, Item
from vivavoce.core import SAMPLE_RATE, Flush


def ramp(start: int, length: int) -> np.ndarray:
    """Samples that say where they stand."""
    return np.arange(start, start + length, dtype=np.float32)


class Server:
    """Takes items as a server would, and forgets what was on the way when the connection breaks."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self.flushes: list[int | str] = []
        self.order: list[tuple[str, float]] = []
        self.ended = False

    def take(self, item: Item, part: float = 1.0) -> None:
        match item:
            case Audio(_, samples):
                self.samples += samples[: round(part * len(samples))].tolist()
            case Flush(id):
                self.flushes.append(id)
                self.order.append((str(id), len(self.samples)))
            case End():
                self.ended = True


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 3 * PIECE)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("send"), st.integers(1, 4)),
        st.tuples(st.just("ack"), st.integers(0, 100)),
        st.tuples(st.just("cut"), st.integers(0, 3)),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=200)
@given(STEPS)
def test_a_resumed_session_has_every_sample_and_flush_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    backlog, server, asked = Backlog(keeps=True), Server(), list[tuple[str, float]]()
    for step, much in [*steps, ("cut", 2), ("send", 1 << 30)]:
        match step:
            case "push":
                backlog.push(ramp(backlog.pushed, much))
            case "flush":
                backlog.append(Flush(len(asked)))
                asked.append((str(len(asked)), backlog.pushed))
            case "send":
                while backlog and much:
                    server.take(backlog.next())
                    much -= 1
            case "ack":
                backlog.acknowledge(len(server.samples) * much // 100)
            case "cut":  # so many items were on the way and are gone
                for _ in range(much):
                    if backlog:
                        backlog.next()
                assert backlog.rewind(len(server.samples), len(server.flushes), server.ended) == 0
    assert server.samples == ramp(0, backlog.pushed).tolist()
    assert server.order == asked
    assert backlog.clock.caller(1.5) == 1.5


def test_pieces_are_copies_of_at_most_a_second() -> None:
    backlog, samples = Backlog(keeps=True), ramp(0, 2 * PIECE + 5)
    backlog.push(samples)
    samples[:] = 0
    sizes = []
    while backlog:
        item = backlog.next()
        assert isinstance(item, Audio)
        assert item.samples[0] == item.at
        sizes.append(len(item.samples))
    assert sizes == [PIECE, PIECE, 5]


def test_what_is_acknowledged_is_forgotten_and_a_flush_with_the_audio_after_it() -> None:
    backlog = Backlog(keeps=True)
    backlog.push(ramp(0, 100))
    backlog.append(Flush("x"))
    backlog.push(ramp(100, 100))
    for _ in range(3):
        backlog.next()
    backlog.acknowledge(100)
    assert backlog.held_seconds == 100 / SAMPLE_RATE
    backlog.acknowledge(200)
    assert backlog.held_seconds == 0
    assert backlog.rewind(200, 1, False) == 0
    assert not backlog


def test_part_of_a_message_that_arrived_is_not_sent_again() -> None:
    backlog = Backlog(keeps=True)
    backlog.push(ramp(0, 100))
    backlog.next()
    assert backlog.rewind(40, 0, False) == 0
    item = backlog.next()
    assert isinstance(item, Audio)
    assert (item.at, item.samples.tolist()) == (40, list(range(40, 100)))


def test_audio_that_is_not_held_any_more_is_said_to_be_lost() -> None:
    backlog = Backlog(keeps=True)
    backlog.push(ramp(0, 3 * PIECE))
    while backlog:
        backlog.next()
    backlog.trim(1.0)
    assert backlog.rewind(PIECE // 2, 0, False) == 2 * PIECE - PIECE // 2
    item = backlog.next()
    assert isinstance(item, Audio)
    assert item.at == 2 * PIECE
    assert backlog.clock.caller(1.0) == pytest.approx(1.0 + 1.5)  # the session is a second and a half behind


def test_the_oldest_waiting_audio_is_dropped_first_and_the_clock_knows() -> None:
    backlog = Backlog(keeps=True)
    backlog.push(ramp(0, 5 * PIECE))
    backlog.next()
    assert backlog.drop(3.0) == (PIECE, 2 * PIECE)
    item = backlog.next()
    assert isinstance(item, Audio)
    assert item.at == 3 * PIECE
    assert backlog.clock.caller(0.5) == 0.5
    assert backlog.clock.caller(1.5) == 3.5


def test_nothing_is_dropped_that_fits() -> None:
    backlog = Backlog(keeps=True)
    backlog.push(ramp(0, PIECE))
    assert backlog.drop(1.0)[1] == 0


def test_another_session_gets_what_is_held_from_what_was_heard_on() -> None:
    backlog = Backlog(keeps=True)
    backlog.push(ramp(0, 4 * PIECE))
    backlog.append(Flush(1))
    backlog.append(End())
    for _ in range(6):
        backlog.next()
    assert backlog.end_sent
    assert backlog.restart(2 * PIECE) == 2 * PIECE
    assert not backlog.end_sent
    items = []
    while backlog:
        items.append(backlog.next())
    assert [item.at for item in items if isinstance(item, Audio)] == [2 * PIECE, 3 * PIECE]
    assert items[-2:] == [Flush(1), End()]
    assert backlog.clock.caller(0.25) == 2.25


def test_a_session_without_resume_keeps_only_what_must_be_answered() -> None:
    backlog = Backlog(keeps=False)
    backlog.push(ramp(0, PIECE))
    backlog.append(Flush(1))
    backlog.append(Flush(2))
    for _ in range(3):
        backlog.next()
    backlog.answered(1)
    assert backlog.held_seconds == 0
    assert backlog.restart(0) == PIECE
    assert backlog.next() == Flush(2)
