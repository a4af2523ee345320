"""The line between the processes: what is put in comes out, however the socket cuts it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vivavoce.runtime.parcels import Parcels, head

PARCELS = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=60)), max_size=8)


@given(PARCELS, st.lists(st.integers(0, 2_000), max_size=30))
def test_parcels_are_whole_and_in_order_however_they_are_cut(
    parcels: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    sent = b"".join(head(messages, len(audio)) + audio for messages, audio in parcels)
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    line = Parcels()
    came = [
        (bytes(messages), bytes(audio))
        for begin, end in pairwise(places)
        for messages, audio in line.open(sent[begin:end])
    ]
    assert came == parcels


def test_the_beginning_of_a_parcel_waits_for_its_end() -> None:
    line = Parcels()
    assert list(line.open(head(b"abc", 2))) == []
    assert list(line.open(b"d")) == []
    ((messages, audio),) = line.open(b"e" + head(b"", 0)[:4])
    assert (bytes(messages), bytes(audio)) == (b"abc", b"de")
